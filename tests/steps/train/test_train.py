"""train writes the model that it fits, the same in every run, and mitigates bias if requested."""

import importlib
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_model import Form, ModelCard, load, write
from lockgate_model import read as model_card
from lockgate_model._write import _synthetic
from lockgate_step import BadCall, Category, Number, tree_digest
from lockgate_train.estimators import _classifier, declared, public_names
from lockgate_train.mitigation import Constraint, Method, Mitigation
from lockgate_train.rows import Problem, Training, groups
from lockgate_train.train import fit
from sklearn.utils import all_estimators

from tests.steps.train.pensions import SPEC, Call, parquet

Read = Callable[[pd.DataFrame], Training]

ONNX = [
    ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 30}),
    ("sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 20}),
    ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 15}),
    ("sklearn.tree.DecisionTreeClassifier", {"max_depth": 6}),
    ("sklearn.linear_model.LogisticRegression", {}),
]


def written(
    folder: Path, training: Training, problem: Problem, name: str, parameters: dict[str, Any], form: Form = "auto"
) -> tuple[ModelCard, Any]:
    pipeline = fit(training, problem.inputs, declared(name, json.dumps(parameters), 0))
    card = write(
        folder, pipeline, inputs=problem.inputs, labels=problem.labels, rows=training.inputs, form=form, threshold=0.4
    )
    return card, pipeline


@pytest.mark.parametrize(("name", "parameters"), ONNX)
@pytest.mark.parametrize("form", ["onnx", "skops"])
def test_the_served_form_answers_like_the_native_model(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame, name: str, parameters: dict[str, Any], form: Form
) -> None:
    training = read(data)
    card, pipeline = written(tmp_path / "model", training, problem, name, parameters, form)
    rows = {column: [None if v != v or v == "" else v for v in training.inputs[column]] for column in training.inputs}
    labels, scores = load(tmp_path / "model").predict(rows)
    native = pipeline.predict_proba(training.inputs)[:, 1]
    np.testing.assert_allclose(scores, native, atol=1e-5)
    assert labels == ["yes" if score >= 0.4 else "no" for score in native]
    assert None in rows["income"]
    assert None in rows["work"]
    assert card.format == form
    assert card.differences.rows == len(training.inputs) + 1000
    assert card.differences.labels == 0


def test_one_row_and_none_are_answered(tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame) -> None:
    row: dict[str, list[Any]] = {"age": [40], "income": [None], "work": ["never seen"], "region": ["north"]}
    answers = []
    for form in ("onnx", "skops"):
        written(tmp_path / form, read(data), problem, *ONNX[0], form)
        predictor = load(tmp_path / form)
        answers.append(predictor.predict(row))
        assert predictor.predict({name: [] for name in row}) == ([], [])
    assert answers[0][0] == answers[1][0]
    assert answers[0][1] == pytest.approx(answers[1][1], abs=1e-5)


def test_a_model_fitted_on_finer_numbers_than_are_served_is_refused(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame
) -> None:
    """As float32 these incomes are all the same number, but as float64 they determine the label."""
    training = read(data)
    finer = Training(training.inputs.assign(income=1e9 + training.labels), training.labels)
    with pytest.raises(BadCall, match=r"as onnx: its scores differ.*as skops: its scores differ") as raised:
        written(tmp_path / "model", finer, problem, *ONNX[0])
    assert "float32" in raised.value.fix
    assert not list((tmp_path / "model").glob("model.[os]*"))


def test_what_converts_wrongly_is_kept_as_skops(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame
) -> None:
    """skl2onnx 1.20 converts two-class linear discriminant analysis to a graph with wrong probabilities."""
    analysis = "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"
    card, _ = written(tmp_path / "model", read(data), problem, analysis, {})
    assert card.format == "skops"
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["golden.json", "model.json", "model.skops"]
    with pytest.raises(BadCall, match="as onnx: its scores differ"):
        written(tmp_path / "other", read(data), problem, analysis, {}, "onnx")


