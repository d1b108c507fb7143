"""The trust file: which key may sign as which program. It is never an argument of a program."""

from collections.abc import Mapping
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
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
        from securesystemslib.signer import SSlibKey

        # securesystemslib checks the type of the key at run time; its annotation is narrower than cryptography's.
        return SSlibKey.from_crypto(load_pem_public_key(self.public.encode()))  # type: ignore[arg-type]

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
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{path} is not a trust file"
            raise ProofError(msg, fix="restore it, or run: lockgate doctor") from error

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Trust":
        """Parse the content of a trust file."""
        if value["version"] != 1:
            msg = f"version {value['version']!r}"
            raise ValueError(msg)
        keys = (TrustedKey(k["public"], tuple(k["may"]), k.get("owner", "")) for k in value["keys"])
        return cls(tuple(keys), bool(value.get("untrusted_elsewhere", False)))

    def to_bytes(self) -> bytes:
        """Return the bytes of the trust file."""
        keys = [key.to_json() for key in self.keys]
        return canonical({"version": 1, "untrusted_elsewhere": self.untrusted_elsewhere, "keys": keys})

    def for_signer(self, signer: str) -> list[TrustedKey]:
        """Return the keys that may sign as this program."""
        return [key for key in self.keys if signer in key.may]
