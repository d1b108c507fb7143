"""What mitigation costs and gains on UCI Adult's official test set, as served: from the signed verdicts of real runs.

Accuracy is validate-model's, the difference bias-audit's, both of the answers that the model server gave. No sex and no
race is among the model's inputs.
"""

import sys

from benchmarks.harness import AtLeast, AtMost, Benchmark, Figure, Measured, main
from benchmarks.release import install, released

DIFFERENCE = "bias:sex:selection_rate_difference"


def figures(mitigation: str, *, accuracy: AtLeast | None, difference: AtMost | None) -> tuple[list[Figure], str]:
    """Both figures of one run, with their intervals, and how the run ended."""
    with released(mitigation=mitigation) as run:
        quality = run.verdict("validate-model")["measures"]["accuracy"]
        bias = run.verdict("bias-audit")["rules"][DIFFERENCE]
        ended = {0: "released", 3: "refused"}[run.exit_code]
    found = [
        Figure(f"{mitigation}: {what}", "", [said["value"]], target, (said["low"], said["high"]))
        for what, said, target in (
            ("accuracy", quality, accuracy),
            ("selection-rate difference by sex", bias, difference),
        )
    ]
    return found, f"Mitigation {mitigation}: {ended}; the policy allows a difference of {bias['limit']:g}."


def measure(repeats: int) -> Measured:
    """One run each: the same data and seed give the same answers, so there is nothing to repeat."""
    del repeats
    install()
    mitigated, passed = figures("grid-search", accuracy=AtLeast(0.86), difference=AtMost(0.12))
    unmitigated, refused = figures("none", accuracy=None, difference=None)
    return Measured([*mitigated, *unmitigated], notes=[passed, refused])


BENCHMARK = Benchmark("adult_accuracy", "adult_accuracy.py", 1, measure)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
