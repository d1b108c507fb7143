"""A new user and a table like COMPAS: from `lockgate new` to a released version, by what the terminal says."""

import csv
import json
import random
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest

from tests.workshop import Project, free_port, platform

MODEL, TARGET = "court", "two_year_recid"
HEADER = (
    "id", "name", "dob", "sex", "age", "race", "priors_count", "years_since_first", "charge_degree", "priors_count",
    "is_recid", "days_in_jail", TARGET,
)  # fmt: skip
SIZES = {"African-American": 1500, "Caucasian": 1050, "Hispanic": 400, "Asian": 32, "Native American": 18}
NAMED = "Zzyzx"  # every person's name begins with it
UNTIL = datetime.now(UTC).date() + timedelta(days=30)


def cases(path: Path) -> None:
    """Write invented people; whether they came back depends on priors and age. Two columns are known afterwards.

    The years since the first case tell the age, so the gap between the ages is too large for any model to pass.
    """
    draw = random.Random(13)
    people = [race for race, size in SIZES.items() for _ in range(size)]
    draw.shuffle(people)
    with path.open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file)
        write.writerow(HEADER)
        for number, race in enumerate(people):
            age, priors, sex = draw.randint(18, 68), draw.randint(0, 19), draw.choice(("Female", "Male", "Male"))
            born = date(2014 - age, draw.randint(1, 12), draw.randint(1, 28))
            again = draw.random() < 0.4 + (priors - 9) / 30 - (age - 40) / 60
            known = int(again or draw.random() < 0.03)
            jail = draw.randint(30, 400) if again else draw.randint(0, 20)
            since, degree = max(0, age - draw.randint(16, 22)), draw.choice("FM")
            person = (number, f"{NAMED} {number}", born, sex, age, race)
            write.writerow((*person, priors, since, degree, priors, known, jail, int(again)))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A folder with one CSV file and nothing else."""
    folder = tmp_path_factory.mktemp("court")
    cases(folder / "cases.csv")
    with platform(Project(folder, free_port())) as made:
        yield made


def replaced(path: Path, *changes: tuple[str, str]) -> None:
    """Edit a file as a user does; each change must find its place."""
    text = path.read_text(encoding="utf-8")
    for pattern, by in changes:
        text, count = re.subn(pattern, by, text, flags=re.MULTILINE)
        assert count, (path.name, pattern)
    path.write_text(text, encoding="utf-8")


def test_from_a_file_to_a_released_version_by_what_the_terminal_says(project: Project) -> None:
    new = project.lockgate("new", MODEL, "--data", "cases.csv", "--target", TARGET)
    assert new.code == 0, new.said
    assert "repeated   2 columns are named priors_count and have the same values; they are read as one" in new.out
    assert re.search(r"(?m)^left out   3$", new.out), new.out
    folder = project.root / "pipelines" / MODEL

    # The inputs that tell the label are named, and removing them is all that is needed.
    asked = re.search(r"(?m)^  (\S+): remove the inputs that are known only afterwards, if any of: (.+)$", new.out)
    assert asked, new.out
    assert set(asked[2].split(", ")) == {"is_recid", "days_in_jail"}
    gone = [(rf'^        "{name}": .+\n', "") for name in asked[2].split(", ")]
    replaced(project.root / asked[1], *gone, (r"owner@example\.org", "ana.diaz@court.example"))

    # The entries that accept the small groups need a reason and a day.
    assert "or complete the entries of policy.toml that accept them" in new.out
    entries = (r"^# (?=\[\[accepted_small|column = |value  = |why    = |until  = )", "")
    replaced(folder / "policy.toml", entries, (r'^why    = ""', 'why    = "Few so far."'), ("YYYY-MM-DD", str(UNTIL)))

    # The gap between the ages is refused; the terminal names each reason that a person may waive.
    refused = project.lockgate("run", MODEL)
    assert refused.code == 3, refused.said
    assert "Refused by bias-audit: by age, " in refused.said
    assert f"  lockgate run {MODEL} --set mitigation=grid-search\n" in refused.out
    offered = re.search(r"(?m)^  lockgate (waive \S+) (bias-audit/1) .*?signs an exception.*$", refused.out)
    assert offered, refused.said
    assert project.lockgate("verify", MODEL).code == 2
    following = ""
    for reason in sorted(set(re.findall(r"bias-audit/\d+", offered[0]))):
        given = ("--by", "Ana Diaz, judge", "--why", "Each case is heard.", "--until", str(UNTIL))
        waived = project.lockgate(*shlex.split(offered[1]), reason, *given)
        assert waived.code == 0, waived.said
        following = waived.out.strip().rpartition("\n")[2].strip()

    released = project.lockgate(*shlex.split(following)[1:])
    assert released.code == 0, released.said
    assert f"Released: {MODEL} " in released.out
    assert f"under a waiver until {UNTIL}: by age, " in released.out
    assert re.search(
        rf"left out by race: Native American \(.+\), .+, accepted until {UNTIL}: Few so far\.", released.out
    )


def test_the_released_version_answers_and_holds(project: Project) -> None:
    status = project.lockgate("status", MODEL)
    assert status.code == 0
    assert f"under a waiver until {UNTIL}" in status.out
    said = json.loads(project.lockgate("status", MODEL, "--json").out)["models"][MODEL]
    assert (said["live"]["generation"], said["answers"], said["problem"]) == (1, True, "")
    assert [run["outcome"] for run in said["runs"]] == ["released", "refused"]
    assert {each["waiver"]["approver"] for each in said["waived"]} == {"Ana Diaz, judge"}

    predicted = project.lockgate("predict", MODEL, "cases.csv")
    assert predicted.code == 0, predicted.err
    header, *answers = csv.reader(predicted.out.splitlines())
    assert (tuple(header), len(answers)) == ((*HEADER, "label", "score"), sum(SIZES.values()))
    right = sum(row[header.index("label")] == row[header.index(TARGET)] for row in answers)
    assert 0.55 < right / len(answers) < 0.95  # better than a guess, and not told by what was known afterwards
    verified = project.lockgate("verify", MODEL)
    assert verified.code == 0, verified.said
    assert "bias-audit       passed by waiver" in verified.out


def test_the_pages_name_what_was_waived_and_nobody(project: Project) -> None:
    report = json.loads(project.lockgate("report", "last", "--json").out)
    assert (report["missing"], report["withheld"]) == ([], [])
    pages = {name: Path(link.removeprefix("file://")).read_text("utf-8") for name, link in report["pages"].items()}
    banner = pages["index"].partition("<section>")[0]
    assert "Released under a waiver" in banner
    waived = json.loads(project.lockgate("status", MODEL, "--json").out)["models"][MODEL]["waived"]
    headings = [unescape(each).lower() for each in re.findall(r"<h[12][^>]*>(.+?)</h[12]>", banner)]
    assert headings == [reason["message"].lower() for reason in waived]  # one for each, not all in one
    assert banner.count("Waived until ") == len(waived)
    assert [name for name, page in pages.items() if NAMED in page] == []
    kept = [path for path in (project.state / "runs").rglob("*") if path.is_file() and not path.is_symlink()]
    assert [str(path) for path in kept if NAMED.encode() in path.read_bytes()] == []
