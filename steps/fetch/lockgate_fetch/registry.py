"""One version in MLflow's registry: its list of files, and the bytes of the files requested by name.

Only bytes are read from the registry. The loaders, code and packages that MLmodel names are never used, and no name
from the registry is used as a path.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lockgate_step import BadCall, OutsideFailed, Refusal, log, without_credentials

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# mlflow reads these when it is imported. The timeouts detect a registry that is down in seconds (the default takes
# minutes): the workflow's retry waits, not this program.
_QUIET = {
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}
_SECRET = re.compile(r"//[^/@\s]*@")  # in an address like http://user:password@host
# The maximum number of bytes of a model, of MLmodel (a YAML parser takes seconds for a megabyte), and of other files.
MODEL, CARD, TEXT = 2 << 30, 1 << 20, 16 << 20
_NEWEST = 5  # how many versions a message lists

_NO_CREDENTIALS = (
    "write the address alone to `registry` of lockgate-environment, and replace the credentials, since they were shown"
)


@dataclass(frozen=True)
class Registered:
    """A version with the sizes of its files in bytes; files in subfolders are left out."""

    name: str
    version: str
    source: str
    sizes: dict[str, int]

    def __str__(self) -> str:
        return f"version {self.version} of {self.name}"

    def download(self, name: str, folder: Path, *, most: int = TEXT) -> Path:
        """Download one of its files, by name, into the folder. Errors: Refusal when it is too large."""
        from mlflow.artifacts import download_artifacts

        if self.sizes[name] > most:
            msg = f"{name} of {self} has {self.sizes[name]:,} bytes; the maximum is {most:,}"
            raise Refusal(msg, fix="register a smaller model")
        with _outside(f"cannot download {name} from the registry"):
            path = Path(download_artifacts(artifact_uri=f"{self.source}/{name}", dst_path=str(folder)))
        if path.resolve() != (folder / name).resolve() or path.stat().st_size != self.sizes[name]:
            msg = f"the download of {name} of {self} is incomplete"
            raise OutsideFailed(msg, fix="run again")
        return path


def find(uri: str, name: str, version: str, *, ca: Path | None = None) -> Registered:
    """Find the version of the model in the registry.

    uri: `http(s)://…` of a server or `sqlite:////…/registry.db` of a file.
    Errors: BadCall when there is none, with the newest versions; Refusal when its files are stored outside the
    registry; OutsideFailed when the registry cannot be reached or fails.
    """
    allowed = _schemes(without_credentials(uri, "the registry's address", fix=_NO_CREDENTIALS))
    os.environ.update(_QUIET | ({"MLFLOW_TRACKING_SERVER_CERT_PATH": str(ca)} if ca else {}))
    import mlflow
    from mlflow.artifacts import list_artifacts
    from mlflow.tracking import MlflowClient

    with _outside("cannot read the registry"):
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        client = MlflowClient()
        source = _source(client, name, version)
        scheme = urlsplit(source).scheme
        if scheme not in allowed:
            msg = f"the files of version {version} of {name} are in {scheme or 'a local folder'}, not in the registry"
            raise Refusal(msg, fix="run the registry with --serve-artifacts, and register the model through it")
        files = [file for file in list_artifacts(artifact_uri=source) if not file.is_dir]
    found = Registered(name, version, source, {file.path.rpartition("/")[2]: file.file_size or 0 for file in files})
    if not found.sizes:
        msg = f"{found} has no files"
        raise Refusal(msg, fix="register it again, with the folder that contains the model")
    log("version", model=name, version=version, files=sorted(found.sizes))
    return found


def _schemes(uri: str) -> tuple[str, ...]:
    """Return where a version's files may be. Behind a server, a local path would name a file on this machine."""
    if uri.startswith(("http://", "https://")):
        return ("mlflow-artifacts",)
    if uri.startswith("sqlite:////"):
        if not Path(uri.removeprefix("sqlite:///")).is_file():
            msg = "the registry's file does not exist yet, so it has no versions"
            raise BadCall(msg, fix="register a model first, or correct `registry` in lockgate-environment")
        return ("file", "")
    msg = f"fetch does not support the registry type {urlsplit(uri).scheme or uri!r}"
    raise BadCall(msg, fix="write http(s)://host or sqlite:////absolute/path.db to `registry` in lockgate-environment")


def _source(client: "MlflowClient", name: str, version: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        source = client.get_model_version_download_uri(name, version)
        logged = re.fullmatch(r"models:/(m-[0-9a-f]+)", source)
        return client.get_logged_model(logged[1]).artifact_location if logged else source
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    known = sorted((int(known.version) for known in client.search_model_versions(f"name = '{name}'")), reverse=True)
    if not known:
        msg = f"the registry has no version of {name}"
        raise BadCall(msg, fix=f"register a model under the name {name} first")
    newest = ", ".join(map(str, known[:_NEWEST])) + (", …" if len(known) > _NEWEST else "")
    msg = f"the registry has no version {version} of {name}"
    raise BadCall(msg, fix=f"choose one of its newest: {newest}")


@contextmanager
def _outside(problem: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        log("registry", problem=_SECRET.sub("//", str(error).partition("\n")[0]))
        msg = f"{problem}: {type(error).__name__}"
        raise OutsideFailed(msg, fix="check that the registry is running, then run again") from error