def test_what_converts_to_nothing_and_cannot_be_checked_is_refused(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame
) -> None:
    with pytest.raises(BadCall, match="KNeighborsClassifier cannot be served; as skops"):
        written(tmp_path / "model", read(data), problem, "sklearn.neighbors.KNeighborsClassifier", {}, "skops")
    assert not (tmp_path / "model" / "model.skops").exists()


@pytest.mark.parametrize("form", ["onnx", "skops"])
def test_golden_answers_are_the_native_models_on_nobodys_rows(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame, form: Form
) -> None:
    data.loc[0, "age"] = 89.0  # one person only
    training = read(data)
    _, pipeline = written(tmp_path / "model", training, problem, *ONNX[0], form)
    golden = json.loads((tmp_path / "model" / "golden.json").read_text())
    requests = pd.DataFrame(golden["requests"])[list(training.inputs)]
    assert len(requests) == 20
    frame = requests.assign(income=requests["income"].astype(float), work=requests["work"].fillna("").astype(object))
    native = pipeline.predict_proba(frame.assign(region=requests["region"].astype(object)))[:, 1]
    np.testing.assert_array_equal([answer["score"] for answer in golden["answers"]], native)
    labels, scores = load(tmp_path / "model").predict(
        {name: [r[name] for r in golden["requests"]] for name in requests}
    )
    assert labels == [answer["label"] for answer in golden["answers"]]
    np.testing.assert_allclose(scores, native, atol=golden["tolerance"])
    assert 89.0 not in requests["age"].tolist()


