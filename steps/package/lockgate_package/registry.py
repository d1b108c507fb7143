"""Registers a bundle in MLflow once, under its digest."""

import fcntl
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lockgate_step import BadCall, OutsideFailed, Refusal, log, without_credentials

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# mlflow reads these when it is imported. They switch off log output, and detect a registry that is down in seconds (the
# default takes minutes): the workflow's retry waits, not this program.
_QUIET = {
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}

_FILE = "sqlite:///"
_CREDENTIALS = re.compile(r"//[^/@\s]*@")  # in an address like http://user:password@host

_NO_CREDENTIALS = (
    "write the address alone to `registry` of lockgate-environment, and replace the credentials, since they were shown"
)


@dataclass(frozen=True)
class Registered:
    """A version in the registry."""

    name: str
    version: str


def register(
    uri: str, *, name: str, bundle: str, tags: Mapping[str, str], model: Path, ca: Path | None = None
) -> Registered:
    """Return the version of this bundle's model, and create it if it does not exist.

    uri: `http(s)://…` of a server or `sqlite:////…/registry.db` of a file. bundle: its digest. model: its model folder.
    Errors: BadCall for another type of URI, OutsideFailed when the registry cannot be reached or fails, Refusal when it
    says that the files belong outside it.
    """
    artifacts = _artifacts(without_credentials(uri, "the registry's address", fix=_NO_CREDENTIALS))
    os.environ.update(_QUIET)
    if ca is not None:
        os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(ca)
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    try:
        if uri.startswith(_FILE):
            _ensure_tables(Path(uri.removeprefix(_FILE)))
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        found = _find(client, name, bundle)
        if found is None:
            found = _add(client, name, {"lockgate.bundle": bundle, **tags}, model, artifacts)
            log("registered", model=name, version=found.version, bundle=bundle)
    except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
        msg = f"cannot register the bundle {bundle}: {type(error).__name__}"
        log("registry", problem=_CREDENTIALS.sub("//", str(error).partition("\n")[0]))
        raise OutsideFailed(
            msg, fix="check that the registry is running, then run again; the bundle is safe in the store"
        ) from error
    return found


def _artifacts(uri: str) -> str | None:
    """Return the address for the model's files: beside a SQLite file; None for a server, which decides itself."""
    if uri.startswith(("http://", "https://")):
        return None
    if uri.startswith(f"{_FILE}/"):
        return (Path(uri.removeprefix(_FILE)).parent / "artifacts").as_uri()
    msg = f"package does not support the registry type {uri.partition(':')[0]}:…"
    raise BadCall(
        msg, fix="write http(s)://host or sqlite:////absolute/path.db to environment/registry, or remove that file"
    )


def _ensure_tables(database: Path) -> None:
    """Create a new database under a temporary name and rename it when it is complete.

    Two migrations at once, or a killed one, would leave tables that no later migration can repair.
    """
    if database.exists():
        return
    from mlflow.tracking import MlflowClient

    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f".{database.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            part = database.with_name(f".{database.name}.part")
            part.unlink(missing_ok=True)
            MlflowClient(tracking_uri=f"{_FILE}{part}", registry_uri=f"{_FILE}{part}").search_registered_models()
            os.replace(part, database)


def _find(client: "MlflowClient", name: str, bundle: str) -> Registered | None:
    versions = client.search_model_versions(f"name = '{name}' and tag.`lockgate.bundle` = '{bundle}'")
    first = min(versions, key=lambda version: int(version.version), default=None)
    return None if first is None else Registered(name, str(first.version))


def _add(client: "MlflowClient", name: str, tags: Mapping[str, str], model: Path, artifacts: str | None) -> Registered:
    run = client.create_run(_experiment(client, name, artifacts), run_name=tags["lockgate.bundle"], tags=dict(tags))
    _check_inside(run.info.artifact_uri, artifacts)
    client.log_artifacts(run.info.run_id, str(model), "model")
    client.set_terminated(run.info.run_id)
    _ensure_model(client, name)
    source = f"{run.info.artifact_uri}/model"
    version = client.create_model_version(name, source, run.info.run_id, tags=dict(tags))
    return Registered(name, str(version.version))


def _check_inside(address: str, artifacts: str | None) -> None:
    """Check that the model is written into the registry: its answer decides where. Errors: Refusal."""
    found = urlsplit(address)
    if artifacts is None:
        inside = found.scheme == "mlflow-artifacts" and not found.netloc  # behind a server, the path is the server's
    else:
        own, other = (Path(unquote(urlsplit(each).path)).resolve() for each in (artifacts, address))
        inside = found.scheme in ("file", "") and not found.netloc and other.is_relative_to(own)
    if not inside:
        msg = f"the registry wants the model's files outside it ({found.scheme or 'file'}:…)"
        fix = (
            "run its server with --serve-artifacts"
            if artifacts is None
            else "find out who else can write its file; if the file was moved, delete the experiments lockgate/… in it"
        )
        raise Refusal(msg, fix=fix)


def _experiment(client: "MlflowClient", name: str, artifacts: str | None) -> str:
    title = f"lockgate/{name}"
    known = client.get_experiment_by_name(title)
    return known.experiment_id if known else client.create_experiment(title, artifact_location=artifacts)


def _ensure_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={"lockgate.origin": "package"})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
