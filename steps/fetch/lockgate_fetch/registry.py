"""One version in MLflow's registry: which files it has, and the bytes of those that are asked for by name.

Only bytes come from there. What MLmodel says about loaders, code and packages is never acted on, and no name that the
registry gives is ever used as a path.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lockgate_step import BadCall, OutsideFailed, Refusal, log

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# Read by mlflow when it is imported. A registry that is down is known in seconds (its own default is minutes): the
# workflow's retry waits, not this program.
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}
_SECRET = re.compile(r"//[^/@\s]*@")  # of an address like http://user:password@host
MODEL, TEXT = 2 << 30, 16 << 20  # the most bytes of a model, and of a file about one
_NEWEST = 5  # versions that a message lists


@dataclass(frozen=True)
class Registered:
    """A version, with the sizes of its files; files in folders below are not offered."""

    name: str
    version: str
    source: str
    sizes: dict[str, int]

    def __str__(self) -> str:
        return f"version {self.version} of {self.name}"

    def download(self, name: str, folder: Path, *, most: int = TEXT) -> Path:
        """One of its files, by name, into the folder. Errors: Refusal when it is too large."""
        from mlflow.artifacts import download_artifacts

        if self.sizes[name] > most:
            msg = f"{name} of {self} has {self.sizes[name]:,} bytes, more than the {most:,} that are read"
            raise Refusal(msg, fix="register a smaller model")
        with _outside("did not give the file"):
            path = Path(download_artifacts(artifact_uri=f"{self.source}/{name}", dst_path=str(folder)))
        if path.resolve() != (folder / name).resolve() or path.stat().st_size != self.sizes[name]:
            msg = f"{name} of {self} arrived cut short"
            raise OutsideFailed(msg, fix="run it again")
        return path


def find(uri: str, name: str, version: str, *, ca: Path | None = None) -> Registered:
    """The version of the model in the registry.

    uri: `http(s)://…` of a server or `sqlite:////…/registry.db` of a file.
    Errors: BadCall when there is none, naming the newest; Refusal where its files lie outside the registry's own;
    OutsideFailed when the registry does not answer.
    """
    allowed = _schemes(uri)
    os.environ.update(_QUIET | ({"MLFLOW_TRACKING_SERVER_CERT_PATH": str(ca)} if ca else {}))
    import mlflow
    from mlflow.artifacts import list_artifacts
    from mlflow.tracking import MlflowClient

    with _outside("did not answer"):
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        client = MlflowClient()
        source = _source(client, name, version)
        scheme = urlsplit(source).scheme
        if scheme not in allowed:
            msg = f"the files of version {version} of {name} lie in {scheme or 'a local folder'}, not in the registry"
            raise Refusal(msg, fix="run the registry with --serve-artifacts, and register the model through it")
        files = [file for file in list_artifacts(artifact_uri=source) if not file.is_dir]
    found = Registered(name, version, source, {file.path.rpartition("/")[2]: file.file_size or 0 for file in files})
    if not found.sizes:
        msg = f"{found} has no files"
        raise Refusal(msg, fix="register it again, with the folder that holds the model")
    log("version", model=name, version=version, files=sorted(found.sizes))
    return found


def _schemes(uri: str) -> tuple[str, ...]:
    """Where a version's files may lie. Behind a server, a local path would name a file of this very machine."""
    if uri.startswith(("http://", "https://")):
        return ("mlflow-artifacts",)
    if uri.startswith("sqlite:////"):
        if not Path(uri.removeprefix("sqlite:///")).is_file():
            msg = "the registry is a file that does not exist yet, so it has no versions"
            raise BadCall(msg, fix="register a model first, or correct `registry` in lockgate-environment")
        return ("file", "")
    msg = f"the registry {urlsplit(uri).scheme or uri!r}:… is of a kind that fetch does not know"
    raise BadCall(msg, fix="write http(s)://host or sqlite:////absolute/path.db as `registry` in lockgate-environment")


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
        msg = f"the registry {problem}: {type(error).__name__}"
        raise OutsideFailed(msg, fix="see that the registry runs, then run it again") from error
