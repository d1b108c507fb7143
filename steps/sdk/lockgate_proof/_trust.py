"""The trust file: which key may sign as which program. It is never an argument of a program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate_step import canonical, io_root, layout, loads

from lockgate_proof._errors import ProofError

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey


@dataclass(frozen=True)
class TrustedKey:
    """A public key, the programs it may sign as, and its owner."""

    public: str
    may: tuple[str, ...]
    owner: str = ""

    @cached_property
    def key(self) -> "SSlibKey":
        """The key in the form of securesystemslib; its id is computed from the key, never read from a file."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
        from securesystemslib.signer import SSlibKey

        try:
            public = load_pem_public_key(self.public.encode())
        except (ValueError, UnsupportedAlgorithm):
            public = None
        if not isinstance(public, Ed25519PublicKey):
            msg = f"a key of the trust file (owner {self.owner!r}) is not an Ed25519 public key in PEM form"
            raise ProofError(msg, fix="replace it, or remove it from the trust file")
        return SSlibKey.from_crypto(public)

    def to_json(self) -> dict[str, Any]:
        """Return the key's entry in the trust file."""
        return {"keyid": self.key.keyid, "public": self.public, "may": list(self.may), "owner": self.owner}


@dataclass(frozen=True)
class Trust:
    """The trusted keys, and whether they are valid on this machine only."""

    keys: tuple[TrustedKey, ...]
    untrusted_elsewhere: bool = False

    @classmethod
    def read(cls, path: Path | None = None) -> "Trust":
        """Read the trust file, by default that of this program's environment.

        Errors: ProofError if it is missing or is not a trust file.
        """
        path = path or io_root() / layout.ENVIRONMENT / layout.TRUST
        try:
            return cls.from_json(loads(path.read_bytes()))
        except FileNotFoundError as error:
            msg = f"there is no trust file at {path}"
            raise ProofError(msg, fix="write the local environment with: lockgate doctor") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            msg = f"{path} is not a trust file"
            raise ProofError(msg, fix="restore it, or run: lockgate doctor") from error

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Trust":
        """Parse the content of a trust file."""
        if type(value["version"]) is not int or value["version"] != 1:
            msg = f"version {value['version']!r}"
            raise ValueError(msg)
        keys = tuple(_key(entry) for entry in value["keys"])
        _check_apart(keys)
        here_only = value.get("untrusted_elsewhere", False)
        if not isinstance(here_only, bool):
            msg = "untrusted_elsewhere is neither true nor false"
            raise TypeError(msg)
        return cls(keys, here_only)

    def to_bytes(self) -> bytes:
        """Return the bytes of the trust file."""
        keys = [key.to_json() for key in self.keys]
        return canonical({"version": 1, "untrusted_elsewhere": self.untrusted_elsewhere, "keys": keys})

    def for_signer(self, signer: str) -> list[TrustedKey]:
        """Return the keys that may sign as this program."""
        return [key for key in self.keys if signer in key.may]


def _check_apart(keys: Sequence[TrustedKey]) -> None:
    """Check that the key of an additional gate signs as nothing else. Errors: ProofError."""
    roles: dict[str, set[str]] = {}
    for key in keys:
        roles.setdefault("".join(key.public.split()), set()).update(key.may)
    for may in roles.values():
        if len(may) > 1 and (own := sorted(filter(layout.is_additional_signer, may))):
            others = ", ".join(sorted(may - {own[0]}))
            msg = f"the trust file lets the key of the additional gate {own[0]} sign as {others} too"
            raise ProofError(msg, fix="give each additional gate a key of its own")


def _key(entry: Mapping[str, Any]) -> TrustedKey:
    public, may, owner = entry["public"], entry["may"], entry.get("owner", "")
    if not isinstance(may, list) or not all(isinstance(text, str) for text in (public, owner, *may)):
        msg = "a key is not text, with a list of what it may sign"
        raise TypeError(msg)
    return TrustedKey(public, tuple(may), owner)
