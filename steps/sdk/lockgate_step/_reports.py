"""Switches off the usage reports that libraries send to their makers, before any of them is imported.

onnxruntime reads its setting when it is imported; its own function `disable_telemetry_events` comes too late.
"""

import os

OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime 1.32: events to a database below ~/.cache/Microsoft, then to its maker
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",  # Great Expectations, where posthog is installed
    "DO_NOT_TRACK": "true",
}

os.environ.update(OFF)
