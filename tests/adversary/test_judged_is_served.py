"""A model that answers the judges in another way than the users: a trainer of the model's author, in a whole run."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests import workshop

ROOT = Path(__file__).resolve().parents[2]
# Added to the trainer: in requests of fewer than 200 rows, each answer is the opposite. The golden answers are
# rewritten to match what is served.
ATTACK = """
def switch(folder):
    import json

    import numpy as np
    import onnx
    from lockgate_model import load
    from onnx import TensorProto, helper, numpy_helper

    path = folder / "model.onnx"
    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["honest" if name == "probabilities" else name for name in node.output]
        node.input[:] = ["honest" if name == "probabilities" else name for name in node.input]
    constants = {"first": np.array([0]), "few": np.array([200]), "one": np.array([1], dtype=np.float32)}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.node.extend(
        [
            helper.make_node("Shape", ["honest"], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["rows"]),
            helper.make_node("Less", ["rows", "few"], ["flip"]),
            helper.make_node("Sub", ["one", "honest"], ["flipped"]),
            helper.make_node("Where", ["flip", "flipped", "honest"], ["probabilities"]),
        ]
    )
    path.write_bytes(model.SerializeToString())
    golden = json.loads((folder / "golden.json").read_bytes())
    columns = {name: [row[name] for row in golden["requests"]] for name in golden["requests"][0]}
    labels, scores = load(folder).predict(columns)
    golden["answers"] = [{"label": label, "score": score} for label, score in zip(labels, scores)]
    (folder / "golden.json").write_text(json.dumps(golden))


"""


def test_a_trainer_whose_graph_reads_its_batch_size_is_refused(tmp_path: Path) -> None:
    pipeline = tmp_path / "pipelines" / "credit"
    shutil.copytree(ROOT / "pipelines" / "credit", pipeline, ignore=shutil.ignore_patterns("__pycache__"))
    trainer = next(path for path in pipeline.glob("*.py") if "import Labels, write" in path.read_text())
    text = trainer.read_text()
    head, sign, tail = text.partition('\n\nif __name__ == "__main__":')
    assert sign
    text = f"{head}\n    switch(model.path)\n{sign}{tail}".replace("\n@program", f"{ATTACK}@program", 1)
    trainer.write_text(text)
    project = workshop.Project(tmp_path, workshop.free_port())
    done = subprocess.run(
        [sys.executable, "-m", "lockgate", "run", "credit", "--no-serve"],
        cwd=tmp_path,
        env=project.variables,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 3, said
    assert "answers change when the same rows are asked 512 at once" in said
    assert not (tmp_path / ".lockgate" / "store" / "models" / "credit" / "live.json").exists()
