"""A gate is an argument: a pipeline without its audit does not type-check."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

WHOLE = """
from lockgate import Candidate, ModelSpec, steps


def gates(spec: ModelSpec, c: Candidate) -> None:
    answers = steps.predict(c.model, c.test, c.data, c.base)
    quality = steps.validate_model(answers, c.truth, c.data)
    bias = steps.bias_audit(answers, c.truth, c.data, c.sensitive, c.train_sensitive)
    steps.package(c.model, c.data, answers, c.data_verdict, quality.verdict, bias.verdict)
"""

WITHOUT_AUDIT = WHOLE.replace(
    "    bias = steps.bias_audit(answers, c.truth, c.data, c.sensitive, c.train_sensitive)\n", ""
).replace(", bias.verdict", "")
ANOTHER_VERDICT = WHOLE.replace("bias.verdict)", "quality.verdict)")
TRUTH_FOR_ANSWERS = WHOLE.replace("steps.bias_audit(answers, c.truth,", "steps.bias_audit(c.truth, c.truth,")


def check(tmp_path: Path, source: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "chain.py"
    file.write_text(source)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), str(file)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_whole_chain_type_checks(tmp_path: Path) -> None:
    done = check(tmp_path, WHOLE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (WITHOUT_AUDIT, 'Missing positional argument "bias_verdict" in call to "package"'),
        (ANOTHER_VERDICT, 'Argument 6 to "package" has incompatible type "Artifact[QualityVerdict]"'),
        (TRUTH_FOR_ANSWERS, 'Argument 1 to "bias_audit" has incompatible type "Artifact[Table]"'),
    ],
    ids=["no audit", "another gate's verdict", "not the answers"],
)
def test_a_chain_without_its_gate_does_not(tmp_path: Path, source: str, message: str) -> None:
    done = check(tmp_path, source)
    assert done.returncode == 1
    assert message in done.stdout
