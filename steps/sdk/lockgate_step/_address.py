"""Refuses an address that carries credentials, before it is stored, logged or sent anywhere, and a file of a pod."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lockgate_step._errors import BadCall

# `u:p@host/path` without a scheme, which urlsplit takes for a scheme and a path.
_WITHOUT_SCHEME = re.compile(r"[^/\s]+:[^/@\s]*@")
_SECRET = re.compile(
    r"(?i)(^|[^a-z])(x-amz-|awsaccesskeyid|sv$|sig$|auth)|token|secret|passw|pwd|signature|credential|api-?_?key|access-?_?key"
)


def without_credentials(address: str, what: str, *, fix: str = "") -> str:
    """Return the address, unless it has a user, a password, or a parameter that is a secret by its name.

    what: the address in a sentence, e.g. `the data address`. The address itself is in no message.
    Errors: BadCall.
    """
    if _carries_credentials(address):
        msg = f"{what} contains credentials"
        raise BadCall(msg, fix=fix or _FIX)
    return address


def without_files(address: str, what: str, environment: Path) -> str:
    """Return the address, unless it names a file on a platform other than `local`.

    There a file is one of the pod: a key, the store's credentials, or a folder that ends with the pod.

    what: the address in a sentence, e.g. `the data address`. environment: has the file `platform`, if it is not local.
    Errors: BadCall.
    """
    file = environment / "platform"
    platform = file.read_text(encoding="utf-8").strip() if file.is_file() else "local"
    if platform != "local" and urlsplit(address).scheme not in ("s3", "http", "https"):
        msg = f"{what} names a file, and a pod of the platform {platform} reads none of its own"
        raise BadCall(msg, fix="give the address of a service, e.g. s3://bucket/key")
    return address


def _carries_credentials(address: str) -> bool:
    try:
        url = urlsplit(address)
    except ValueError:  # an invalid host; whatever reads the address says so
        return "@" in address
    named = [part.partition("=")[0] for part in re.split(r"[&;]", f"{url.query}&{url.fragment}")]
    return (
        "@" in unquote(url.netloc)
        or bool(not url.netloc and _WITHOUT_SCHEME.match(unquote(address)))
        or any(_SECRET.search(unquote(name)) for name in named)
    )


_FIX = (
    "remove them from the address and replace them, since they were shown; the store's belong in the files "
    "access_key_id and secret_access_key of lockgate-store, or in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
