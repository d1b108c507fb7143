"""What people do wrong, through the command line: each mistake ends in its exit code and a next action."""

import gzip
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workshop import HEADER, MODEL, NEXT, Project, Row, csv, rows

Arguments = Sequence[str]
RUN = ("run", MODEL)
CANARY = "canary-4f1c-never-said"


@dataclass(frozen=True)
class Case:
    """One mistake: what is spoilt and then called, the exit code, and what must be said."""

    name: str
    spoil: Callable[[Project], Arguments]
    code: int
    says: str


def call(*arguments: str) -> Callable[[Project], Arguments]:
    """A wrong call; nothing is spoilt."""
    return lambda project: arguments


def data(content: bytes, name: str = "rows.csv") -> Callable[[Project], Arguments]:
    """A file of data with this content, given on the command line."""

    def spoil(project: Project) -> Arguments:
        path = project.root / name
        path.write_bytes(content)
        return (*RUN, "--data", name)

    return spoil


def file(name: str, change: Callable[[str], str]) -> Callable[[Project], Arguments]:
    """A file of the model's folder, changed."""

    def spoil(project: Project) -> Arguments:
        path = project.pipeline / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(change(path.read_text() if path.exists() else ""))
        return RUN

    return spoil


def missing_data(project: Project) -> Arguments:
    (project.pipeline / "data" / "rows.csv").unlink()
    return RUN


def edited(column: str, value: Callable[[Row], object]) -> list[Row]:
    """The good rows with one column changed."""
    at = HEADER.index(column)
    return [(*row[:at], value(row), *row[at + 1 :]) for row in rows()]


def without(column: str) -> bytes:
    """The good rows without one column."""
    at = HEADER.index(column)
    return csv([(*row[:at], *row[at + 1 :]) for row in rows()], [*HEADER[:at], *HEADER[at + 1 :]])


def one_in(count: int, rare: object) -> Callable[[Row], object]:
    """The row's own sector, and now and then another."""
    chance = random.Random(3)
    return lambda row: rare if chance.randrange(count) == 0 else row[HEADER.index("sector")]


def store_down(project: Project) -> Arguments:
    project.own_state("environment")
    config = project.state / "environment" / "lockgate-environment"
    (config / "store").write_text("s3://evidence/prefix\n")
    (config / "s3.json").write_text('{"endpoint": "http://127.0.0.1:1", "region": "us-east-1"}')
    credentials = project.state / "environment" / "lockgate-store"
    credentials.mkdir()
    for name in ("access_key_id", "secret_access_key"):
        (credentials / name).write_text(CANARY)
    return (*RUN, "--no-serve")


GOOD = csv(rows())
CASES = [
    Case("unknown verb", call("frobnicate"), 2, "frobnicate"),
    Case("no model", call("run"), 2, "(?i)missing argument.*MODEL"),
    Case("unknown flag", call(*RUN, "--skip-gates"), 2, "--skip-gates"),
    Case("unknown model", call("run", "grant"), 2, "no model 'grant'(.|\n)*grants"),
    Case("unknown workflow", call(*RUN, "--workflow", "relase"), 2, "no workflow 'relase'(.|\n)*release"),
    Case("unknown run", call("report", "zzz"), 2, "no run 'zzz'"),
    Case("unknown step", call("logs", "last", "trian"), 2, "no step 'trian'(.|\n)*train"),
    Case("unknown reason", call("waive", "last", "bias-audit/9"), 2, "no reason 'bias-audit/9'"),
    Case("unknown setting", call(*RUN, "--set", "colour=blue"), 2, "no setting 'colour'(.|\n)*threshold"),
    Case("setting without value", call(*RUN, "--set", "threshold"), 2, "NAME=VALUE"),
    Case("value not allowed", call(*RUN, "--set", "mitigation=magic"), 2, "mitigation(.|\n)*grid-search"),
    Case("value of another type", call(*RUN, "--set", "seed=soon"), 2, "seed=soon is not an integer"),
    Case("value out of range", call(*RUN, "--set", "threshold=7"), 2, "threshold(.|\n)*0 and 1"),
    Case(
        "unknown program",
        file("pipeline.py", lambda text: f"from lockgate import steps\nsteps.tarin\n{text}"),
        2,
        "tarin(.|\n)*pipeline.py|pipeline.py(.|\n)*tarin",
    ),
    Case("pipeline that does not parse", file("pipeline.py", lambda text: text + "\n)"), 2, r"pipeline.py:\d+"),
    Case("data missing", missing_data, 2, "no data at .*rows.csv"),
    Case("data elsewhere missing", call(*RUN, "--data", "nowhere.csv"), 2, "no data at .*nowhere.csv"),
    Case("data empty", data(b""), 2, "rows.csv is empty"),
    Case("data header only", data(csv([])), 2, "holds no row"),
    Case("data truncated gzip", data(gzip.compress(GOOD)[:9000], "rows.csv.gz"), 2, "ends in the middle"),
    Case("data of another delimiter", data(csv(rows(), delimiter=";")), 2, "no column .*delimiter|delimiter"),
    Case("data of another encoding", data(GOOD.replace(b"private", b"priv\xe9e")), 2, "line 2 .*utf-8"),
    Case("data without a column", data(without("income")), 2, "no column income"),
    Case("data of one class", data(csv(edited("granted", lambda row: "no"))), 2, "granted = 'yes'"),
    Case("sensitive column all null", data(csv(edited("sex", lambda row: ""))), 3, "sex"),
    Case("category never seen", data(csv(edited("sector", one_in(10, "abroad")))), 3, "sector"),
    Case("policy that does not parse", file("policy.toml", lambda text: "[[bias]\n"), 2, r"policy.toml.*line 1"),
    Case("policy missing", file("policy.toml", lambda text: ""), 2, "policy.toml"),
    Case(
        "policy without a sensitive column",
        file("policy.toml", lambda text: re.sub(r"(?s)\[\[bias\]\].*?\n\n", "", text)),
        2,
        "sex",
    ),
    Case("expectations that do not parse", file("expectations.json", lambda text: "[{"), 2, "expectations.json"),
    Case(
        "expectation that does not exist",
        file(
            "expectations.json",
            lambda text: (
                '[{"type": "expect_column_to_be_nice", "kwargs": {"column": "years"}, "severity": "critical"}]'
            ),
        ),
        2,
        "expect_column_to_be_nice",
    ),
    Case("waiver that does not parse", file("waivers/bias.json", lambda text: "{"), 2, "waivers/bias.json"),
    Case("waiver that nobody signed", file("waivers/bias.json", lambda text: "{}"), 3, "waivers/bias.json .*signed"),
    Case("store down", store_down, 4, "127.0.0.1:1"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_mistake_ends_in_its_exit_code_and_a_next_action(case: Case, released: Project, tmp_path: Path) -> None:
    project = released.twin(tmp_path / "project")
    arguments = case.spoil(project)
    before = released.live()
    done = project.lockgate(*arguments)
    assert (done.code, "Traceback" in done.said, "bug in Lockgate" in done.said) == (case.code, False, False), done.said
    assert re.search(case.says, done.said), done.said
    assert NEXT.search(done.said), done.said
    assert CANARY not in done.said
    assert released.live() == before
    assert released.answers() == released.bundle
