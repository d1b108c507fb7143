"""Which host names a server answers to.

A page of another site can make its own name resolve to this machine (DNS rebinding); a browser then treats this server
as part of that site. The name in the header `Host` shows it. An IP address there is safe: no site owns it.
"""

import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

SETTING = "hosts"  # its file in the environment's folder; names, separated by spaces, commas or lines
VARIABLE = "LOCKGATE_HOSTS"  # the same, in a variable


class Hosts:
    """The names that a server answers to: every IP address, localhost, and `names`.

    names: host names without port; a name that begins with a dot allows every name below it.
    """

    REFUSED = "this server does not answer to the host name of the request; add the name to the setting `hosts`"

    def __init__(self, names: Iterable[str] = ()) -> None:
        wanted = {"localhost", *(name.lower().rstrip(".") for name in names)} - {""}
        self._names = frozenset(name for name in wanted if not name.startswith("."))
        self._below = tuple(name for name in wanted if name.startswith("."))

    @classmethod
    def configured(cls, environment: Path, names: Iterable[str] = ()) -> Self:
        """Allow `$LOCKGATE_HOSTS`, the settings `hosts` and `gateway` in an environment's folder, and `names`."""
        listed = re.split(r"[\s,]+", f"{_text(environment / SETTING)} {os.environ.get(VARIABLE, '')}")
        return cls([*names, *listed, urlsplit(_text(environment / "gateway")).hostname or ""])

    def allow(self, headers: Iterable[str]) -> bool:
        """Return whether every header `Host` of a request is allowed. Without one, no browser sent the request."""
        return all(self._allows(header) for header in headers)

    def _allows(self, header: str) -> bool:
        found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::\d*)?", header.strip().lower())
        if found is None:
            return False
        host = found[1] or found[2].rstrip(".")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host in self._names or host.endswith(self._below)
        return True


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
