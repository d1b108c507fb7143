"""Whether images are in their registry."""

import shutil
import subprocess
import urllib.request
from http import HTTPStatus
from urllib.error import HTTPError, URLError

_SECONDS = 10
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.manifest.v1", "oci.image.index.v1", "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
    )
)  # fmt: skip


def absent(reference: str) -> str:
    """Why an image is not there, or nothing: asked by HEAD, and of skopeo where a registry wants credentials."""
    host, _, rest = reference.partition("/")
    name, _, digest = rest.partition("@")
    address = f"https://{host}/v2/{name}/manifests/{digest}"
    request = urllib.request.Request(address, method="HEAD", headers={"Accept": _MANIFESTS})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310 - https, by the line above
            return ""
    except HTTPError as error:
        if error.code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return f"{host} answers {error.code}"
    except (URLError, OSError) as error:
        return f"{host} cannot be reached ({getattr(error, 'reason', error)})"
    if not shutil.which("skopeo"):
        return f"{host} wants credentials, and skopeo is not installed"
    argv = ["skopeo", "inspect", "--raw", f"docker://{reference}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - the user's own skopeo
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["skopeo failed"])[-1]
