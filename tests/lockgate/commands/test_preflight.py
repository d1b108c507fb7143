"""A mistake in pipeline.py is found before the first step; what is not a mistake is accepted."""

import gzip
from pathlib import Path

import pytest

from lockgate.commands.preflight import check_columns, check_estimator
from lockgate.definition.catalog import Catalog
from lockgate.definition.model import Data, ModelSpec, category, label, number
from lockgate.errors import BadCall

PERSON = b"41,19,Anna\n"


def spec(**traits: object) -> ModelSpec:
    """A model of three columns, and one that its split is keyed by."""
    return ModelSpec(
        name="grants",
        owner="pensions@example.gc.ca",
        data=Data(uri="rows.csv", **traits),  # type: ignore[arg-type]
        target=label("granted", positive="yes", negative="no"),
        inputs={"years": number(0, 45)},
        sensitive={"sex": category("Female", "Male")},
    )


@pytest.mark.parametrize(
    ("content", "traits"),
    [
        (b"years,sex,granted\n", {}),
        (b"\xef\xbb\xbfyears, sex ,granted,note\n", {}),
        (b"# of 2026\n\nyears,sex,granted\n", {"comment": "#"}),
        (b'"years";"sex";"granted"\n', {"delimiter": ";"}),
        (b"years sex  granted\n", {"delimiter": " "}),
        (gzip.compress(b"years,sex,granted\n"), {}),
        (PERSON, {"columns": ("years", "sex", "granted")}),
        (PERSON, {"format": "parquet"}),
        (b"PAR1years,nothing\n", {}),
        (b"", {}),
        (b"years,caf\xe9\n", {}),
        (b"years,caf\xe9\n", {"encoding": "klingon"}),
        (gzip.compress(b"years,se\n")[:12], {}),
        (b'"years,se\n', {}),
    ],
)
def test_what_fits_or_cannot_be_judged_here_is_let_through(
    content: bytes, traits: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    check_columns(spec(**traits), (tmp_path / "rows.csv").as_uri())


def test_data_that_lie_elsewhere_are_left_to_ingest() -> None:
    check_columns(spec(), "s3://bucket/rows.csv")


@pytest.mark.parametrize(
    ("content", "traits", "said", "fix"),
    [
        (b"Years,sex,granted\n", {}, "rows.csv has no column years among its 3", "for years did you mean Years?"),
        (gzip.compress(b"years,sexe,granted\n"), {}, "no column sex among", "for sex did you mean sexe?"),
        (b"years,sex,outcome\n", {}, "no column granted", "without a header"),
        (b"years;sex;granted\n", {}, "no column years, granted, sex among its 1", "the delimiter in pipeline.py"),
        (PERSON, {"columns": ("year", "sex", "granted")}, "no column years", "for years did you mean year?"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_near(
    content: bytes, traits: dict[str, object], said: str, fix: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(BadCall, match=said) as caught:
        check_columns(spec(**traits), (tmp_path / "rows.csv").as_uri())
    assert fix in caught.value.fix


def test_the_first_line_of_a_file_without_header_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"year,sexs,Anna\n")
    with pytest.raises(BadCall) as caught:
        check_columns(spec(), (tmp_path / "rows.csv").as_uri())
    said = f"{caught.value.message} {caught.value.fix}".replace("years", "")
    assert [name for name in ("year", "sexs", "Anna") if name in said] == []


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("sklearn.linear_model.LogisticRegresion", "sklearn.linear_model.LogisticRegression"),
        ("LogisticRegression", "sklearn.linear_model.LogisticRegression"),
        ("sklearn.ensemble.LogisticRegression", "sklearn.linear_model.LogisticRegression"),
        ("xgboost.XGBClassifier", "sklearn."),
        (7, "sklearn."),
    ],
)
def test_an_estimator_that_cannot_be_is_named_with_those_near(name: object, fix: str) -> None:
    with pytest.raises(BadCall, match="is not the public name of a scikit-learn classifier") as caught:
        check_estimator(name, Catalog.find())
    assert fix in caught.value.fix


def test_an_estimator_of_scikit_learn_is_let_through() -> None:
    check_estimator("sklearn.ensemble.HistGradientBoostingClassifier", Catalog.find())
