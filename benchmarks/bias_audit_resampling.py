"""Compares the time of an interval in bias-audit, which resamples counts, with Fairlearn's bootstrap of rows."""

import json
import subprocess
import sys

from benchmarks.harness import PEERS, ROOT, Benchmark, Figure, Measured, main
from lockgate.definition.catalog import Catalog
from lockgate.images.installed import command, environment

LOCK = ROOT / "tests" / "steps" / "bias-audit" / "lock.txt"


def measure(repeats: int) -> Measured:
    """Measure both in one process, in the lock that has Fairlearn."""
    made = environment(LOCK, [Catalog.find().sdk, ROOT / "steps" / "bias-audit"])
    argv, env = command(
        made, [str(PEERS / "resampling.py"), str(repeats)], lambda: print("installing bias-audit's tests")
    )
    said = json.loads(subprocess.run(argv, env=env, stdout=subprocess.PIPE, check=True).stdout)
    ours, theirs = ([round(end, 4) for end in said[name]] for name in ("our_interval", "their_interval"))
    return Measured(
        [
            Figure("bias-audit, 2,000 resamples of counts", "s", said["ours"]),
            Figure("Fairlearn's bootstrap, 2,000 resamples of rows (100 measured, scaled)", "s", said["theirs"]),
        ],
        said["versions"],
        [
            f"16,281 rows, two groups, selection-rate difference; 95 % intervals: bias-audit {ours[0]} to {ours[1]}, "
            f"Fairlearn {theirs[0]} to {theirs[1]}."
        ],
    )


BENCHMARK = Benchmark("bias_audit_resampling", "bias_audit_resampling.py", 3, measure)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
