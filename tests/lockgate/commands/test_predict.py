"""A refusal names the rows and the allowed values, never a value of the file, and writes nothing to stdout."""

import io
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from lockgate_step import sha256

from lockgate.commands.predict import check_header, checked_rows, predict_csv, takes
from lockgate.definition.model import Data, ModelSpec, category, label, number
from lockgate.definition.project import Project
from lockgate.errors import BadCall, OutsideFailed
from lockgate.records.environment import Environment, ensure_environment
from lockgate.records.store import store_of
from tests.promotions import make_live

SPEC = ModelSpec(
    name="income",
    owner="owner@example.gc.ca",
    data=Data(uri="income.csv", missing=("", "?")),
    target=label("earns", positive="much", negative="little"),
    inputs={
        "age": number(17, 90, whole=True),
        "gain": number(0, 1_500_000, missing=True),
        "work class": category("private", "public"),
    },
    sensitive={},
)
GOOD = {"age": "40", "gain": "2.5", "work class": "private"}


def refused(*rows: Mapping[str, str | None], first: int = 1) -> BadCall:
    with pytest.raises(BadCall) as caught:
        checked_rows(SPEC, [{**GOOD, **row} for row in rows], first)
    return caught.value


def test_rows_that_fit_come_as_the_model_takes_them() -> None:
    rows = checked_rows(SPEC, [GOOD, {**GOOD, "age": " 17 ", "gain": "?"}, {**GOOD, "age": "90", "gain": None}])
    assert [row["age"] for row in rows] == [40.0, 17.0, 90.0]
    assert [row["gain"] for row in rows] == [2.5, None, None]


def test_a_refusal_names_the_rows_and_what_the_column_takes() -> None:
    error = refused({}, {"age": "16"}, {}, {"age": "913"})
    assert error.message == "rows 2 and 4: age is not between 17 and 90"
    assert error.fix == "age accepts whole numbers 17 to 90"
    assert "913" not in error.message + error.fix


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"age": "40.5"}, "row 1001: age is not a whole number"),
        ({"age": "?"}, "row 1001: age is missing"),
        ({"age": None}, "row 1001: age is missing"),
        ({"age": "forty"}, "row 1001: age is not a number"),
        ({"gain": "nan"}, "row 1001: gain is not a number"),
        ({"gain": "1500001"}, "row 1001: gain is not between 0 and 1500000"),
        ({"work class": "Private"}, "row 1001: work class is not one of its 2 categories"),
    ],
)
def test_each_rule_in_its_words(row: dict[str, str | None], said: str) -> None:
    assert refused(row, first=1001).message == said


def test_many_rows_and_columns_are_counted() -> None:
    error = refused(*[{"age": "1", "work class": "x"}] * 7)
    assert error.message == (
        "rows 1, 2, 3, 4, 5 and 2 more: age is not between 17 and 90; "
        "rows 1, 2, 3, 4, 5 and 2 more: work class is not one of its 2 categories"
    )
    assert error.fix == "age accepts whole numbers 17 to 90; work class accepts one of private, public"
    many = refused({"age": "1", "gain": "-1", "work class": "x"}, {"age": "1.5"}, {"age": ""})
    assert many.message == (
        "rows 1 and 2: age is not between 17 and 90; row 1: gain is not between 0 and 1500000; "
        "row 1: work class is not one of its 2 categories; and 1 more"
    )


def test_what_a_column_takes() -> None:
    assert takes("gain", SPEC.inputs["gain"]) == "gain accepts numbers 0 to 1500000, or nothing"
    assert takes("n", category(*map(str, range(20)))).endswith("10, 11 and 8 more")


@pytest.mark.parametrize(
    ("header", "said", "fix"),
    [
        (["Age", "gain", "work class"], "rows.csv has no column 'age'; it has 'Age'", "rename 'Age' to 'age'"),
        (["age", "gain", "WorkClass"], "has no column 'work class'; it has 'WorkClass'", "'WorkClass' to 'work class'"),
        (["gain", "work class"], "rows.csv has no column 'age'", "inputs of income: age, gain, work class"),
        (["age;gain;work class"], "rows.csv seems to be separated by ';'", "commas as separators"),
        (["Age\tgain\twork class"], "rows.csv seems to be separated by tabs", "commas as separators"),
    ],
)
def test_a_header_that_does_not_fit(header: list[str], said: str, fix: str) -> None:
    with pytest.raises(BadCall) as caught:
        check_header(SPEC, header, "rows.csv")
    assert caught.value.message.endswith(said)
    assert fix in caught.value.fix


class Gateway(BaseHTTPRequestHandler):
    """Answers every row, and refuses a request with an age of 50."""

    def do_POST(self) -> None:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ages = asked["inputs"][0]["data"]
        outputs = [{"name": "label", "data": ["much"] * len(ages)}, {"name": "score", "data": [0.75] * len(ages)}]
        body = {"error": "age is reserved"} if 50 in ages else {"outputs": outputs}
        self.send_response(400 if 50 in ages else 200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        monkeypatch.setenv("LOCKGATE_PORT", str(server.server_port))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield ensure_environment(Project(tmp_path), ["promote"])
        server.shutdown()
        thread.join()


def sent(environment: Environment, folder: Path, text: str) -> str:
    """Return the output of the call; if it is refused, first the message and `|`."""
    (folder / "rows.csv").write_text(text, encoding="utf-8")
    out = io.StringIO()
    try:
        predict_csv(environment, SPEC, folder / "rows.csv", out)
    except (BadCall, OutsideFailed) as error:
        return f"{error.message}|{out.getvalue()}"
    return out.getvalue()


def test_the_whole_way(environment: Environment, tmp_path: Path) -> None:
    with pytest.raises(BadCall, match=r"income has no live version$"):  # as `verify`: a retry does not help
        predict_csv(environment, SPEC, tmp_path / "rows.csv", io.StringIO())
    make_live(store_of(environment), "income", environment.key("promote"), sha256(b"a bundle"))
    head = "id,age,gain,work class\n"
    assert sent(environment, tmp_path, f"{head}a,40,,private\n") == (
        "id,age,gain,work class,label,score\r\na,40,,private,much,0.75\r\n"
    )
    assert sent(environment, tmp_path, f"{head}a,40,,\n\n") == "row 1: work class is missing|"
    twice = "id,age,gain,id,age,work class\n"
    assert sent(environment, tmp_path, f"{twice}a,40,,b,40,private\n") == (
        "id,age,gain,id,age,work class,label,score\r\na,40,,b,40,private,much,0.75\r\n"
    )
    differ = "row 2: the 2 columns named 'age' have different values|"
    assert sent(environment, tmp_path, f"{twice}a,40,,b,40,private\na,40,,b,41,private\n") == differ
    assert sent(environment, tmp_path, f"{head}a,4,,private\n") == "row 1: age is not between 17 and 90|"
    assert sent(environment, tmp_path, f"{head}a,40,10,500,private\n") == "row 1 has more fields than the header|"
    assert sent(environment, tmp_path, f"{head}a,40,,private\nb,40\n") == "row 2 has fewer fields than the header|"
    assert sent(environment, tmp_path, f"{head}a,4_0,,private\n") == "row 1: age is not a number|"
    assert sent(environment, tmp_path, f"{head}a,\u0664\u0660,,private\n") == "row 1: age is not a number|"
    assert sent(environment, tmp_path, f"{head}{'a' * 200_000},40,,private\n").startswith("the file is not CSV")
    assert sent(environment, tmp_path, f"{head}a,50,,private\n") == "income refused row 1: age is reserved|"
