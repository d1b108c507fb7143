"""`lockgate new`: the guesses, the written files, and the refusals with a next action."""

import csv
import gzip
import io
import json
import os
import random
import re
import runpy
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lockgate_policy import check, read
from lockgate_step import Category, Number

from lockgate.commands.render import render_project
from lockgate.definition.model import ModelSpec
from lockgate.definition.project import Project
from lockgate.errors import BadCall
from lockgate.new import command, describe, profile, write
from lockgate.new.gaps import find_missing
from lockgate.new.proxies import association
from lockgate.new.writing import check_name, label_gap, outlook, policy, power_of

ROOT = Path(__file__).parents[3]


def table(rows: int = 400, *, delimiter: str = ",") -> str:
    """A small synthetic table: a label that depends on an amount, and two sensitive columns, one with a small group."""
    draw = random.Random(1)
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerow(["case_id", "amount", "branch", "sex", "langue", "approved"])
    for number in range(rows):
        amount = draw.randrange(0, 5000)
        sex = draw.choice(["F", "M"])
        branch = f"{'north' if sex == 'F' else 'south'}{draw.choice(['', '', ' 2'])}"
        language = "fr" if number < 12 else draw.choice(["en", "en", ""])
        writer.writerow([number, amount, branch, sex, language, "yes" if amount > 3300 else "no"])
    return stream.getvalue()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "cases.csv"
    path.write_text(table(), encoding="utf-8")
    return path


def load(folder: Path) -> ModelSpec:
    return cast(ModelSpec, runpy.run_path(str(folder / "pipeline.py"))["MODEL"])


def test_guesses_and_writes_what_loads(data: Path, tmp_path: Path) -> None:
    found = profile(data, "approved")
    folder = tmp_path / "pipelines" / "small_cases"
    write(found, "small-cases", folder)
    spec = load(folder)
    assert spec.name == "small-cases"
    assert (spec.target.positive, spec.target.negative) == ("yes", "no")  # the rarer one counts as selected
    assert list(spec.inputs) == ["amount", "branch"]
    assert isinstance(spec.inputs["amount"], Number)
    assert list(spec.sensitive) == ["sex", "langue"]
    assert spec.sensitive["langue"].missing
    assert "identifier" in found.left_out["case_id"]
    assert (folder / "data" / "cases.csv").read_bytes() == data.read_bytes()
    assert json.loads((folder / "expectations.json").read_text())
    check(read(folder / "policy.toml"), list(spec.sensitive))
    assert sorted(path.name for path in folder.parent.iterdir()) == ["small_cases"]


