"""Measures the memory and time that `ingest` needs to freeze a CSV of 5 GB; with `--small`, one of 1 GB."""

import json
import os
import random
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from lockgate_proof import new_key

from benchmarks.harness import AtMost, Benchmark, Figure, Measured, Stopwatch, main
from lockgate.definition.catalog import Catalog
from lockgate.images.installed import command, environment

NUMBERS, CATEGORIES = 6, 8
WORDS = [f"value-{number:03d}" for number in range(200)]


def write(path: Path, size: int) -> int:
    """Write a CSV of about `size` bytes in which all rows differ; return the number of rows."""
    draw = random.Random(0)
    names = [*(f"n{i}" for i in range(NUMBERS)), *(f"c{i}" for i in range(CATEGORIES)), "paid"]
    tails = [",".join([*draw.choices(WORDS, k=CATEGORIES), draw.choice(["yes", "no"])]) for _ in range(10_000)]
    rows = 0
    with path.open("w") as stream:
        stream.write(",".join(names) + "\n")
        while stream.tell() < size:
            lines = []
            for _ in range(10_000):
                numbers = f"{rows},{rows % 97},{rows % 1009}.25,{rows % 65537},,{rows % 7}"
                lines.append(f"{numbers},{tails[rows % 10_000]}\n")
                rows += 1
            stream.writelines(lines)
    return rows


def freeze(root: Path, gigabytes: float) -> tuple[float, float, float]:
    """Make the file and freeze it; return seconds, peak memory in MiB, and MB per second."""
    for name in ("in", "out/base", "environment", "tmp"):
        (root / name).mkdir(parents=True)
    new_key(root / "key" / "private.pem")
    (root / "environment" / "store").write_text((root / "store").as_uri())
    inputs: list[dict[str, object]] = [{"name": f"n{i}", "kind": "number"} for i in range(NUMBERS)]
    inputs += [{"name": f"c{i}", "kind": "category", "values": WORDS} for i in range(1, CATEGORIES)]
    spec = {
        "name": "big", "data": {"uri": "big.csv"}, "target": {"name": "paid", "positive": "yes", "negative": "no"},
        "inputs": inputs, "sensitive": [{"name": "c0", "kind": "category", "values": WORDS}],
        "split": {"test_share": 0.25, "key": [], "seed": "big"},
    }  # fmt: skip
    (root / "in" / "spec").write_text(json.dumps(spec))
    data = root / "big.csv"
    write(data, int(gigabytes * 1e9))
    image = Catalog.find().image("ingest")
    argv, env = command(environment(image.lock, image.code), ["-m", "lockgate_ingest", "--data", data.as_uri()])
    watch = Stopwatch()
    child = subprocess.Popen(argv, env={**env, "LOCKGATE_IO": str(root)}, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)  # the usage of this child only
    seconds = watch.seconds
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"ingest ended with exit code {child.returncode}")
    peak = used.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)  # kB on Linux, bytes on macOS
    return seconds, peak, data.stat().st_size / 1e6 / seconds


def measure(gigabytes: float, repeats: int) -> Measured:
    """Measure in a new folder each time, in TMPDIR, which must have space for twice the file."""
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            found.append(freeze(Path(folder), gigabytes))
    seconds, peaks, speeds = zip(*found, strict=True)
    size = f"ingest, {gigabytes:g} GB of CSV"
    return Measured(
        [
            Figure(f"{size}: peak memory", "MiB", peaks, AtMost(1024)),
            Figure(f"{size}: total time", "s", seconds),
            Figure(f"{size}: speed", "MB/s", speeds),
        ]
    )


BENCHMARK = Benchmark("ingest_memory", "ingest_memory.py", 1, partial(measure, 5))
SMALL = Benchmark("ingest_memory_small", "ingest_memory.py --small", 1, partial(measure, 1))

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, small=SMALL))
