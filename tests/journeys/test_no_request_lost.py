"""A client that never stops asking notices a release only by the digest in its answers."""

import json
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.workshop import MODEL, Project

PAUSE = 1 / 50


@dataclass
class Client:
    """Asks fifty times a second, and writes down which bundle answered and when it was asked and answered.

    failures: what was not an answer.
    """

    project: Project
    answers: list[tuple[float, float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._enough = threading.Event()
        # More askers than one answer takes pauses, so that a slow answer does not slow the asking down.
        self._askers = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(4)]

    def __enter__(self) -> "Client":
        for asker in self._askers:
            asker.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._enough.set()
        for asker in self._askers:
            asker.join(timeout=60)

    def _ask(self, number: int) -> None:
        due = time.monotonic() + number * PAUSE
        while not self._enough.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            due += len(self._askers) * PAUSE
            began = time.time()
            try:
                digest = self.project.answers()
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            else:
                self.answers.append((began, time.time(), digest))


def test_users_are_answered_all_the_time_and_by_the_new_version_only_once_it_is_promoted(
    released: Project, tmp_path: Path
) -> None:
    project = released.twin(tmp_path / "project")
    old = released.bundle
    with Client(released) as client:
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
