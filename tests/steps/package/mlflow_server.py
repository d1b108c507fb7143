"""A real MLflow server on loopback, of the same version as the client in package."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run a server with its database and artifacts in the folder; yield its address."""
    port = free_port()
    command = [
        *_mlflow(), "server",
        "--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "files"),
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment = {**os.environ, **quiet, "UV_COMPILE_BYTECODE": "1"}
    address = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        # A new session: the server starts workers, and all of them must end with the test.
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait(address, process)
            yield address
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _mlflow() -> list[str]:
    """Return the command of mlflow: from the tests' lock, or from a separate environment."""
    if find_spec("flask"):
        return [sys.executable, "-m", "mlflow"]
    return ["uvx", "--from", f"mlflow=={version('mlflow-skinny')}", "mlflow"]


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(1200):
        assert process.poll() is None, "the MLflow server ended while starting: see its log"
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.25)
    msg = "the MLflow server did not become ready within five minutes"
    raise RuntimeError(msg)
