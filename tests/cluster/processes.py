"""The tests' cluster's processes: start them detached, record their start time, and stop exactly those."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_STARTED: list[
    "subprocess.Popen[bytes]"
] = []  # they outlive this program, and Python warns about a process that is garbage-collected


@dataclass(frozen=True)
class Processes:
    """The processes started from one state folder; they outlive the program that started them."""

    state: Path

    def start(self, name: str, argv: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Start a process in the background unless it is running; its output goes to `logs/<name>.log`."""
        if self.running(name):
            return
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        _STARTED.append(process)
        record = self._record()
        record[name] = {"pid": process.pid, "started": _started(process.pid) or 0}
        self._write(record)

    def running(self, name: str) -> bool:
        """Return whether the started process is running, and not another one with the same process id."""
        entry = self._record().get(name)
        return entry is not None and _started(entry["pid"]) == entry["started"] is not None

    def pid(self, name: str) -> int:
        """Return its process id."""
        return int(self._record()[name]["pid"])

    def log(self, name: str) -> Path:
        """Return the file of its output."""
        return self.state / "logs" / f"{name}.log"

    def stop(self, name: str, grace: float = 10) -> None:
        """Stop it: SIGTERM, then SIGKILL after `grace` seconds."""
        if self.running(name):
            pid = self.pid(name)
            for sent, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5)):
                try:
                    os.kill(pid, sent)
                except ProcessLookupError:
                    break
                if wait_for(lambda: not self.running(name), seconds):
                    break
        record = self._record()
        record.pop(name, None)
        self._write(record)

    def names(self) -> list[str]:
        """Return the started processes, in that order."""
        return list(self._record())

    def _record(self) -> dict[str, dict[str, int]]:
        path = self.state / "processes.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _write(self, record: Mapping[str, object]) -> None:
        path = self.state / "processes.json"
        path.with_suffix(".new").write_text(json.dumps(record, indent=1))
        path.with_suffix(".new").replace(path)


def wait_for(ready: Callable[[], bool], seconds: float) -> bool:
    """Wait until `ready` is true; return False after the timeout."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _started(pid: int) -> int | None:
    """Return a process's start time in the kernel's ticks; None if it does not exist or has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])
