"""Data and store in a real S3 service that denies, lacks or truncates objects: the live version keeps serving."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from lockgate_store import Store, open_at

from tests.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, TENANT, SeaweedFS, Wire, seaweed, wire
from tests.workshop import MODEL, Project, csv, ended, platform, release, rows, unharmed

STORE = f"s3://{BUCKET}/programme"
DATA = f"s3://{BUCKET}/in/rows.csv"
OWNER = (ACCESS_KEY, SECRET_KEY)
Ask = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Remote:
    """A project whose data and store are in the service."""

    project: Project
    service: SeaweedFS

    def lead(self, project: Project, store: str, key: tuple[str, str], endpoint: str) -> None:
        """Configure a project's store."""
        kept = project.state / "environment"
        self.service.lead(kept / "lockgate-environment", kept / "lockgate-store", store, key=key, endpoint=endpoint)

    def at(self, address: str) -> Store:
        """Return a store at an address in the service."""
        kept = self.project.state / "environment"
        store = open_at(address, kept / "lockgate-environment", kept / "lockgate-store")
        assert store is not None
        return store


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A project with a live version; its data and its store are in S3."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as service:
        project = Project.make(tmp_path_factory.mktemp("remote"))
        (project.pipeline / "data" / "rows.csv").unlink()
        (project.state / "environment").mkdir(parents=True)
        there = Remote(project, service)
        there.lead(project, STORE, OWNER, service.endpoint)
        there.at(f"s3://{BUCKET}").create("in/rows.csv", csv(rows()))
        pipeline = project.pipeline / "pipeline.py"
        pipeline.write_text(pipeline.read_text().replace("data/rows.csv", DATA))
        with platform(project):
            release(project)
            yield there


def as_it_is(request: bytes, ask: Ask) -> bytes:
    """Pass the request and the response on unchanged."""
    return ask(request)


def broken(request: bytes, ask: Ask) -> bytes:
    """Close the connection without a response."""
    return b""


def failing(request: bytes, ask: Ask) -> bytes:
    """Respond with status 503."""
    return b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def cutting(name: str) -> Wire:
    """Return a wire that truncates the response for keys that end in this name."""

    def behave(request: bytes, ask: Ask) -> bytes:
        verb, path = request.split(b" ")[:2]
        return ask(request)[: -40 if (verb, path.endswith(name.encode())) == (b"GET", True) else None]

    return behave


@dataclass(frozen=True)
class Case:
    """One fault, as the wire, the key or the address; the call, its exit code, and a pattern of the message."""

    name: str
    code: int
    says: str
    wire: Wire = as_it_is
    key: tuple[str, str] = OWNER
    store: str = STORE
    arguments: tuple[str, ...] = ()


CASES = [
    Case("the connection is closed", 4, r"live\.json(.|\n)*cannot be reached(.|\n)*s3\.json", broken),
    Case("the service fails", 4, "503(.|\n)*again", failing),
    Case("the key is refused", 4, "403(.|\n)*access_key_id", key=(ACCESS_KEY, TENANT[1])),
    Case(
        "there is no such bucket",
        4,
        "404 NoSuchBucket(.|\n)*no-such-bucket",
        store="s3://no-such-bucket/x",
        arguments=("--no-serve",),  # the running platform uses the right store; its error would come first
    ),
    Case("the live pointer is cut", 4, r"grants/live\.json.*response is incomplete(.|\n)*again", cutting("/live.json")),
    Case(
        "the data are cut",
        4,
        r"ingest failed: .*in/rows\.csv.*response is incomplete(.|\n)*again",
        cutting("/rows.csv"),
    ),
    Case(
        "there are no such data",
        2,
        r"ingest failed: .*in/nothing\.csv not found",
        arguments=("--data", f"s3://{BUCKET}/in/nothing.csv"),
    ),
    Case(
        "the data are not for this key",
        4,
        "ingest failed: .*s3://ministry/rows.csv.*403(.|\n)*permission to read",
        key=TENANT,
        arguments=("--data", "s3://ministry/rows.csv"),
    ),
    Case(
        "the data are in no bucket",
        4,
        "ingest failed: .*404 NoSuchBucket(.|\n)*data",
        arguments=("--data", "s3://no-such-bucket/rows.csv"),
    ),
]


@pytest.fixture(scope="module")
def begun(
    remote: Remote, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], "subprocess.Popen[str]"]]:
    """Every case, all started at once, because some wait long before a retry."""
    folder = tmp_path_factory.mktemp("cases")
    with ExitStack() as stack:

        def begin(case: Case) -> "subprocess.Popen[str]":
            project = remote.project.twin(folder / case.name.replace(" ", "-"))
            project.own_state("environment")
            endpoint = stack.enter_context(wire(remote.service, case.wire))
            remote.lead(project, case.store, case.key, endpoint)
            return project.start("run", MODEL, *case.arguments)

        processes = {case.name: begin(case) for case in CASES}
        for process in processes.values():
            stack.callback(process.kill)
        yield lambda case: processes[case.name]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_what_the_service_does_harms_no_user(
    case: Case, begun: Callable[[Case], "subprocess.Popen[str]"], remote: Remote
) -> None:
    with unharmed(remote.project):
        done = ended(begun(case))
    done.check(case.code, case.says)
    assert [secret for _, secret in (OWNER, TENANT) if secret in done.said] == []
    assert remote.project.generation == 1


def test_a_live_bundle_that_lost_a_file_in_the_store_is_answered_on_and_compared_with_no_more(
    remote: Remote, tmp_path: Path
) -> None:
    project, store = remote.project, remote.project.store
    key = f"models/{MODEL}/bundles/{project.bundle.removeprefix('sha256:')}/schema.json"
    kept = store.read(key)
    store.delete(key, kept.version)
    try:
        with unharmed(project):
            done = project.lockgate("run", MODEL)
    finally:
        store.create(key, kept.data)
    done.check(3, "ingest refused: .*schema.json")