@given(
    st.lists(st.sampled_from(["office", "field", "home", "", "typo"]), min_size=60, max_size=120),
    st.lists(st.one_of(st.integers(0, 6).map(float), st.just(float("nan"))), min_size=120, max_size=120),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_synthetic_rows_hold_no_rare_value(work: list[str], numbers: list[float], seed: int) -> None:
    inputs = (
        Category(name="work", values=("office", "field", "home"), missing=True),
        Number(name="n", low=0, high=5, missing=True),
    )
    table = pd.DataFrame({"work": pd.Series(work, dtype=object), "n": numbers[: len(work)]})
    counts = table["work"].value_counts()
    many = table["n"].value_counts(dropna=False)
    try:
        drawn = _synthetic(table, inputs, seed)
    except BadCall:
        allowed = ["office", "field", "home", ""]
        enough_work = any(counts.get(value, 0) >= 10 for value in allowed)
        assert not enough_work or not any(many.get(float(n), 0) >= 10 for n in range(6))
        return
    for row in drawn:
        assert counts["" if row["work"] is None else row["work"]] >= 10
        assert row["work"] != "typo"
        common = [value for value, count in many.items() if count >= 10 and not value > 5]
        if common:
            assert (row["n"] in common) if row["n"] is not None else many[float("nan")] >= 10


def difference(labels: "np.ndarray[Any, Any]", members: "np.ndarray[Any, Any]") -> float:
    rates = pd.Series(labels).groupby(members).mean()
    return float(rates.max() - rates.min())


@pytest.mark.parametrize("method", ["grid-search", "exponentiated-gradient"])
@pytest.mark.parametrize(
    ("constraint", "estimator"),
    [
        ("demographic-parity", (ONNX[0][0], {"max_iter": 10, "max_leaf_nodes": 7})),
        ("demographic-parity", ONNX[4]),
        ("equalized-odds", ONNX[4]),
    ],
)
def test_a_mitigation_leaves_one_model_with_a_smaller_difference(
    tmp_path: Path,
    read: Read,
    problem: Problem,
    data: pd.DataFrame,
    method: Method,
    constraint: Constraint,
    estimator: tuple[str, dict[str, Any]],
) -> None:
    training = read(data)
    members = groups(parquet(data[["sex", "origin"]], tmp_path / "sensitive"), problem, "", len(data))
    name, parameters = estimator
    plan = Mitigation(method, members, constraint, 0.1, 20, 0.5)

    def differences(pipeline: Any) -> float:
        selected = pipeline.predict_proba(training.inputs)[:, 1] >= 0.5
        if constraint == "demographic-parity":
            return difference(selected, members)
        parts = [training.labels == 0, training.labels == 1]
        return max(difference(selected[part], members[part]) for part in parts)

    def make(plan: Mitigation | None) -> Any:
        return fit(training, problem.inputs, declared(name, json.dumps(parameters), 0), plan)

    plain, fair = make(None), make(plan)
    assert type(fair[-1]) is type(plain[-1])
    assert differences(fair) < 0.7 * differences(plain)
    scores = fair.predict_proba(training.inputs)
    np.testing.assert_array_equal(scores, make(plan).predict_proba(training.inputs))
    assert ((scores[:, 1] >= 0.5) == training.labels).mean() > 0.65


def test_small_groups_are_mitigated_together(tmp_path: Path, problem: Problem, data: pd.DataFrame) -> None:
    path = parquet(data[["sex", "origin"]], tmp_path / "sensitive")
    assert set(groups(path, problem, "sex, origin", len(data)).tolist()) == {
        "Female · a", "Female · b", "Male · a", "Male · b", "few",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["onnx", "skops"])
def test_the_same_seed_gives_the_same_bytes(call: Call, form: str) -> None:
    digests = set()
    for hashes in ("1", "2"):
        shutil.rmtree(call.io / "out", ignore_errors=True)
        code, log = call(
            "--form",
            form,
            "--mitigation",
            "grid-search",
            "--fits",
            "4",
            "--parameters",
            '{"max_iter": 10}',
            hashes=hashes,
        )
        assert code == 0, log
        assert sorted(path.name for path in (call.io / "out").iterdir()) == ["model"]
        digests.add(tree_digest(call.io / "out" / "model"))
    assert len(digests) == 1
    assert '"what": "models"' in log


def test_another_seed_gives_another_forest(tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame) -> None:
    training = read(data)
    scores = [
        fit(training, problem.inputs, declared(ONNX[2][0], '{"n_estimators": 5}', seed)).predict_proba(training.inputs)
        for seed in (0, 0, 1)
    ]
    assert (scores[0] == scores[1]).all()
    assert (scores[0] != scores[2]).any()


@pytest.mark.parametrize(
    ("name", "parameters", "message", "fix"),
    [
        ("sklearn.ensemble.RandomForrestClassifier", "{}", "not a scikit-learn estimator", "RandomForestClassifier"),
        ("os.system", "{}", "not a scikit-learn estimator", "for example"),
        ("sklearn.utils._testing.SkipTest", "{}", "not a scikit-learn estimator", "for example"),
        ("sklearn.linear_model.LinearRegression", "{}", "is not a classifier", "LinearSVC|LogisticRegression"),
        ("sklearn.svm.LinearSVC", "{}", "does not predict probabilities", "predict_proba"),
        ("sklearn.ensemble.VotingClassifier", "{}", "needs parameters", "estimators"),
        ("sklearn.linear_model.LogisticRegression", '{"trees": 3}', "no parameter 'trees'", "max_iter"),
        ("sklearn.linear_model.LogisticRegression", "max_iter=3", "not valid JSON", "max_iter"),
        ("sklearn.linear_model.LogisticRegression", "[3]", "not a JSON object", "max_iter"),
    ],
)  # fmt: skip
def test_a_wrong_estimator_is_named(name: str, parameters: str, message: str, fix: str) -> None:
    with pytest.raises(BadCall, match=message) as raised:
        declared(name, parameters, 0)
    assert any(word in raised.value.fix for word in fix.split("|"))


def test_a_wrong_value_of_a_parameter_is_named(read: Read, problem: Problem, data: pd.DataFrame) -> None:
    with pytest.raises(BadCall, match="max_iter"):
        fit(read(data), problem.inputs, declared(ONNX[0][0], '{"max_iter": -1}', 0))


def test_rows_that_an_estimator_cannot_be_fitted_to_are_no_bug(
    read: Read, problem: Problem, data: pd.DataFrame
) -> None:
    with pytest.raises(BadCall, match=r"QuadraticDiscriminantAnalysis cannot be fitted .* \(LinAlgError\)"):
        analysis = declared("sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis", "{}", 0)
        fit(read(data), problem.inputs, analysis)


def test_an_estimator_that_cannot_weigh_rows_cannot_be_mitigated(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame
) -> None:
    members = groups(parquet(data[["sex"]], tmp_path / "s"), problem, "sex", len(data))
    plan = Mitigation("grid-search", members, "demographic-parity", 0.1, 3, 0.5)
    with pytest.raises(BadCall, match="does not accept sample weights"):
        fit(read(data), problem.inputs, declared("sklearn.neighbors.KNeighborsClassifier", "{}", 0), plan)


def _extra(data: pd.DataFrame) -> None:
    data["shoe_size"] = 42.0


def _lacking(data: pd.DataFrame) -> None:
    del data["region"]


def _one_class(data: pd.DataFrame) -> None:
    data["granted"] = "no"


def _third_label(data: pd.DataFrame) -> None:
    data.loc[:4, "granted"] = "perhaps"


def _no_label(data: pd.DataFrame) -> None:
    data.loc[:4, "granted"] = None


def _gap(data: pd.DataFrame) -> None:
    data.loc[:4, "region"] = None


def _foreign_category(data: pd.DataFrame) -> None:
    data.loc[:4, "work"] = "the-secret-value"


def _words_for_numbers(data: pd.DataFrame) -> None:
    data["age"] = "the-secret-value"


def _infinite(data: pd.DataFrame) -> None:
    data.loc[0, "income"] = np.inf


def test_too_few_rows_are_refused(read: Read, data: pd.DataFrame) -> None:
    with pytest.raises(BadCall, match="only 20 training rows"):
        read(data.head(20))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_extra, "columns that are not in the model's inputs: shoe_size"),
        (_lacking, "do not have the columns region"),
        (_one_class, "never 'yes' in the training rows"),
        (_third_label, "neither of its two labels in 5 rows"),
        (_no_label, "neither of its two labels in 5 rows"),
        (_gap, "column 'region' has 5 missing values"),
        (_foreign_category, "column 'work' has 5 values that the spec does not list"),
        (_words_for_numbers, "column 'age' has values that are not numbers"),
        (_infinite, "column 'income' has numbers that are not finite"),
    ],
)
def test_rows_that_no_model_can_be_fitted_on_are_refused(
    read: Read, data: pd.DataFrame, spoil: Callable[[pd.DataFrame], None], message: str
) -> None:
    spoil(data)
    with pytest.raises(BadCall, match=message) as raised:
        read(data)
    assert raised.value.fix
    assert "the-secret-value" not in raised.value.message + raised.value.fix


