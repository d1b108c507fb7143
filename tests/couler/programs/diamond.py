"""A graph of edges: Couler nests the list of a task's edges if the task was named before."""

import couler.argo as couler


def task(name: str) -> object:
    return couler.run_container(image="busybox", command=["/bin/busybox", "true"], step_name=name)


couler.config_workflow(name="diamond")
couler.dag(
    [
        [lambda: task("a")],
        [lambda: task("d")],
        [lambda: task("a"), lambda: task("b")],
        [lambda: task("b"), lambda: task("d")],
    ]
)
