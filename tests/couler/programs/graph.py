"""A graph that passes a string on, with lists of edges and with an Argo `depends`."""

import os
from typing import Any

import couler.argo as couler

IMAGE = os.environ.get("IMAGE", "busybox")
SHELL = ["/bin/busybox", "sh", "-c"]


def write() -> Any:
    text = couler.create_parameter_artifact(path="/data/text")
    return couler.run_container(
        image=IMAGE, command=SHELL, args=["echo 'two words' > /data/text"], output=text, step_name="write"
    )


def read() -> Any:
    # Couler passes on the outputs of the steps before: they become $0 of the shell.
    return couler.run_container(image=IMAGE, command=SHELL, args=['test "$0" = "two words"'], step_name="read")


def end() -> Any:
    return couler.run_container(image=IMAGE, command=["/bin/busybox", "true"], step_name="end")


couler.config_workflow(name="graph", time_to_clean=3600)
couler.set_dependencies(write)
couler.set_dependencies(read, dependencies=["write"])
couler.set_dependencies(end, dependencies="write.Succeeded && read.Succeeded")