@pytest.mark.parametrize(
    ("columns", "mitigate", "message"),
    [
        (None, "sex", "train got none"),
        (["sex"], "origin", "no sensitive column is called origin"),
        (["sex"], "region", "no sensitive column is called region"),
    ],
)
def test_a_mitigation_without_its_column_is_refused(
    tmp_path: Path, problem: Problem, data: pd.DataFrame, columns: list[str] | None, mitigate: str, message: str
) -> None:
    path = parquet(data[columns], tmp_path / "sensitive") if columns else None
    with pytest.raises(BadCall, match=message):
        groups(path, problem, mitigate, len(data))


def test_a_mitigation_between_other_rows_or_one_group_is_refused(
    tmp_path: Path, problem: Problem, data: pd.DataFrame
) -> None:
    path = parquet(data[["sex"]], tmp_path / "sensitive")
    with pytest.raises(BadCall, match="800 rows"):
        groups(path, problem, "sex", 799)
    path = parquet(data[["sex"]].assign(sex="Male"), tmp_path / "sensitive")
    with pytest.raises(BadCall, match="the same value in all"):
        groups(path, problem, "sex", len(data))


@pytest.mark.parametrize("wrong", [{"difference_bound": 0.0}, {"difference_bound": 1.0}, {"fits": 0}])
def test_a_mitigation_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"constraint": "demographic-parity", "difference_bound": 0.1, "fits": 3, "threshold": 0.5}
    with pytest.raises(BadCall):
        Mitigation("grid-search", np.array(["a"]), **{**whole, **wrong})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "1"], "threshold"),
        (["--mitigation", "reweighing"], "reweighing"),
        (["--estimator", "sklearn.Nothing"], "not a scikit-learn estimator"),
    ],
)
def test_a_bad_call_exits_2_and_writes_nothing(call: Call, arguments: list[str], message: str) -> None:
    code, log = call(*arguments)
    assert code == 2
    assert message in log
    assert "Traceback" not in log
    assert not list((call.io / "out" / "model").glob("*")) if (call.io / "out" / "model").exists() else True


