"""Check that images are in their registry."""

import shutil
import subprocess
from http import HTTPStatus

import httpx2

_SECONDS = 10
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.manifest.v1", "oci.image.index.v1", "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
    )
)  # fmt: skip
# A registry on this machine is never behind a proxy, whatever HTTPS_PROXY says.
_NO_PROXY = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}


def absent(reference: str) -> str:
    """Return why an image is not in its registry, or an empty string if it is there.

    The check is a HEAD request; skopeo makes it if the registry requires credentials.
    """
    host, _, rest = reference.partition("/")
    name, _, digest = rest.partition("@")
    try:
        with httpx2.Client(mounts=_NO_PROXY, timeout=_SECONDS, follow_redirects=True) as client:
            answer = client.head(f"https://{host}/v2/{name}/manifests/{digest}", headers={"Accept": _MANIFESTS})
    except httpx2.HTTPError as error:
        return f"cannot connect to {host} ({error})"
    if answer.is_success:
        return ""
    if answer.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"{host} answers {answer.status_code}"
    if not shutil.which("skopeo"):
        return f"{host} requires credentials, and skopeo is not installed"
    argv = ["skopeo", "inspect", "--raw", f"docker://{reference}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - the user's own skopeo
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["skopeo failed"])[-1]
