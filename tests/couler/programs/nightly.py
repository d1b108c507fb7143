"""The same graph every night, in Couler's default time zone."""

import runpy
from pathlib import Path

import couler.argo as couler

runpy.run_path(str(Path(__file__).with_name("graph.py")))
couler.config_workflow(name="nightly", cron_config={"schedule": "30 4 * * *"})