def test_without_sensitive_columns_nothing_is_mitigated_and_the_log_shows_no_value(
    call: Call, data: pd.DataFrame
) -> None:
    (call.io / "in" / "sensitive").unlink()
    data["income"] = 123456.789
    parquet(data.drop(columns=["sex", "origin"]), call.io / "in" / "rows")
    code, log = call("--mitigation", "grid-search")
    assert code == 2
    assert "train got none" in log
    code, log = call("--parameters", '{"max_iter": 5}')
    assert code == 0
    assert "123456" not in log
    assert json.loads((call.io / "out" / "model" / "model.json").read_text())["labels"] == {
        "negative": SPEC["target"]["negative"],
        "positive": SPEC["target"]["positive"],
    }


def shortest(name: str, kind: type) -> str | None:
    """The shortest public import path of a class; the module that defines it is often private."""
    parts = list(itertools.takewhile(lambda part: not part.startswith("_"), kind.__module__.split(".")))
    modules = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return next((f"{m}.{name}" for m in modules if getattr(importlib.import_module(m), name, None) is kind), None)


def test_the_list_of_classifiers_is_that_of_the_locked_scikit_learn() -> None:
    found = [shortest(name, kind) for name, kind in all_estimators(type_filter="classifier")]
    assert public_names() == sorted(path for path in found if path)


def test_every_suggested_estimator_is_accepted() -> None:
    for name in public_names():
        assert _classifier(name).__name__ == name.rpartition(".")[2]


def test_the_model_says_the_settings_it_was_really_trained_with(call: Call) -> None:
    code, said = call("--parameters", '{"max_iter": 5, "max_depth": 2}', "--threshold", "0.4")
    assert code == 0, said
    trained = json.loads((call.io / "out" / "model" / "model.json").read_text())["trained_with"]
    assert trained == {
        "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
        "parameters": '{"max_iter": 5, "max_depth": 2}',
        "mitigation": "none",
        "mitigate": "",
        "constraint": "demographic-parity",
        "difference_bound": 0.1,
        "fits": 20,
        "threshold": 0.4,
        "seed": 0,
        "form": "auto",
    }
    assert model_card(call.io / "out" / "model").trained_with == trained


def test_a_model_that_does_not_say_its_settings_is_read(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame
) -> None:
    written(tmp_path / "model", read(data), problem, *ONNX[4])
    assert "trained_with" not in json.loads((tmp_path / "model" / "model.json").read_text())
    assert model_card(tmp_path / "model").trained_with == {}
