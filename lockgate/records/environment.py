"""The local environment: what a cluster keeps in the ConfigMap and Secrets `lockgate-environment`, here as folders.

`.lockgate/environment/<ConfigMap or Secret>/<key>`: the engine mounts them by name, as a cluster would. Keys made here
say that they are this machine's, never a person's, and are marked untrusted elsewhere.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from lockgate_proof import Trust, TrustedKey, new_key

from lockgate.definition.project import Project
from lockgate.errors import BadCall

CONFIG = "lockgate-environment"
DEFAULT_PORT = 8080


@dataclass(frozen=True)
class Environment:
    """What programs are given, as folders: of this machine, which the engine mounts, or of a cluster.

    root: private keys and credentials, by the names of their Secrets. config: what every program sees.
    """

    root: Path
    config: Path

    @classmethod
    def below(cls, root: Path) -> Self:
        """The one whose folders lie side by side."""
        return cls(root, root / CONFIG)

    @property
    def trust(self) -> Trust:
        """Which key may sign as which program."""
        return Trust.read(self.config / "trust.json")

    def key(self, signer: str) -> Path:
        """The private key of one signer."""
        return self.root / f"lockgate-key-{signer}" / "private.pem"

    def setting(self, name: str) -> str:
        """One setting's text. Errors: BadCall when it was removed."""
        try:
            return (self.config / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError as error:
            if self.config.parent != self.root:
                msg = f"the cluster's environment has no {name}"
                raise BadCall(msg, fix=f"lockgate render --kubernetes --set {name}=VALUE") from error
            msg = f"the local environment has no {name}"
            raise BadCall(msg, fix=f"lockgate doctor restores it ({self.config / name})") from error

    @property
    def local(self) -> bool:
        """Whether it is this machine's."""
        return self.setting("platform") == "local"

    @property
    def port(self) -> int:
        """The public port of the local platform."""
        return int(self.setting("gateway").rsplit(":", 1)[1])


def ensure_environment(project: Project, signers: Iterable[str]) -> Environment:
    """The local environment, with whatever was missing made; of what is there only `$LOCKGATE_PORT` changes anything.

    signers: the programs that sign; each gets a key of its own, and so does `waive`.
    Errors: BadCall when that is no port.
    """
    environment = Environment.below(project.state / "environment")
    port = os.environ.get("LOCKGATE_PORT")
    if port and not port.isdigit():
        msg = f"LOCKGATE_PORT={port} is not a port"
        raise BadCall(msg, fix=f"give a number between 1024 and 65535, e.g. LOCKGATE_PORT={DEFAULT_PORT}")
    defaults = {
        "store": (project.state / "store").as_uri(),
        "registry": f"sqlite:///{project.state / 'registry' / 'mlflow.db'}",
        "platform": "local",
        "gateway": f"http://127.0.0.1:{port or DEFAULT_PORT}",
    }
    environment.config.mkdir(parents=True, exist_ok=True)
    (project.state / "registry").mkdir(exist_ok=True)  # a folder of its own, since SQLite writes beside its file
    for name, text in defaults.items():
        path = environment.config / name
        if not path.exists() or (name == "gateway" and port and path.read_text(encoding="utf-8").strip() != text):
            path.write_text(f"{text}\n", encoding="utf-8")
    missing = [signer for signer in (*sorted(signers), "waive") if not environment.key(signer).exists()]
    make_keys(environment, missing, environment.config / "trust.json", "this machine", untrusted_elsewhere=True)
    _trust_approvers(environment.config / "trust.json", project.root / "kubernetes" / "environment" / "trust.json")
    return environment


def make_keys(
    environment: Environment, signers: Iterable[str], trust: Path, owner: str, *, untrusted_elsewhere: bool
) -> None:
    """Make a key for each of these signers below the environment, and name the public halves in the trust file."""
    made = [TrustedKey(new_key(environment.key(name)), (name,), f"{owner} ({name} key)") for name in signers]
    if made:
        keys = Trust.read(trust).keys if trust.exists() else ()
        _write(Trust((*keys, *made), untrusted_elsewhere=untrusted_elsewhere), trust)


def _trust_approvers(here: Path, there: Path) -> None:
    """Believe here whoever may waive on the project's cluster: the waivers stand beside the model."""
    if not (here.is_file() and there.is_file()):
        return
    mine, known = Trust.read(here), {key.public for key in Trust.read(here).for_signer("waive")}
    approvers = [
        TrustedKey(key.public, ("waive",), key.owner)
        for key in Trust.read(there).for_signer("waive")
        if key.public not in known
    ]
    if approvers:
        _write(replace(mine, keys=(*mine.keys, *approvers)), here)


def _write(trust: Trust, path: Path) -> None:
    """Readers see the file before or after, never half of it."""
    replacement = path.with_suffix(".new")
    replacement.write_bytes(trust.to_bytes())
    replacement.replace(path)
