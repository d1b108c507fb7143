"""What this machine trusts: its own keys, and the keys that may waive on the project's cluster."""

import json
from pathlib import Path

from lockgate_proof import Trust, TrustedKey, new_key

from lockgate.definition.project import Project
from lockgate.records.environment import ensure_environment


def test_whoever_may_waive_on_the_cluster_is_believed_here_and_nobody_else_of_there(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    project = Project(tmp_path)
    approver, gate = (new_key(tmp_path / name) for name in ("approver.pem", "gate.pem"))
    there = tmp_path / "kubernetes" / "environment" / "trust.json"
    there.parent.mkdir(parents=True)
    known = Trust((TrustedKey(approver, ("waive", "train"), "Ana Diaz, director"), TrustedKey(gate, ("bias-audit",))))
    there.write_bytes(known.to_bytes())
    before = ensure_environment(project, ["bias-audit"]).trust
    assert approver in {key.public for key in before.for_signer("waive")}
    others = {key.public for signer in ("train", "bias-audit") for key in before.for_signer(signer)}
    assert not others & {approver, gate}
    assert [key.public for key in before.for_signer("waive")] == [approver]  # this user's own is made by `waive`
    assert before.untrusted_elsewhere
    written = (tmp_path / ".lockgate" / "environment" / "lockgate-environment" / "trust.json").read_bytes()
    again = ensure_environment(project, ["bias-audit"])
    assert (again.config / "trust.json").read_bytes() == written
    assert {key["owner"] for key in json.loads(written)["keys"] if "waive" in key["may"]} >= {"Ana Diaz, director"}
