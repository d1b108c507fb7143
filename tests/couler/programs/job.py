"""A Kubernetes Job, and a file that is exported to the whole workflow."""

from typing import Any

import couler.argo as couler

MANIFEST = """
apiVersion: batch/v1
kind: Job
metadata: {generateName: sum-}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: busybox}]}}}
"""


def sum_up(name: str) -> Any:
    del name  # Couler makes it the name of the Job
    return couler.run_job(manifest=MANIFEST, success_condition="status.succeeded > 0", failure_condition="")


def write() -> Any:
    table = couler.create_local_artifact(path="/data/table", is_global=True)
    return couler.run_container(image="busybox", command=["/bin/busybox", "true"], output=table, step_name="write")


def read(table: Any) -> Any:
    return couler.run_container(image="busybox", command=["/bin/busybox", "true"], args=[table], step_name="read")


couler.config_workflow(name="job")
read(write())
couler.map(sum_up, ["first", "second"])
