"""Errors of the local platform."""

import shlex
from pathlib import Path

from lockgate.errors import OutsideFailed
from lockgate.platform import ports


class PortTaken(OutsideFailed):
    """The public port is used by another program, or by the platform of another project."""

    def __init__(self, host: str, port: int, project: Path | None = None) -> None:
        by = f"the local platform of another project, {project}" if project else "another program"
        end = f"stop it (cd {shlex.quote(str(project))} && lockgate serve --stop)" if project else "stop that program"
        free = next((each for each in range(port + 1, port + 100) if ports.free(host, each)), port + 1)
        super().__init__(
            f"port {port} on {host} is in use by {by}",
            fix=f"choose another port, which this project keeps: LOCKGATE_PORT={free} lockgate serve; or {end}",
        )


class AlreadyServing(OutsideFailed):
    """Another supervisor is running from the same state folder."""

    def __init__(self, state: Path) -> None:
        super().__init__(
            f"a local platform is already running from {state}", fix="lockgate status, or lockgate serve --stop"
        )


class OtherStore(OutsideFailed):
    """The running supervisor serves another store."""

    def __init__(self, running: str, wanted: str) -> None:
        super().__init__(
            f"the running platform serves {running}, not {wanted}", fix="lockgate serve --stop, then lockgate serve"
        )


class OtherPort(OutsideFailed):
    """The running supervisor listens on another port."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(
            f"the running platform is at {address}, not on port {port}",
            fix="lockgate serve --stop, then lockgate serve",
        )


class ServeFailed(OutsideFailed):
    """The supervisor failed to start or to stop."""

    def __init__(self, reason: str, log_file: Path) -> None:
        super().__init__(f"the local platform failed: {reason}", fix=f"read {log_file}, then lockgate serve")
