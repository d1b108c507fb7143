"""Steps with conditions, loops, numbers, booleans, retries and exit handlers, as Couler 0.1 writes them."""

import os
from typing import Any

import couler.argo as couler

IMAGE = os.environ.get("IMAGE", "busybox")


def flip() -> Any:
    return couler.run_script(image=IMAGE, command=["/bin/busybox", "sh"], source="echo heads", step_name="flip")


def say(words: object) -> Any:
    return couler.run_container(
        image=IMAGE,
        command=["/bin/busybox", "echo"],
        args=[words],
        env={"LOUD": True, "TIMES": 3},
        resources={"cpu": 0.1, "memory": "64Mi"},
        retry=2,
        timeout=60,
        step_name="say",
    )


couler.config_workflow(name="steps", timeout=600, time_to_clean=3600)
couler.when(couler.equal(flip(), "heads"), lambda: say("it was heads"))
couler.map(say, ["one, two", "three"])
couler.set_exit_handler(couler.WFStatus.Succeeded, lambda: say(7))
