"""Measures the time of the model server's answers: one row, 1,000 rows and 30,000 rows of a model of three columns.

$LOCKGATE_SERVER_CODE measures the server of another checkout, with the packages of this one's lock: before and after a
change.
"""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.harness import ROOT, Benchmark, Figure, Measured, Stopwatch, main
from lockgate.definition.catalog import Catalog
from lockgate.images.installed import Installed, command

sys.path.insert(0, str(ROOT / "tests" / "services" / "model-server"))
import tiny_bundle

CALLS = {1: 600, 1_000: 40, 30_000: 6}


@contextmanager
def serving(folder: Path, code: Path, *more: str) -> Iterator[http.client.HTTPConnection]:
    """Serve the tests' small bundle, with more options; give an open connection."""
    authority = tiny_bundle.Authority(folder)
    io = authority.write_io(folder / "io")
    authority.write_bundle(folder / "bundle")
    argv, env = command(Installed(Catalog.find())("lockgate/model-server"), ["-m", "lockgate_model_server"])
    path = f"{code / 'steps' / 'sdk'}:{code / 'services' / 'model-server'}"
    server = subprocess.Popen(
        [*argv, "--bundle", str(folder / "bundle"), "--port", "0", *more],
        env={**env, "PYTHONPATH": path, "LOCKGATE_IO": str(io)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    try:
        host, port = json.loads(server.stderr.readline())["address"].removeprefix("http://").rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        _connect(connection)
        yield connection
    finally:
        server.terminate()
        server.communicate()


def _connect(connection: http.client.HTTPConnection) -> None:
    """Connect; the server names its address a moment before it listens."""
    for _ in range(100):
        with suppress(ConnectionRefusedError):
            connection.connect()
            return
        time.sleep(0.1)
    sys.exit("the server does not listen")


def answers(connection: http.client.HTTPConnection, rows: int) -> list[float]:
    """Return the milliseconds of each call with so many rows."""
    body = json.dumps(tiny_bundle.request((tiny_bundle.ROWS * rows)[:rows]))
    return [call(connection, body) for _ in range(CALLS[rows])]


def call(connection: http.client.HTTPConnection, body: str) -> float:
    """Return the milliseconds of one call."""
    watch = Stopwatch()
    connection.request("POST", "/v2/models/tiny/infer", body, {"content-type": "application/json"})
    response = connection.getresponse()
    response.read()
    taken = watch.seconds * 1000
    if response.status != 200:
        sys.exit(f"the server answered {response.status}")
    return taken


def measure(repeats: int) -> Measured:
    """Measure a new server each time; the value of a repeat is the median of its calls."""
    code = Path(os.environ.get("LOCKGATE_SERVER_CODE") or ROOT)
    medians: dict[int, list[float]] = {rows: [] for rows in CALLS}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder), code) as connection:
            for rows, found in medians.items():
                found.append(sorted(answers(connection, rows))[CALLS[rows] // 2])
    return Measured([Figure(f"answer to {rows} row{'s'[: rows > 1]}", "ms", found) for rows, found in medians.items()])


BENCHMARK = Benchmark("serving", "serving.py", 5, measure)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
