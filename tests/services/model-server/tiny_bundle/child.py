"""A real model server, started as a child process on a free loopback port."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate_proof import bundle_digest


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    host: str
    port: int
    bundle: str
    log_file: Path
    metrics: str = ""  # the host and port of its metrics

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def infer(self, body: object, path: str = "/v2/models/tiny/infer") -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call("POST", path, content, content_type="application/json")

    def scrape(self, method: str = "GET", path: str = "/metrics", **headers: str) -> Answer:
        """Call the port of its metrics."""
        host, port = self.metrics.rsplit(":", 1)
        there = Server(self.process, host, int(port), self.bundle, self.log_file)
        return there.call(method, path, None, **headers)

    @property
    def log(self) -> str:
        return self.log_file.read_text()


def launch(
    folder: Path, io: Path, log_file: Path, *more: str, files: int | None = None, inherited: tuple[int, ...] = ()
) -> subprocess.Popen[str]:
    """Start a server; files: its limit of open files. inherited: the open files that it gets."""
    argv = [sys.executable, "-m", "lockgate_model_server", "--bundle", str(folder), *more]
    if files:
        argv = ["/bin/sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *argv]
    with log_file.open("w") as log:
        environment = {**os.environ, "LOCKGATE_IO": str(io)}
        return subprocess.Popen(argv, env=environment, stderr=log, stdout=log, text=True, pass_fds=inherited)


@contextmanager
def serving(folder: Path, io: Path, log_file: Path, *more: str, files: int | None = None) -> Iterator[Server]:
    """Run the server of a bundle until it is ready; its log names the port."""
    process = launch(folder, io, log_file, "--port", "0", *more, files=files)
    try:
        with log_file.open() as log:
            line = ""
            while not line.endswith("\n"):  # the log's first line is written when the model is loaded
                line += log.readline()
                assert process.poll() is None, log_file.read_text()
        said = json.loads(line)
        assert said["event"] == "serving", said
        host, port = said["address"].removeprefix("http://").rsplit(":", 1)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        metrics = said.get("metrics", "").removeprefix("http://").removesuffix("/metrics")
        server = Server(process, host, int(port), bundle_digest(manifest), log_file, metrics)
        until_ready(server)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def until_ready(server: Server) -> None:
    while True:
        try:
            if server.call("GET", "/v2/models/tiny/ready").status == 200:
                return
        except ConnectionRefusedError:
            assert server.process.poll() is None, server.log
