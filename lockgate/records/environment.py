"""The local environment: the ConfigMap and the Secrets of a cluster, as folders.

`.lockgate/environment/<ConfigMap or Secret>/<key>`: the engine mounts them by name, as a cluster does. Keys that are
created here carry the name of this machine, never of a person, and are marked untrusted elsewhere.

The key that signs waivers is not among them: `~/.config/lockgate/keys` has it, where no step runs.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from lockgate_proof import Trust, TrustedKey, new_key
from lockgate_step import layout, sha256, without_credentials

from lockgate import folders
from lockgate.definition.project import Project
from lockgate.errors import BadCall

DEFAULT_PORT = 8080
WAIVE = "waive"  # signs waivers; the key of a person, which no step may read


@dataclass(frozen=True)
class Environment:
    """The configuration, keys and credentials of programs, as folders: this machine's, or a cluster's.

    root: private keys and credentials, in folders named after their Secrets. config: what each program can read.
    """

    root: Path
    config: Path

    @classmethod
    def below(cls, root: Path) -> Self:
        """The environment whose folders are side by side in `root`."""
        return cls(root, root / layout.CONFIG_MAP)

    @property
    def trust(self) -> Trust:
        """The trust file: which key may sign as which program."""
        return Trust.read(self.config / layout.TRUST)

    def key(self, signer: str) -> Path:
        """The private key of one signer."""
        return self.root / layout.key_secret(signer) / layout.PRIVATE_KEY

    def setting(self, name: str) -> str:
        """The text of one setting. Errors: BadCall if it does not exist, or contains credentials."""
        try:
            return without_credentials((self.config / name).read_text(encoding="utf-8").strip(), f"the setting {name}")
        except FileNotFoundError as error:
            if self.config.parent != self.root:
                msg = f"the cluster's environment has no {name}"
                raise BadCall(msg, fix=f"lockgate render --kubernetes --set {name}=VALUE") from error
            msg = f"the local environment has no {name}"
            raise BadCall(msg, fix=f"lockgate doctor restores it ({self.config / name})") from error

    @property
    def local(self) -> bool:
        """Whether it belongs to this machine."""
        return self.setting("platform") == "local"

    @property
    def port(self) -> int:
        """The public port of the local platform."""
        return int(self.setting("gateway").rsplit(":", 1)[1])


def ensure_environment(project: Project, signers: Iterable[str]) -> Environment:
    """The local environment; what is missing is created, and `$LOCKGATE_PORT` replaces the port.

    signers: the programs that sign; each gets its own key.
    Errors: BadCall if `$LOCKGATE_PORT` is not a port, or if the state folder belongs to another user.
    """
    private(project)
    environment = Environment.below(project.state / "environment")
    port = os.environ.get("LOCKGATE_PORT")
    if port and not (re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) < 65536):
        msg = f"LOCKGATE_PORT={port} is not a port"
        raise BadCall(msg, fix=f"give a number between 1024 and 65535, e.g. LOCKGATE_PORT={DEFAULT_PORT}")
    defaults = {
        "store": (project.state / "store").as_uri(),
        "registry": f"sqlite:///{project.state / 'registry' / 'mlflow.db'}",
        "platform": "local",
        "gateway": f"http://127.0.0.1:{port or DEFAULT_PORT}",
    }
    environment.config.mkdir(parents=True, exist_ok=True)
    (project.state / "registry").mkdir(exist_ok=True)  # its own folder, since SQLite writes beside its file
    for name, text in defaults.items():
        path = environment.config / name
        if not path.exists() or (name == "gateway" and port and path.read_text(encoding="utf-8").strip() != text):
            path.write_text(f"{text}\n", encoding="utf-8")
    missing = [signer for signer in sorted(signers) if not environment.key(signer).exists()]
    make_keys(environment, missing, environment.config / layout.TRUST, "this machine", untrusted_elsewhere=True)
    _trust_approvers(environment.config / layout.TRUST, project.root / "kubernetes" / "environment" / layout.TRUST)
    return environment


def private(project: Project) -> None:
    """Close the state folder to other users. It may be a link to a folder elsewhere.

    Errors: BadCall if it belongs to another user.
    """
    folder = project.state.resolve()
    if folder.exists() and folder.stat().st_uid == os.geteuid():
        folder.chmod(0o700)
    folders.own(folder, fix="work in a folder of your own: copy pipelines/ there, without .lockgate")


def find_approver_key(environment: Environment) -> Path | None:
    """The private key of this user that may sign waivers here; None if there is none.

    Errors: BadCall if there is no folder that only this user can read.
    """
    files = (_key_file(key.public) for key in environment.trust.for_signer(WAIVE))
    return next((path for path in files if path.is_file()), None)


def approver_key(environment: Environment) -> Path:
    """The private key of this user that may sign waivers here; created, and added to the trust file, if needed.

    Errors: BadCall if there is no folder that only this user can read.
    """
    return find_approver_key(environment) or _adopt(environment, new_key)


def move_approver_key(environment: Environment) -> str:
    """Move a key that an earlier version made beside the keys of the programs; return what to tell the user, or "".

    Errors: BadCall if there is no folder that only this user can read.
    """
    earlier = environment.key(WAIVE)
    if not earlier.is_file():
        return ""
    moved = _adopt(environment, lambda path: _copy_key(earlier, path))
    shutil.rmtree(earlier.parent)
    return (
        f"the key that signs waivers is now {moved}: the steps of earlier runs could read it where it was. "
        f"To replace it, delete it, and its entry in {environment.config / layout.TRUST}"
    )


def _adopt(environment: Environment, make: Callable[[Path], str]) -> Path:
    """Make a private key of this user, named by its public key, and trust it; `make` returns the public key."""
    draft = _key_file("").with_suffix(f".{os.getpid()}")
    public = make(draft)
    if public not in {key.public for key in environment.trust.for_signer(WAIVE)}:
        trust, key = environment.trust, TrustedKey(public, (WAIVE,), f"this machine ({WAIVE} key)")
        _write(replace(trust, keys=(*trust.keys, key)), environment.config / layout.TRUST)
    return draft.rename(_key_file(public))


def _key_file(public: str) -> Path:
    return folders.keys() / f"{WAIVE}-{sha256(public.encode()).removeprefix('sha256:')[:16]}.pem"


def _copy_key(source: Path, target: Path) -> str:
    """Copy a private key to a file that only its owner may read; return its public key as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    private = source.read_bytes()
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(private)
    public = load_pem_private_key(private, password=None).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def make_keys(
    environment: Environment, signers: Iterable[str], trust: Path, owner: str, *, untrusted_elsewhere: bool
) -> None:
    """Create a key for each of these signers in the environment, and add the public keys to the trust file."""
    made = [TrustedKey(new_key(environment.key(name)), (name,), f"{owner} ({name} key)") for name in signers]
    if made:
        keys = Trust.read(trust).keys if trust.exists() else ()
        _write(Trust((*keys, *made), untrusted_elsewhere=untrusted_elsewhere), trust)


def _trust_approvers(here: Path, there: Path) -> None:
    """Trust the keys that may waive on the project's cluster: its waivers are beside the model."""
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
    """Replace the file at once, so that no reader sees half of it."""
    replacement = path.with_suffix(".new")
    replacement.write_bytes(trust.to_bytes())
    replacement.replace(path)
