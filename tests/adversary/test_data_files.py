"""Data files that attack whoever reads them: through `lockgate new`, a whole run, its log and its pages."""

import gzip
import json
import random
import re
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.workshop import Project, free_port, platform

BELL, BIDI = "north\x1b]0;pwn\x07", "bra\u202ench"
HIDDEN = {"Cc", "Cf", "Zl", "Zp"}


def hidden(text: str) -> set[str]:
    """The characters that a terminal obeys or a reader cannot see."""
    return {each for each in text if each not in "\n\r\t" and unicodedata.category(each) in HIDDEN}


def cases(rows: int, without: dict[str, int]) -> str:
    """Invented cases with a hostile category and column name; some have no label."""
    draw, left = random.Random(8), dict(without)
    lines = [f"sex,income,{BIDI},years,granted"]
    for number in range(rows):
        sex = "FM"[number % 2]
        income, years = draw.randrange(90_000), draw.randrange(45)
        label = "yes" if (years - 22) / 6 - (income - 45_000) / 20_000 + draw.gauss(0, 0.5) > 0 else "no"
        if left.get(sex, 0):
            left[sex] -= 1
            label = ""
        lines.append(f"{sex},{income},{BELL if number % 3 else 'south'},{years},{label}")
    return "\n".join(lines)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Project]:
    with platform(Project(tmp_path, free_port())) as project:
        yield project


BOMBS: dict[str, Callable[[], bytes]] = {
    "one line": lambda: gzip.compress(b"a,b,") + gzip.compress(b"x" * (1 << 20)) * 1024,
    "newlines": lambda: gzip.compress(b"\n" * (1 << 20)) * 400,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_new_refuses_a_bomb_with_the_figure(tmp_path: Path, bomb: str) -> None:
    (tmp_path / "cases.csv.gz").write_bytes(BOMBS[bomb]())
    began = time.monotonic()
    done = Project(tmp_path, 0).lockgate("new", "cases", "--data", "cases.csv.gz", "--target", "granted")
    done.check(2, r"cases.csv.gz has [\d,]+ bytes and unpacks to more than [\d,]+")
    assert time.monotonic() - began < 60  # of a busy machine; it takes 1 s
    assert not (tmp_path / "pipelines").exists()


def test_a_project_of_1500_rows_with_142_unlabelled_and_hostile_names(empty: Project) -> None:
    """From `lockgate new` to the pages: the rule decides, the excluded are counted, nothing hidden reaches a person."""
    (empty.root / "cases.csv").write_text(cases(1500, {"F": 71, "M": 71}), encoding="utf-8")
    said = [empty.lockgate("new", "cases", "--data", "cases.csv", "--target", "granted")]
    policy = empty.root / "pipelines" / "cases" / "policy.toml"
    assert "reported_only" not in policy.read_text()
    said.append(empty.lockgate("run", "cases"))
    said += [
        empty.lockgate(*verb)
        for verb in (("logs", "last"), ("logs", "last", "--json"), ("report", "last"), ("status",))
    ]
    assert not hidden("".join(done.said for done in said))
    assert said[1].code in (0, 3), said[1].said  # error rates may be undecided with so few rows
    (run,) = empty.run_ids()
    pages = sorted((empty.state / "runs" / run / "report").glob("*.html"))
    assert "validate-data.html" in [page.name for page in pages]
    for page in pages:
        assert not hidden(page.read_text(encoding="utf-8")), page
    shown = (empty.state / "runs" / run / "report" / "validate-data.html").read_text(encoding="utf-8")
    found = re.search(r"(\d+) of the (\d+) test rows and (\d+) of the ([\d,]+) training rows have no label", shown)
    assert found
    counts = [int(each.replace(",", "")) for each in found.groups()]
    assert [counts[0] + counts[2], counts[1] + counts[3]] == [142, 1500]
    verdict = json.loads((empty.node(run, "validate-data") / "out" / "verdict").read_bytes())
    assert verdict["payload"]
    ended = [line for line in said[1].said.splitlines() if line.startswith(("Released", "Refused", "Not decided"))]
    assert ended
    assert not [line for line in ended if "selection_rate" in line], said[1].said


def test_a_share_without_a_label_that_differs_between_groups_ends_the_run(empty: Project) -> None:
    (empty.root / "cases.csv").write_text(cases(1500, {"F": 120, "M": 22}), encoding="utf-8")
    empty.lockgate("new", "cases", "--data", "cases.csv", "--target", "granted")
    done = empty.lockgate("run", "cases")
    done.check(3, "the share of training rows without granted, which were left out, differs by sex")
    assert re.search(r"F: \d+ of \d+ training rows \(1\d\.\d%\)", done.said)
