"""Run the same chain with kfp.local in subprocesses, without a cache: kfp_chain.py STEPS FOLDER."""

# kfp publishes no types.
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator"

import sys

from kfp import dsl, local


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def noop() -> None:
    """Do nothing."""


def chain(steps: int) -> None:
    """Run a chain of steps."""

    @dsl.pipeline(name="chain")
    def pipeline() -> None:
        before = None
        for _ in range(steps):
            task = noop().set_caching_options(False)
            before = task.after(before) if before else task

    pipeline()


if __name__ == "__main__":
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2], raise_on_error=True)
    chain(int(sys.argv[1]))
