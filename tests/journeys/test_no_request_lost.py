"""A release fails no request of a client that calls continuously; only the digest in the responses changes."""

import json
import time
from datetime import datetime
from pathlib import Path

from tests.asking import Client
from tests.workshop import MODEL, Project


def test_users_are_answered_all_the_time_and_by_the_new_version_only_once_it_is_promoted(
    released: Project, tmp_path: Path
) -> None:
    project = released.twin(tmp_path / "project")
    old = released.bundle
    with Client(released.answers) as client:
        done = project.lockgate("run", MODEL, "--set", "seed=5")
        over = time.time()
        time.sleep(1)
    assert done.code == 0, done.said
    new = released.bundle
    moved = datetime.fromisoformat(json.loads(released.live() or b"")["at"]).timestamp()
    assert (client.failures, new == old) == ([], False)
    assert {digest for _, _, digest in client.answers} == {old, new}
    early = {digest for _, answered, digest in client.answers if answered < moved}
    late = {digest for asked, _, digest in client.answers if asked > over}
    assert (early, late) == ({old}, {new})
    assert len(client.answers) > 100
