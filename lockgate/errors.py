"""Every error that Lockgate raises on purpose. Each message names the values concerned and has a next action.

LockgateError             1  the root, in the SDK; `message` and `fix`, the next action
├── BadCall               2  invalid arguments, files or settings; a retry does not help
│   ├── SpecError         2  an invalid model spec, policy or pipeline
│   ├── UnsafeFile        2  a supplied file is a link, a FIFO or a device, or is too large
│   ├── UnknownName       2  a model, program, run or setting that does not exist
│   ├── NotRendered       2  the rendered files differ from their sources
│   ├── NotThere          2  the cluster has no such object (lockgate.cluster)
│   ├── NotAllowed        2  the cluster denies permission (lockgate.cluster)
│   ├── Problems          2  a file with several problems; the message lists them
│   │   └── ManifestError 2  a manifest that the local engine cannot execute (lockgate.engine)
│   └── RunInUse          2  a run that another process executes (lockgate.engine)
├── Refusal               3  a proof is missing or invalid; nothing was changed
│   └── ProofError        3  a signature, subject, verdict or waiver is invalid (lockgate_proof)
└── OutsideFailed         4  an external service failed (store, registry, server, installer); retry
    ├── PortTaken         4  the port of the local platform is in use (lockgate.platform)
    ├── AlreadyServing    4  the local platform is running already (lockgate.platform)
    ├── OtherStore        4  the local platform serves another store (lockgate.platform)
    ├── OtherPort         4  the local platform uses another port (lockgate.platform)
    └── ServeFailed       4  the local platform cannot start or stop (lockgate.platform)
"""

import difflib
from collections.abc import Iterable

from lockgate_step import BadCall, LockgateError, OutsideFailed, Refusal, SpecError, visible

__all__ = [
    "BadCall",
    "LockgateError",
    "NotRendered",
    "OutsideFailed",
    "Problems",
    "Refusal",
    "SpecError",
    "UnknownName",
]

_SHOWN = 12  # names in one message
_LISTED = 20  # problems in one message


class UnknownName(BadCall):
    """A name that does not exist; `fix` suggests similar names."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(map(visible, known))
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        more = ", ..." if len(names) > _SHOWN else ""
        fix = f"did you mean {', '.join(near)}?" if near else f"choose one of {', '.join(names[:_SHOWN])}{more}"
        super().__init__(f"unknown {what} {name!r}", fix=fix if names else "lockgate status shows what exists")


class Problems(BadCall):
    """A file with several problems; the message names each on a line of its own."""

    def __init__(self, message: str, problems: Iterable[object], *, fix: str) -> None:
        found = [f"  {problem}" for problem in problems]
        more = [f"  and {len(found) - _LISTED} more"] if len(found) > _LISTED else []
        super().__init__("\n".join(map(visible, [message, *found[:_LISTED], *more])), fix=fix)


class NotRendered(BadCall):
    """The rendered files differ from their sources."""
