"""The server runs a graph as predict judged it: no neighbour, order or size of a request changes an answer."""

import json
from pathlib import Path

import pytest
import tiny_bundle
from lockgate_proof import ProofError, bundle_digest, verify_bundle
from lockgate_step import canonical, file_digest
from tiny_bundle.child import Server, serving

from tests.steps.predict.corpus import HOSTILE
from tests.steps.predict.hostile import batch_size

ROWS: list[dict[str, object]] = [
    {"age": float(17 + i % 70), "hours": None if i % 3 else 40.0, "occupation": "Exec" if i % 2 else None}
    for i in range(250)
]


def scores(server: Server, rows: list[dict[str, object]]) -> list[float]:
    said = server.infer(tiny_bundle.request(rows)).json
    return next(output["data"] for output in said["outputs"] if output["name"] == "score")


def test_a_graph_that_mixes_rows_still_answers_each_by_itself(
    authority: tiny_bundle.Authority, io: Path, tmp_path: Path
) -> None:
    """Even a bundle that was signed without predict's questions."""
    for name, graph in (("batch size", batch_size()), ("mean of the rows", HOSTILE["mean of the rows"][0]())):
        model = tiny_bundle.write_model(tmp_path / name / "model")
        (model / "model.onnx").write_bytes(graph.SerializeToString())
        authority.write_bundle(tmp_path / name / "bundle", other=model)
        with serving(tmp_path / name / "bundle", io, tmp_path / name / "log") as server:
            alone = [scores(server, [row])[0] for row in ROWS[:20]]
            assert scores(server, ROWS)[:20] == alone
            assert scores(server, ROWS[:20][::-1]) == alone[::-1]


def test_an_operator_that_the_policy_does_not_accept_is_not_served(
    authority: tiny_bundle.Authority, io: Path, tmp_path: Path
) -> None:
    model = tiny_bundle.write_model(tmp_path / "model")
    (model / "model.onnx").write_bytes(HOSTILE["RandomUniformLike"][0]().SerializeToString())
    authority.write_bundle(tmp_path / "bundle", other=model)
    refused = pytest.raises(AssertionError, match="uses the operator RandomUniformLike")
    with refused, serving(tmp_path / "bundle", io, tmp_path / "log"):
        pass


def test_golden_answers_that_predict_did_not_sign_are_refused(authority: tiny_bundle.Authority, tmp_path: Path) -> None:
    """Whoever holds package's key cannot choose them."""
    folder = tmp_path / "bundle"
    authority.write_bundle(folder)
    golden = json.loads((folder / "golden.json").read_bytes())
    golden["tolerance"] = 1.0
    (folder / "golden.json").write_bytes(canonical(golden))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["golden.json"] = file_digest(folder / "golden.json")
    (folder / "manifest.json").write_bytes(canonical(manifest))
    with pytest.raises(ProofError, match="the answers record is about another golden"):
        verify_bundle(folder, authority.trust, now=None, digest=bundle_digest(manifest))
