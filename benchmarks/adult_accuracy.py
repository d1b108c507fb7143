"""Measures the effect of mitigation on UCI Adult's official test set, from the signed verdicts of real runs.

Accuracy is from validate-model and the difference from bias-audit, both on the answers of the model server. Sex and
race are not inputs of the model.
"""

import sys

from benchmarks.harness import AtLeast, AtMost, Benchmark, Figure, Measured, main
from benchmarks.release import install, released

DIFFERENCE = "bias:sex:selection_rate_difference"


def figures(mitigation: str, *, accuracy: AtLeast | None, difference: AtMost | None) -> tuple[list[Figure], str]:
    """Return both figures of one run with their intervals, and a sentence on how the run ended."""
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
    """Run once with each mitigation: the same data and seed give the same answers, so repeats are not needed."""
    del repeats
    install()
    mitigated, passed = figures("grid-search", accuracy=AtLeast(0.86), difference=AtMost(0.12))
    unmitigated, refused = figures("none", accuracy=None, difference=None)
    return Measured([*mitigated, *unmitigated], notes=[passed, refused])


BENCHMARK = Benchmark("adult_accuracy", "adult_accuracy.py", 1, measure)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
