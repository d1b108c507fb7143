"""Long-running processes of a cluster for tests: started detached, recorded with their start time, stopped by it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_STARTED: list["subprocess.Popen[bytes]"] = []  # they outlive whoever started them, and Python warns of one it forgets


@dataclass(frozen=True)
class Processes:
    """What was started from one state folder; survives the program that started it."""

    state: Path

    def start(self, name: str, argv: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Start a process in the background unless it runs; its output goes to `logs/<name>.log`."""
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
        """Whether it runs: the very process that was started, not another that got its number."""
        entry = self._record().get(name)
        return entry is not None and _started(entry["pid"]) == entry["started"] is not None

    def pid(self, name: str) -> int:
        """Its process id."""
        return int(self._record()[name]["pid"])

    def log(self, name: str) -> Path:
        """Its output."""
        return self.state / "logs" / f"{name}.log"

    def stop(self, name: str, grace: float = 10) -> None:
        """End it: SIGTERM, then SIGKILL after the grace in seconds."""
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
        """What was started, in that order."""
        return list(self._record())

    def _record(self) -> dict[str, dict[str, int]]:
        path = self.state / "processes.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _write(self, record: Mapping[str, object]) -> None:
        path = self.state / "processes.json"
        path.with_suffix(".new").write_text(json.dumps(record, indent=1))
        path.with_suffix(".new").replace(path)


def wait_for(ready: Callable[[], bool], seconds: float) -> bool:
    """Ask until it is so; False when the seconds are over."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _started(pid: int) -> int | None:
    """When a process started, in the kernel's ticks; None where there is none or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])
