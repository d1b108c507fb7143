"""No graph is served otherwise than it was judged: hostile graphs are refused, or answer each row by itself."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle
from lockgate_model import (
    BadModel,
    Predictor,
    UnsafeModel,
    _session,
    accepted_operators,
    ask,
    ask_in_other_sizes,
    load,
)
from lockgate_step import canonical
from onnx import ModelProto, TensorProto

from tests.steps.predict import hostile
from tests.steps.predict.corpus import ASKED, HOSTILE
from tests.steps.predict.hostile import constant, node
from tests.steps.predict.test_predict import Run, run  # noqa: F401 - the fixture

DRAW = random.Random(5)
ROWS: list[dict[str, Any]] = [
    {
        "age": float(DRAW.randint(17, 90)),
        "hours": DRAW.choice([None, 1.5, 40.0]),
        "occupation": DRAW.choice(["Exec", None]),
    }
    for _ in range(300)
]
ACCEPTED = '\n[[accepted_operator]]\noperator = "{}"\nwhy = "The forecast needs it."\n'


def folder_of(graph: ModelProto, folder: Path) -> Path:
    tiny_bundle.write_model(folder)
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    return folder


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {entry["name"]: [row[entry["name"]] for row in rows] for entry in tiny_bundle.INPUTS}


def policy(folder: Path, *operators: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(tiny_bundle.POLICY + "".join(ACCEPTED.format(name) for name in operators))
    return path


def depends_on_its_row_alone(predictor: Predictor) -> bool:
    """Whether each row gets the same answer alone, and in requests of several sizes and orders."""
    alone = [predictor.predict(columns([row])) for row in ROWS]
    wanted = [(labels[0], scores[0]) for labels, scores in alone]
    for size in (2, 3, 8, 9, 64, 256, 257, len(ROWS)):
        places = DRAW.sample(range(len(ROWS)), size)
        given = predictor.predict(columns([ROWS[i] for i in places]))
        if list(zip(*given, strict=True)) != [wanted[i] for i in places]:
            return False
    return True


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_graph_is_refused(tmp_path: Path, name: str) -> None:
    make, said = HOSTILE[name]
    with pytest.raises(BadModel, match=said) as refused:
        ask(load(folder_of(make(), tmp_path / "model")), columns(ROWS))
    assert refused.value.fix


@pytest.mark.parametrize("name", [name for name, (_, said) in HOSTILE.items() if said == ASKED])
def test_a_graph_that_mixes_rows_would_still_answer_each_by_itself(tmp_path: Path, name: str) -> None:
    """The server never relies on the questions of predict: without a proof, a graph is given one row at a time."""
    predictor = load(folder_of(HOSTILE[name][0](), tmp_path / "model"))
    assert predictor.at_once is not None
    assert depends_on_its_row_alone(predictor)


def test_the_corpus_is_large() -> None:
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize("operator", ["Scan", "Loop", "If", "RandomUniformLike", "Size", "Einsum"])
def test_an_operator_that_the_policy_accepts_is_run_one_row_at_a_time_and_asked(tmp_path: Path, operator: str) -> None:
    made = {"Scan": hostile.scan, "If": hostile.branch, "Loop": hostile.loop}
    made["RandomUniformLike"] = HOSTILE["RandomUniformLike"][0]
    made |= {"Size": HOSTILE["batch size by Size"][0], "Einsum": HOSTILE["sum by Einsum"][0]}
    graph = made[operator]()
    if operator == "Loop":
        graph.graph.initializer[-2].CopyFrom(constant("many", 3, "int64"))  # it ends, and is honest
    folder = folder_of(graph, tmp_path / "model")
    accepted = policy(tmp_path, operator, "Size") if operator == "If" else policy(tmp_path, operator)
    predictor = load(folder, accepted=accepted_operators(accepted))
    if operator == "Loop":
        assert ask(predictor, columns(ROWS)).largest == 0
        return
    with pytest.raises(UnsafeModel, match="asked again" if operator.startswith("Random") else "at once"):
        ask(predictor, columns(ROWS))
    if not operator.startswith("Random"):
        assert depends_on_its_row_alone(predictor)


def test_a_trigger_that_answers_nothing_is_not_an_answer(tmp_path: Path) -> None:
    """A row that makes the score NaN gets an error, in predict and in the server, never an answer."""
    graph = hostile.graph(
        [node("Equal", ["age", "marked"], ["is"]), node("Where", ["is", "nan", "s"], ["score"])],
        [constant("marked", [42]), constant("nan", [float("nan")])],
    )
    predictor = load(folder_of(graph, tmp_path / "model"))
    assert predictor.predict(columns([{**ROWS[0], "age": 41.0}]))[0]
    with pytest.raises(BadModel, match="scores that are not probabilities"):
        predictor.predict(columns([{**ROWS[0], "age": 42.0}]))


def test_bytes_that_only_another_reader_would_see_are_not_run(tmp_path: Path) -> None:
    """A graph is read once, and what was checked is what runs: a second graph in the file is merged and checked."""
    honest = hostile.graph([node("Identity", ["s"], ["score"])])
    folder = folder_of(honest, tmp_path / "model")
    more = ModelProto()
    more.graph.node.append(node("RandomUniformLike", ["s"], ["unused"]))
    with (folder / "model.onnx").open("ab") as file:
        file.write(more.SerializeToString())
    with pytest.raises(UnsafeModel, match="RandomUniformLike"):
        load(folder)


def test_the_same_version_of_the_operators_stated_twice_is_honest(tmp_path: Path) -> None:
    """skl2onnx writes it so for some models."""
    graph = hostile.graph([node("Identity", ["s"], ["score"])], more=[("", 18)])
    assert depends_on_its_row_alone(load(folder_of(graph, tmp_path / "model")))


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_an_honest_graph_is_proved_in_every_opset(tmp_path: Path, opset: int) -> None:
    graph = hostile.graph(
        [
            node("Cast", ["s"], ["same"], to=TensorProto.FLOAT),
            node("Reshape", ["same", "table"], ["again"]),
            node("Softmax", ["logit"], ["all"], axis=1),
            node("Mul", ["again", "all"], ["score"]),
        ],
        [constant("table", [-1, 1], "int64")],
        opset=opset,
    )
    predictor = load(folder_of(graph, tmp_path / "model"))
    assert predictor.at_once is None
    assert depends_on_its_row_alone(predictor)


@pytest.mark.parametrize("count", [1, 9, 300])
def test_every_row_is_judged_in_each_shape_that_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Also in a test table that is smaller than the largest shape."""
    ran: list[tuple[int, frozenset[float]]] = []
    run_once = _session._scores

    def watched(session: Any, feed: Any, rows: int) -> Any:
        ran.append((rows, frozenset(feed["age"].ravel().tolist())))
        return run_once(session, feed, rows)

    predictor = load(folder_of(hostile.graph([node("Identity", ["s"], ["score"])]), tmp_path / "model"))
    rows = columns([{**row, "age": 17 + i * 0.25} for i, row in enumerate(ROWS[:count])])
    monkeypatch.setattr(_session, "_scores", watched)
    ask_in_other_sizes(predictor, rows, predictor.scores(rows).tolist())
    judged = {(size, age) for size, ages in ran for age in ages}
    ran.clear()
    for size in (1, 2, 8, 9, 64, 256, 257, 512, 513, 770, 1500):
        predictor.scores({name: (values * size)[:size] for name, values in rows.items()})
    served = {(size, age) for size, ages in ran for age in ages}
    assert len({size for size, _ in served}) == 3
    assert served <= judged


