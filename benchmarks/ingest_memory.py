"""How much memory and time `ingest` takes for a CSV of a given size.

PYTHONPATH=steps/sdk:steps/ingest python benchmarks/ingest_memory.py 1.0     (GB; in ingest's own environment)
"""

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lockgate_proof import new_key

NUMBERS, CATEGORIES = 6, 8
WORDS = [f"value-{number:03d}" for number in range(200)]


def write(path: Path, size: int) -> int:
    """A CSV of about that many bytes, whose rows are all different; returns its rows."""
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


def main() -> None:
    """Make the file, freeze it, print, delete it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gigabytes", type=float)
    parser.add_argument("--folder", default=None, help="where the file is made, and deleted afterwards")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        root = Path(folder)
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
        rows = write(data, int(chosen.gigabytes * 1e9))
        began = time.perf_counter()
        command = [sys.executable, "-m", "lockgate_ingest", "--data", data.as_uri()]
        subprocess.run(command, check=True, env={**os.environ, "LOCKGATE_IO": folder}, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # kB on Linux, bytes on macOS
        peak_mib = peak / (1024 if sys.platform != "darwin" else 1024 * 1024)
        size = data.stat().st_size
        speed = f"{seconds:.0f} s, {size / 1e6 / seconds:.1f} MB/s"
        print(f"{size / 1e9:.2f} GB, {rows:,} rows: {speed}, peak {peak_mib:.0f} MiB")
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