def test_a_missing_owner_is_noted_until_somebody_writes_one(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pipelines" / "small_cases"
    write(profile(data, "approved"), "small-cases", folder)
    (note,) = Project(tmp_path).model("small-cases").notes
    assert note == (
        "small-cases has no owner yet: replace owner@example.org with the owner's address in "
        "pipelines/small_cases/pipeline.py"
    )
    lines, value = render_project(Project(tmp_path), [], check=False)
    assert (lines[-1], value["notes"]) == (f"  note: {note}", [note])
    source = folder / "pipeline.py"
    source.write_text(source.read_text().replace("owner@example.org", "claims@example.gc.ca"))
    assert Project(tmp_path).model("small-cases").notes == []
    assert render_project(Project(tmp_path), [], check=False)[1]["notes"] == []


def test_mitigates_by_the_widest_difference_that_gates(tmp_path: Path) -> None:
    draw = random.Random(3)
    rows = [(draw.choice("AB"), draw.choice("XY"), draw.randrange(1000)) for _ in range(6000)]
    lines = [
        f"{race},{sex},{amount},{'yes' if amount < (500 if sex == 'X' else 300) else 'no'}"
        for race, sex, amount in rows
    ]
    path = tmp_path / "cases.csv"
    path.write_text("\n".join(["race,sex,amount,approved", *lines]))
    write(profile(path, "approved"), "cases", tmp_path / "made")
    spec = load(tmp_path / "made")
    assert list(spec.sensitive) == ["race", "sex"]
    assert spec.train["mitigate"] == "sex"
    assert spec.train["mitigation"] == "none"


def test_describes_small_groups_and_proxies(data: Path) -> None:
    lines = "\n".join(describe(profile(data, "approved")))
    assert "too small to judge  langue: fr" in lines
    assert "proxy      branch is associated with sex" in lines
    assert "'yes' counts as selected" in lines


def test_no_count_below_ten_is_shown(data: Path) -> None:
    rows = list(csv.reader(io.StringIO(table())))
    kept = [row for row in rows if row[4] != "fr"] + [row for row in rows if row[4] == "fr"][:7]
    data.write_text("\n".join(",".join(row) for row in kept))
    found = profile(data, "approved").to_json()
    (small,) = [group for group in found["groups"]["langue"] if group["group"] == "fr"]
    assert small == {
        "group": "fr",
        "rows": None,
        "label_rate": None,
        "unlabelled_rate": 0.0,
        "judged": False,
        "errors_judged": False,
    }


def test_no_rule_is_disarmed_for_want_of_rows(data: Path) -> None:
    rules = policy(profile(data, "approved"), "cases")
    assert "reported_only" not in rules
    assert rules.count("at_most = 0.2") == 4  # two rules for each sensitive column
    assert re.search(
        "# Error rates within 0.2: a fair model passes 0 % of the time, because of too few rows of .*fr", rules
    )


def test_the_caller_chooses_label_and_columns(data: Path) -> None:
    found = profile(data, "approved", positive="no", sensitive=["branch"])
    assert (found.positive.name, found.positive_was_given) == ("no", True)
    assert list(found.sensitive) == ["branch"]
    assert "sex" in found.inputs
    assert not profile(data, "approved", sensitive=[]).sensitive


def test_a_model_without_sensitive_columns_still_loads(data: Path, tmp_path: Path) -> None:
    write(profile(data, "approved", sensitive=[]), "plain", tmp_path / "plain")
    spec = load(tmp_path / "plain")
    assert not spec.sensitive
    assert "mitigation" not in spec.train
    check(read(tmp_path / "plain" / "policy.toml"), [])


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_finds_the_delimiter(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(table(delimiter=delimiter).replace("north", "north, far"), encoding="utf-8")
    found = profile(path, "approved")
    assert found.source.delimiter == delimiter
    write(found, "cases", tmp_path / "made")
    assert load(tmp_path / "made").source.delimiter == delimiter


def test_reads_gzip_and_a_byte_order_mark(data: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "cases.csv.gz"
    zipped.write_bytes(gzip.compress(b"\xef\xbb\xbf" + data.read_bytes()))
    assert profile(zipped, "approved").to_json() == profile(data, "approved").to_json() | {"file": "cases.csv.gz"}


def test_other_spellings_of_a_label_are_one_label(data: Path, tmp_path: Path) -> None:
    lines = data.read_text().splitlines()
    data.write_text("\n".join([*lines[:200], *(line.replace(",yes", ",Yes.") for line in lines[200:])]))
    write(profile(data, "approved"), "cases", tmp_path / "made")
    target = load(tmp_path / "made").target
    assert {target.positive, *target.spellings} == {"yes", "Yes."}
    assert set(target.spellings.values()) == {target.positive}


def test_the_rows_of_one_subject_stay_together(tmp_path: Path) -> None:
    rows = [row.split(",") for row in table().splitlines()]
    visits = ["client_id", *(str(1000 + number // 3) for number in range(400))]
    path = tmp_path / "visits.csv"
    path.write_text("\n".join(",".join([visit, *row[1:]]) for visit, row in zip(visits, rows, strict=True)))
    found = profile(path, "approved")
    assert found.key == "client_id"
    assert "client_id" not in found.inputs
    write(found, "visits", tmp_path / "made")
    assert load(tmp_path / "made").split.key == ("client_id",)


def test_real_people_of_1994(tmp_path: Path) -> None:
    names = load(ROOT / "pipelines" / "adult_income").source.columns
    assert names is not None
    path = tmp_path / "adult.csv"
    with gzip.open(ROOT / "pipelines" / "adult_income" / "data" / "adult.data.gz", "rt") as source:
        path.write_text(",".join(names) + "\n" + source.read())
    found = profile(path, "income")
    assert found.rows == 32_561
    assert found.missing == ("", "?")
    assert found.positive.name == ">50K"
    assert list(found.sensitive) == ["age", "marital_status", "race", "sex", "native_country"]
    assert ("relationship", "sex") in [(proxy.column, proxy.of) for proxy in found.proxies]
    sexes = {group.name: group for group in found.groups["sex"]}
    assert (sexes["Male"].rows, sexes["Female"].rows) == (21_790, 10_771)
    assert sexes["Female"].positive == 1_179
    assert all(group.errors_judged(found.test_share) for group in sexes.values())
    ages = {group.name: group.rows for group in found.groups["age"]}
    assert sum(ages.values()) == 32_561
    assert list(ages) == ["under 25", "25 to 39", "40 to 59", "60 and over"]


letters = st.characters(codec="utf-8", exclude_characters="\x00\r\n")
names = st.text(letters, min_size=1, max_size=8)
headers = st.lists(names, min_size=2, max_size=4, unique_by=str.strip)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(header=headers, draw=st.randoms(use_true_random=False), value=names)
def test_whatever_it_accepts_loads_with_a_valid_policy(
    tmp_path: Path, header: list[str], draw: random.Random, value: str
) -> None:
    path = tmp_path / f"{draw.getrandbits(64):x}.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*header, "outcome", "sex"])
        for number in range(120):
            row = [draw.choice([value, "a", str(number % 7), ""]) for _ in header]
            writer.writerow([*row, "yes" if number % 3 else "no", draw.choice(["F", "M", value])])
    try:
        found = profile(path, "outcome")
    except BadCall as refused:
        assert refused.fix
        return
    folder = tmp_path / path.stem
    write(found, "anything", folder)
    spec = load(folder)
    assert dict(spec.inputs) == dict(found.inputs)
    assert dict(spec.sensitive) == dict(found.sensitive)
    check(read(folder / "policy.toml"), list(spec.sensitive))
    json.dumps(found.to_json(), allow_nan=False)


@given(st.lists(st.integers(0, 5), min_size=2))
def test_association_is_between_0_and_1(column: list[int]) -> None:
    assert 0 <= association(column, column[::-1]) <= 1


def test_association_of_equal_and_of_independent_columns() -> None:
    draw = random.Random(2)
    one = [draw.randrange(4) for _ in range(5000)]
    assert association(one, [str(value) for value in one]) == pytest.approx(1, abs=0.01)
    assert association(one, [draw.randrange(4) for _ in one]) < 0.05


BAD: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "empty", "header"),
    "header only": (b"a,b,approved\n", "no rows", "rows"),
    "one column": (b"approved\nyes\nno\n", "one column", "separated"),
    "ragged": (table().encode() + b"1,2,3\n", "line 402", "quote"),
    "no header": (b"1,2,3\n4,5,6\n", "no header", "first line"),
    "two targets": (b"approved,a,approved\nyes,2,yes\nno,4,yes\n", "2 columns 'approved' with", "columns 1 and 3"),
    "one class": (table().replace("yes", "no").encode(), "the same value", "both labels"),
    "three classes": (table().encode() + b"9999,1,north,F,en,perhaps\n", "3 different values", "two values"),
    "a rare class": (table().replace("yes", "no").encode() + b"9999,1,north,F,en,yes\n", "fewer than 20", "more data"),
    "not UTF-8": (table().replace("north", "Montréal").encode("latin-1"), "not UTF-8", "iconv"),
    "UTF-16": (table().encode("utf-16"), "UTF-16", "iconv"),
    "Parquet": (b"PAR1...PAR1", "Parquet", "CSV"),
    "a workbook": (b"PK\x03\x04...", "workbook", "save the sheet"),
    "truncated gzip": (gzip.compress(table().encode())[:-20], "in the middle", "copy the whole file again"),
    "damaged gzip": (gzip.compress(table().encode())[:40] + b"x" * 400, "damaged", "copy the whole file again"),
    "an open quote": (table().encode() + b'9999,"1,north,F,en,yes\n', "not CSV at line", "close each quote"),
    "nothing to predict from": (b"sex,approved\n" + b"F,yes\nM,no\n" * 50, "no column that can predict", "sensitive"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_have_one_message_each(tmp_path: Path, case: str) -> None:
    content, message, fix = BAD[case]
    path = tmp_path / "cases.csv"
    path.write_bytes(content)
    with pytest.raises(BadCall) as refused:
        profile(path, "approved")
    assert message in refused.value.message
    assert fix in refused.value.fix
    assert "9999" not in refused.value.message + refused.value.fix  # a row's value


def repeated(name: str, values: Callable[[str], str]) -> str:
    """The table with a last column that has the name of another one."""
    rows = list(csv.DictReader(io.StringIO(table())))
    lines = [",".join([*rows[0], name]), *(",".join([*row.values(), values(row[name])]) for row in rows)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["amount", "sex", "approved", "case_id"])
def test_columns_that_a_tool_repeated_are_read_as_one(data: Path, name: str) -> None:
    once = profile(data, "approved").to_json()
    data.write_text(repeated(name, str))
    found = profile(data, "approved")
    assert found.to_json() == once | {"repeated": {name: 2}}
    assert f"repeated   2 columns are named {name} and have the same values; they are read as one" in describe(found)


def test_columns_of_one_name_that_differ_are_left_out(data: Path) -> None:
    data.write_text(repeated("amount", lambda value: value + "0"))
    found = profile(data, "approved")
    assert (list(found.inputs), found.repeated) == (["branch"], {})
    assert "give columns 2 and 7 different names in the first line" in found.left_out["amount"]
    data.write_text(repeated("sex", lambda value: "M" if value == "F" else "F"))
    assert "not audited  sex has the name of a sensitive column" in "\n".join(describe(profile(data, "approved")))
    with pytest.raises(BadCall, match="has 2 columns 'sex' with different values"):
        profile(data, "approved", sensitive=["sex"])


def cases_of_a_court(path: Path) -> Path:
    """A table like COMPAS: a repeated column, one that is known only afterwards, two groups too small to judge."""
    draw = random.Random(8)
    sizes = {"African-American": 700, "Caucasian": 650, "Asian": 32, "Native American": 18}
    people = [group for group, size in sizes.items() for _ in range(size)]
    lines = ["person_id,priors_count,race,is_recid,score,priors_count,two_year_recid"]
    for number, race in enumerate(people):
        priors = draw.randrange(20)
        again = number % 4 == 0 if race == "Asian" else draw.random() < 0.3 + priors / 50  # 8 of 32 people
        known = again or draw.random() < 0.05
        score = draw.randrange(1, 11)
        lines.append(f"{number},{priors},{race},{int(known)},{score},{priors},{int(again)}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_like_compas_as_a_new_user_meets_it(tmp_path: Path) -> None:
    path = cases_of_a_court(tmp_path / "cases.csv")
    lines, value = command(cast(Project, SimpleNamespace(root=tmp_path)), "cases", path, "two_year_recid", None, None)
    said = "\n".join(lines)
    assert "repeated   2 columns are named priors_count and have the same values" in said
    assert re.search(r"known later\?  each of these alone nearly tells two_year_recid .*: is_recid \(0.9\d\)\n", said)
    assert list(value["telling"]) == ["is_recid"]
    assert "pipeline.py: remove the inputs that are known only afterwards, if any of: is_recid" in said
    assert "Each of these decides it:" in said
    folder = tmp_path / "pipelines" / "cases"
    assert "each alone nearly tells the label: is_recid." in (folder / "pipeline.py").read_text()
    # The advice can be followed: an input that is to be removed has no expectation that would name it.
    expected = json.loads((folder / "expectations.json").read_text())
    assert {each["kwargs"].get("column") for each in expected} == {None, "priors_count", "score"}
    assert "- `is_recid` (Cramér's V 0.9" in (folder / "README.md").read_text()  # no backslash inside code
    # Every rule gates, and the entries that accept the small groups only need a person's reason and a day.
    rules = (folder / "policy.toml").read_text()
    assert "reported_only" not in rules
    until = datetime.now(UTC).date() + timedelta(days=30)
    accepted = re.sub(r"(?m)^# (?=\[\[acc|column|value|why|until)", "", rules)
    accepted = accepted.replace('why    = ""', 'why = "Few so far."').replace("YYYY-MM-DD", str(until))
    (folder / "policy.toml").write_text(accepted)
    assert [(each.column, each.value) for each in read(folder / "policy.toml").accepted] == [
        ("race", "Asian"),
        ("race", "Native American"),
    ]
    assert not any("Asian" in line for line in render_project(Project(tmp_path), [], check=False)[1]["power"])


def test_a_rate_that_is_not_shown_is_not_part_of_a_difference(tmp_path: Path) -> None:
    """With the rate of the other group, the difference would give the small count away."""
    found = profile(cases_of_a_court(tmp_path / "cases.csv"), "two_year_recid")
    groups = {group.name: group for group in found.groups["race"]}
    assert groups["Asian"].rate is None
    shown = [group.rate for group in groups.values() if group.rate is not None]
    assert label_gap(found.groups["race"]) == max(shown) - min(shown)


def test_many_small_groups_are_not_each_offered(tmp_path: Path) -> None:
    lines = [f"{number % 50},{'FM'[number % 2]},{'yes' if number % 3 else 'no'}" for number in range(2000)]
    lines += [f"{number},Group {number % 20},{'yes' if number % 3 else 'no'}" for number in range(50)]
    path = tmp_path / "cases.csv"
    path.write_text("\n".join(["amount,sex,approved", *lines]))
    rules = policy(profile(path, "approved"), "cases")
    assert "# 20 groups are too small for the rules above: merge them, or accept each by name, like this:" in rules
    assert rules.count("[[accepted_small_group]]") == 1


def test_accepting_is_not_offered_where_it_cannot_decide(tmp_path: Path) -> None:
    """Of two groups, one has too few positive rows: the error rates have nothing to compare once it is left out."""
    lines = [f"{n % 50},{'FM'[n % 3 > 0]},{'yes' if n % 3 and n % 2 else 'no'}" for n in range(900)]
    path = tmp_path / "cases.csv"
    path.write_text("\n".join(["amount,sex,approved", *lines]))
    found = profile(path, "approved")
    rules = policy(found, "cases")
    assert "[[accepted_small_group]]" not in rules
    assert "# Fewer than two groups have enough rows to compare them on error rates, so accepting small groups" in rules
    assert "the data have too few rows of these groups to compare their label rates." in rules
    said = list(outlook(found))
    assert "  no small groups          merge them" in said
    # An entry that is written all the same changes nothing, and the power still says what would.
    write(found, "cases", tmp_path / "pipelines" / "cases")
    entry = f'[[accepted_small_group]]\ncolumn = "sex"\nvalue = "F"\nwhy = "x"\nuntil = {datetime.now(UTC).date()}\n'
    (tmp_path / "pipelines" / "cases" / "policy.toml").write_text(rules + entry)
    said = render_project(Project(tmp_path), [], check=False)[1]["power"]
    assert any("error rates" in line and "because of too few rows of F" in line for line in said)


def test_one_rare_value_is_said_in_the_singular(tmp_path: Path) -> None:
    lines = [f"{n % 50},{'abc'[n % 3] if n else 'rare'},{'yes' if n % 3 else 'no'}" for n in range(300)]
    path = tmp_path / "cases.csv"
    path.write_text("\n".join(["amount,branch,approved", *lines]))
    said = "\n".join(describe(profile(path, "approved")))
    assert "rare       branch: 1 of its values is in fewer than 10 rows; merge them if possible" in said


def test_similar_names_are_suggested(data: Path) -> None:
    with pytest.raises(BadCall, match="unknown column 'aproved'") as refused:
        profile(data, "aproved")
    assert "approved" in refused.value.fix
    with pytest.raises(BadCall) as refused:
        profile(data, "approved", positive="Yess")
    assert "yes" in refused.value.fix
    with pytest.raises(BadCall) as refused:
        profile(data, "approved", sensitive=["sexe"])
    assert "sex" in refused.value.fix
    with pytest.raises(BadCall) as refused:
        profile(data.with_name("case.csv"), "approved")
    assert "cases.csv" in refused.value.fix


@pytest.mark.parametrize(
    ("name", "fix"), [("My Model", "my-model"), ("2020_cases", "cases"), ("a--b", "a-b"), ("é", "claims-triage")]
)
def test_a_valid_name_is_suggested_for_an_invalid_one(name: str, fix: str) -> None:
    with pytest.raises(BadCall) as refused:
        check_name(name)
    assert fix in refused.value.fix


def test_nothing_is_overwritten(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pipelines" / "cases"
    folder.mkdir(parents=True)
    project = cast(Project, SimpleNamespace(root=tmp_path))
    with pytest.raises(BadCall, match="already exists, and lockgate new overwrites nothing"):
        command(project, "cases", data, "approved", None, None)
    with pytest.raises(BadCall, match="already exists, and lockgate new overwrites nothing"):
        write(profile(data, "approved"), "cases", folder)
    assert not list(folder.iterdir())


def lockgate(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command_line = [sys.executable, "-m", "lockgate", "new", *arguments]
    return subprocess.run(command_line, cwd=folder, env={**os.environ}, capture_output=True, text=True, check=False)


def test_the_command_in_an_empty_folder(data: Path, tmp_path: Path) -> None:
    done = lockgate(["small-cases", "--data", "cases.csv", "--target", "approved"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "lockgate run small-cases" in done.stdout
    assert (tmp_path / "pipelines" / "small_cases" / "pipeline.py").is_file()
    again = lockgate(["small-cases", "--data", "cases.csv", "--target", "approved"], tmp_path)
    assert again.returncode == 2
    assert "Next:" in again.stderr
    assert "Traceback" not in again.stderr


def test_the_command_as_json(data: Path, tmp_path: Path) -> None:
    done = lockgate(["cases", "--data", str(data), "--target", "approved", "--positive", "no", "--json"], tmp_path)
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["target"]["positive"] == "no"
    assert result["folder"] == "pipelines/cases"
    assert [column["name"] for column in result["inputs"]] == ["amount", "branch"]


@pytest.mark.parametrize(
    ("common", "rare", "selected", "why"),
    [
        ("yes", "no", "yes", "by its name"),
        ("1", "0", "1", "by its name"),
        ("Accordé", "Refusé", "Accordé", "by its name"),
        ("pending", "denied", "pending", "by its name"),
        ("granted", "on hold", "granted", "by its name"),
        ("<=50K", ">50K", ">50K", "the rarer label"),
    ],
)
def test_the_label_that_reads_as_selected_is_positive_though_not_the_rarer(
    tmp_path: Path, common: str, rare: str, selected: str, why: str
) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(
        "\n".join(["amount,outcome", *(f"{n * 7 % 50},{rare if n % 4 == 0 else common}" for n in range(200))])
    )
    found = profile(path, "outcome")
    lines = list(describe(found))
    assert found.positive.name == selected
    assert any(
        f"{selected!r} counts as selected" in line and f"{why}; change it with --positive" in line for line in lines
    )
    assert f"score      = probability of {selected!r}" in lines


def test_the_first_next_step_is_to_check_the_label(data: Path, tmp_path: Path) -> None:
    lines, _ = command(cast(Project, SimpleNamespace(root=tmp_path)), "small", data, "approved", None, None)
    assert "check that 'yes' is the label that counts as selected" in lines[lines.index("Next") + 1]


DAY = datetime.now(UTC).date() + timedelta(days=30)


def people(path: Path, count: int, rates: dict[str, float], without: dict[str, int] | None = None) -> Path:
    """Rows in equal groups, each with its own share of the label; the first of a group have none."""
    draw, names = random.Random(4), list(rates)
    lines = ["sex,income,approved"]
    left = dict(without or {})
    for number in range(count):
        sex = names[number % len(names)]
        label = "yes" if draw.random() < rates[sex] else "no"
        if left.get(sex, 0):
            left[sex] -= 1
            label = ""
        lines.append(f"{sex},{draw.randrange(9000) if draw.random() < 0.9 else ''},{label}")
    path.write_text("\n".join(lines))
    return path


def test_1500_rows_in_two_equal_groups_are_judged(tmp_path: Path) -> None:
    """The interval of a fair model is 0.10 to either side of its gap, so a limit of 0.2 decides most of the time."""
    found = profile(people(tmp_path / "cases.csv", 1500, {"F": 0.4, "M": 0.4}), "approved")
    rules = policy(found, "cases")
    assert "reported_only" not in rules
    assert power_of(found, "sex", "selection_rate_difference").chance > 0.9
    errors = power_of(found, "sex", "equalized_odds_difference")
    assert not errors.decides
    assert errors.rows is not None and 2000 < errors.rows < 6000
    lines = list(outlook(found))
    assert any("selection rates within 0.2: a fair model passes 9" in line for line in lines)
    assert any(re.search("rows in all, or a limit of 0.[2-4][0-9]?, would decide it", line) for line in lines)


def test_the_column_with_the_widest_gap_gates_and_is_mitigated(tmp_path: Path) -> None:
    found = profile(people(tmp_path / "cases.csv", 1500, {"F": 0.2, "M": 0.6, "X": 0.3}), "approved")
    assert "reported_only" not in policy(found, "cases")
    assert any("differ by 0.4" in line for line in outlook(found))


def test_rows_without_a_label_are_excluded_by_the_spec(tmp_path: Path) -> None:
    path = people(tmp_path / "cases.csv", 1500, {"F": 0.4, "M": 0.4}, {"F": 100, "M": 42})
    found = profile(path, "approved")
    write(found, "cases", tmp_path / "made")
    source = (tmp_path / "made" / "pipeline.py").read_text()
    assert 'unlabelled="exclude"' in source
    assert "# 142 of the 1,500 rows have no approved: they are left out, and counted by group." in source
    assert load(tmp_path / "made").source.unlabelled == "exclude"
    lines = "\n".join(describe(found))
    assert "no label   142 rows have no approved" in lines
    assert re.search(r"  F +750 +\d\d\.\d% +13\.3%", lines)
    assert "| F | 750 |" in (tmp_path / "made" / "README.md").read_text()
    assert [group["unlabelled_rate"] for group in found.to_json()["groups"]["sex"]] == [0.133, 0.056]


def test_labelled_data_exclude_nothing(data: Path, tmp_path: Path) -> None:
    write(profile(data, "approved"), "cases", tmp_path / "made")
    assert "unlabelled" not in (tmp_path / "made" / "pipeline.py").read_text()


def test_expectations_cover_what_the_spec_does_not(tmp_path: Path) -> None:
    write(profile(people(tmp_path / "cases.csv", 1500, {"F": 0.4, "M": 0.4}), "approved"), "cases", tmp_path / "made")
    entries = json.loads((tmp_path / "made" / "expectations.json").read_text())
    assert [(each["type"], each["table"], each["severity"]) for each in entries] == [
        ("expect_table_row_count_to_be_between", "rows", "critical"),
        ("expect_table_row_count_to_be_between", "test", "critical"),
        ("expect_column_values_to_not_be_null", "rows", "warning"),
        ("expect_column_mean_to_be_between", "rows", "warning"),
    ]
    assert all(each["why"] for each in entries)
    assert entries[0]["kwargs"] == {"min_value": 562}
    assert 0.7 < entries[2]["kwargs"]["mostly"] < 0.9
    assert entries[3]["kwargs"]["min_value"] < 4500 < entries[3]["kwargs"]["max_value"]


def test_values_missing_more_often_in_one_group_are_named(tmp_path: Path) -> None:
    draw = random.Random(6)
    lines = ["sex,income,other,approved"]
    for number in range(1000):
        sex = "FM"[number % 2]
        income = "" if draw.random() < (0.2 if sex == "F" else 0.02) else str(draw.randrange(9000))
        other = "" if draw.random() < 0.1 else str(draw.randrange(9000))
        lines.append(f"{sex},{income},{other},{draw.choice(['yes', 'no'])}")
    path = tmp_path / "cases.csv"
    path.write_text("\n".join(lines))
    found = profile(path, "approved")
    (missing,) = find_missing(found)
    assert (missing.column, missing.by, missing.high, missing.low) == ("income", "sex", "F", "M")
    assert any(line.startswith("missing    income is missing in 2") for line in describe(found))


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (
            "at_most = 0.0",
            r"passes 0 % of the time; no number of rows can show exactly 0; a limit of 0.1\d would decide it",
        ),
        (
            "at_most = 0.05",
            r"passes \d+ % of the time; about [\d,]+ rows in all, or a limit of 0.1\d, would decide it",
        ),
        ("at_most = 0.3", ""),
    ],
)
def test_render_states_the_power_of_the_rules(tmp_path: Path, limit: str, says: str) -> None:
    path = people(tmp_path / "cases.csv", 1500, {"F": 0.4, "M": 0.4}, {"F": 10, "M": 10})
    folder = tmp_path / "pipelines" / "cases"
    write(profile(path, "approved"), "cases", folder)
    rules = (folder / "policy.toml").read_text().split("[[bias]]")
    (folder / "policy.toml").write_text("[[bias]]".join([rules[0], rules[1].replace("at_most = 0.2", limit)]))
    lines, value = render_project(Project(tmp_path), [], check=False)
    if not says:
        assert value["power"] == []
        return
    (stated,) = value["power"]
    assert re.search(f"cases, policy.toml:\\d+: by sex, selection rates within [0-9.]+: a fair model {says}", stated)
    assert f"  power: {stated}" in lines


def test_the_power_of_a_rule_leaves_out_the_small_groups_that_the_policy_accepts(tmp_path: Path) -> None:
    path = people(tmp_path / "cases.csv", 1500, {"F": 0.4, "M": 0.4})
    path.write_text(path.read_text() + "\n" + "\n".join(["X,1,yes"] * 20))
    folder = tmp_path / "pipelines" / "cases"
    write(profile(path, "approved"), "cases", folder)
    rules = (folder / "policy.toml").read_text().split("[[bias]]")
    alone = "[[bias]]".join([rules[0], rules[1].replace("at_most = 0.2", "at_most = 0.3")])
    entry = '[[accepted_small_group]]\ncolumn = "sex"\nvalue = "X"\nwhy = "New."\nuntil = {}\n'
    for ending, said in (("", 1), (entry.format(DAY), 0), (entry.format("2001-01-01"), 1)):
        (folder / "policy.toml").write_text(alone + ending)
        _, value = render_project(Project(tmp_path), [], check=False)
        assert len(value["power"]) == said, value["power"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: gzip.compress(b"a,b,") + gzip.compress(b"x" * (1 << 20)) * 1024,
        lambda: gzip.compress(b"\n" * (1 << 20)) * 400,
        lambda: b"\n" * 5_000_000,
        lambda: b"a,b,approved\n" + b'"\n",' * 1_000_000,
        lambda: (",".join(f"c{n}" for n in range(3000)) + "\n").encode() * 3,
        lambda: b"a,b,approved\n1,2," + b"x" * 200_000,
    ],
)
def test_a_file_beyond_the_limits_is_refused_with_the_figure(tmp_path: Path, make: Callable[[], bytes]) -> None:
    path = tmp_path / "cases.csv"
    path.write_bytes(make())
    began = time.process_time()
    with pytest.raises(BadCall, match=r"[\d,]{4,}") as refused:
        profile(path, "approved")
    assert refused.value.fix
    assert time.process_time() - began < 5


def test_a_long_line_with_another_delimiter_is_no_long_value(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    wide = [f"c{n}" for n in range(900)]
    rows = [",".join([*("x" * 200 for _ in wide), "yes" if n % 2 else "no", str(n % 7)]) for n in range(60)]
    path.write_text("\n".join([",".join([*wide, "approved", "amount"]), *rows]))
    assert profile(path, "approved").rows == 60


HOSTILE = "north\x1b]0;pwn\x07\nReleased: everything"


def test_hostile_names_are_shown_as_codes_and_stay_the_same_in_the_spec(tmp_path: Path) -> None:
    lines = [f'{n % 50},"{HOSTILE if n % 3 else "south"}",{"FM"[n % 2]},{"yes" if n % 5 else "no"}' for n in range(400)]
    path = tmp_path / "cases\u202evsc.csv"
    path.write_text("\n".join(["amount,bra\u202ench\U000e0041,sex,approved", *lines]), encoding="utf-8")
    done = lockgate(["cases", "--data", str(path), "--target", "approved"], tmp_path)
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, *((tmp_path / "pipelines" / "cases" / name).read_text() for name in WRITTEN)):
        assert not {unicodedata.category(each) for each in text if each != "\n"} & {"Cc", "Cf"}
        assert "\nReleased" not in text
    assert r"\u001b]0;pwn\u0007\u000aReleased" in done.stdout
    assert r"bra\u202enc" in done.stdout
    column = load(tmp_path / "pipelines" / "cases").inputs["bra\u202ench\U000e0041"]
    assert isinstance(column, Category) and HOSTILE in column.values
    wrong = lockgate(["other", "--data", str(path), "--target", "\x1bapproved"], tmp_path)
    assert wrong.returncode == 2
    assert not {unicodedata.category(each) for each in wrong.stderr if each != "\n"} & {"Cc", "Cf"}


WRITTEN = ("pipeline.py", "policy.toml", "README.md")


def test_render_states_the_groups_that_have_no_test_row(tmp_path: Path) -> None:
    """An official test file without a group: the rule will not be decided, and that is said before anything runs."""
    sizes, rates = dict.fromkeys(("F", "M", "X"), 900), dict.fromkeys(("F", "M", "X"), 0.4)
    path = people(tmp_path / "cases.csv", 2700, rates, dict.fromkeys(sizes, 0))
    folder = tmp_path / "pipelines" / "cases"
    write(profile(path, "approved"), "cases", folder)
    rules = (folder / "policy.toml").read_text().split("[[bias]]")[:2]
    between = rules[1].replace('["sex"]', '["sex", "office"]')
    (folder / "policy.toml").write_text("[[bias]]".join([*rules, between]))
    source = (folder / "pipeline.py").read_text()
    office = source.replace("    sensitive={", '    sensitive={"office": category("here", "there", "closed"),')
    office = office.replace('uri="data/cases.csv"', 'uri="data/cases.csv", test="data/test.csv"')
    (folder / "pipeline.py").write_text(office.replace("import Data", "import category, Data"))
    lines = path.read_text().splitlines()
    rows = [f"{line},{('here', 'there')[number % 2]}" for number, line in enumerate(lines[1:])]
    head = f"{lines[0]},office"
    tested = [line for line in rows if ",X," not in f",{line},"]
    (folder / "data" / "cases.csv").write_text("\n".join([head, *rows]))
    (folder / "data" / "test.csv").write_text("\n".join([head, *tested]))
    _, value = render_project(Project(tmp_path), [], check=False)
    alone, both = value["power"]
    assert alone.endswith("a fair model passes 0 % of the time, because of too few rows of X")
    assert both.endswith("because of too few rows of (any) & closed, X & here, X & there")