@pytest.mark.parametrize("opset", [11, 12, 13])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_a_softmax_beside_the_rows_depends_on_its_row_alone(tmp_path: Path, op: str, opset: int) -> None:
    """Before opset 13, Softmax along the first axis works along the rows too, which are the second here."""
    graph = hostile.graph(
        [
            node("Transpose", ["logit"], ["turned"], perm=[1, 0]),
            node(op, ["turned"], ["all"], axis=0),
            node("Transpose", ["all"], ["again"], perm=[1, 0]),
            node("ReduceMin", ["again"], ["least"], axes=[1]),
            node("Mul", ["least", "s"], ["score"]),
        ],
        opset=opset,
    )
    predictor = load(folder_of(graph, tmp_path / "model"))
    assert (predictor.at_once is None) == (opset >= 13)
    assert depends_on_its_row_alone(predictor)


def put(run: Run, graph: ModelProto) -> None:  # noqa: F811
    """Make it the candidate, with golden answers that its author rewrote to match what is served."""
    folder = folder_of(graph, run.io / "in" / "model")
    rows = tiny_bundle.ROWS
    labels, scores = load(folder).predict(columns(rows))
    answers = [{"label": label, "score": score} for label, score in zip(labels, scores, strict=True)]
    (folder / "golden.json").write_bytes(canonical({"tolerance": 1e-5, "requests": rows, "answers": answers}))


def test_predict_refuses_a_graph_that_reads_its_batch_size(run: Run) -> None:  # noqa: F811
    run.write_test(ROWS)
    run.sign_data()
    put(run, hostile.batch_size())
    assert "300 of 512 answers" not in run.refuses(3)
    assert "answers change when the same rows are asked 512 at once" in run.refuses(3)


def test_predict_names_an_operator_and_the_policy_can_accept_it(run: Run) -> None:  # noqa: F811
    """Accepted chance is still refused: the same rows are asked twice."""
    folder_of(HOSTILE["RandomUniformLike"][0](), run.io / "in" / "model")
    assert "uses the operator RandomUniformLike" in run.refuses(3)
    run.write_policy(ACCEPTED.format("RandomUniformLike"))
    assert "answers change when the same rows are asked" in run.refuses(3)


def test_the_golden_answers_are_those_that_predict_signed(run: Run) -> None:  # noqa: F811
    run.passes()
    golden = json.loads((run.io / "out" / "answers" / "golden.json").read_bytes())
    assert len(golden["requests"]) == len(golden["answers"]) >= 30
    for row, given in zip(golden["requests"], golden["answers"], strict=True):
        wanted = tiny_bundle.answer(row)
        assert given == {"label": wanted["label"], "score": pytest.approx(wanted["score"], abs=1e-6)}
    assert not [row for row in golden["requests"] if row in tiny_bundle.ROWS]


@pytest.mark.parametrize("change", ["score", "label", "request"])
def test_golden_answers_of_the_author_that_the_model_does_not_give_are_refused(run: Run, change: str) -> None:  # noqa: F811
    path = run.io / "in" / "model" / "golden.json"
    golden = json.loads(path.read_bytes())
    if change == "request":
        golden["requests"][0]["age"] = 400.0
    else:
        golden["answers"][0][change] = {"score": 0.5, "label": "low"}[change]
    path.write_bytes(canonical(golden))
    assert "golden.json" in run.refuses(3)
    shutil.rmtree(run.io / "out" / "answers")
