"""The folder that a program sees as /lockgate: stage its inputs before it starts, collect its outputs at its end."""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from lockgate_step import layout

from lockgate.engine.manifest import Json, Workflow, entries, text
from lockgate.errors import BadCall

TERMINATION_BYTES = 4096
RESULT_BYTES = 256 * 1024
# A file of this size in bytes or more is linked, not copied, if permissions protect it.
LARGE = 64 * 1024 * 1024


class StagingError(Exception):
    """An input that cannot be staged."""


def inside(folder: Path, path: str) -> Path:
    """Return the path on this machine of a path in the container."""
    return folder / PurePosixPath(path).relative_to(layout.IO)


def check_environment(workflow: Workflow, environment: Path) -> None:
    """Refuse to start without the ConfigMaps and Secrets that the workflow needs.

    Errors: BadCall, naming each.
    """
    missing = sorted(set(_missing(workflow, environment)))
    if missing:
        message = f"{workflow.name} needs {', '.join(missing)}"
        raise BadCall(message, fix=f"create a folder of that name, with one file per key, in {environment}")


def _missing(workflow: Workflow, environment: Path) -> Iterator[str]:
    bodies = [template.body for template in workflow.templates.values()]
    for volume in [each for body in (workflow.spec, *bodies) for each in entries(body, "volumes")]:
        kind, name, optional = _source(volume)
        if kind and not optional and not (environment / name).is_dir():
            yield f"{kind} {name}"
    for variable in [each for body in bodies for each in entries(body, "container", "env")]:
        for kind, reference in _key_references(variable):
            key = environment / str(reference.get("name")) / str(reference.get("key"))
            if not reference.get("optional") and not key.is_file():
                yield f"key {reference.get('key')} of {kind} {reference.get('name')}"


def _source(volume: Json) -> tuple[str, str, bool]:
    """Return the kind (ConfigMap or Secret) and name of a volume, and whether it is optional."""
    if volume.get("configMap") is not None:
        return "ConfigMap", volume["configMap"]["name"], bool(volume["configMap"].get("optional"))
    if volume.get("secret") is not None:
        return "Secret", volume["secret"]["secretName"], bool(volume["secret"].get("optional"))
    return "", "", True


def _key_references(variable: Json) -> Iterator[tuple[str, Json]]:
    source = variable.get("valueFrom") or {}
    for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if source.get(field) is not None:
            yield kind, source[field]


def variables(container: Json, environment: Path) -> dict[str, str]:
    """Return the environment variables of a container, without those of a missing optional key."""
    found: dict[str, str] = {}
    for variable in entries(container, "env"):
        if variable.get("valueFrom") is None:
            found[variable["name"]] = str(variable.get("value") or "")
        for _, reference in _key_references(variable):
            key = environment / reference["name"] / reference["key"]
            if key.is_file():
                found[variable["name"]] = key.read_text("utf-8")
    return found


def volumes_of(template: Json, spec: Json, environment: Path) -> dict[str, Path | None]:
    """Return the volumes by mount path: the folder of a ConfigMap or Secret, or None for an empty folder."""
    named = {each["name"]: each for each in [*entries(spec, "volumes"), *entries(template, "volumes")]}
    found: dict[str, Path | None] = {}
    for mount in entries(template, "container", "volumeMounts"):
        kind, name, _ = _source(named[mount["name"]])
        found[mount["mountPath"]] = environment / name if kind else None
    return found


def stage(run: Path, folder: Path, template: Json, volumes: Mapping[str, Path | None]) -> None:
    """Create a node's folder with its volumes and its own copies of its inputs.

    Errors: StagingError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in (layout.IN, layout.OUT, layout.TMP):
        (folder / name).mkdir(parents=True)
    for path, source in volumes.items():
        if path.startswith(f"{layout.IO}/"):
            _mount(inside(folder, path), source)
    for artifact in entries(template, "inputs", "artifacts"):
        target = inside(folder, artifact["path"])
        target.parent.mkdir(parents=True, exist_ok=True)
        if artifact.get("raw") is not None:
            target.write_text(text(artifact["raw"].get("data") or ""), "utf-8")
        elif "local" in artifact:
            found = _copy(run / artifact["local"], target)
            if not found and not artifact.get("optional"):
                # A store keeps only files, so it does not find an empty folder.
                message = f"artifact {artifact['name']} failed to load: The specified key does not exist."
                raise StagingError(message)


def _mount(target: Path, source: Path | None) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if source is not None and source.is_dir():
        for key in source.iterdir():
            # A link, so that no second copy of a secret is written.
            (target / key.name).symlink_to(key.resolve())


def unmount(folder: Path, volumes: Mapping[str, Path | None]) -> None:
    """Remove volumes and scratch files, which no later reader of the record needs."""
    for path, source in volumes.items():
        if source is not None and path.startswith(f"{layout.IO}/"):
            shutil.rmtree(inside(folder, path), ignore_errors=True)
    shutil.rmtree(folder / layout.TMP, ignore_errors=True)


def _copy(source: Path, target: Path) -> bool:
    """Copy an artifact for a node; return whether it contains a file."""
    if not source.is_dir():
        _copy_file(source, target)
        return True
    files = list(_files(source))
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        _copy_file(source / file, target / file)
    return bool(files)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that a store would keep: no links, no empty folders."""
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(parent, name)
            if not path.is_symlink():
                yield path.relative_to(folder)


def _copy_file(source: Path, target: Path) -> None:
    # Permissions do not restrict root, so root always gets a copy.
    if os.geteuid() != 0 and source.stat().st_size >= LARGE:
        source.chmod(0o400)
        target.hardlink_to(source.resolve())
    else:
        shutil.copyfile(source, target)


def settle(folder: Path) -> None:
    """Remove what a program left that a store would not keep: links, pipes, sockets, devices.

    Whoever reads an output must not read another file in its place, nor wait for a pipe. The program and all that it
    started have ended, so nothing puts them back.
    """
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *names)):
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                path.unlink()


def collect(run: Path, folder: Path, template: Json, execution: str) -> tuple[Json, list[str]]:
    """Return the outputs of a program, and a message of Argo's executor for each missing one."""
    outputs: Json = {}
    problems: list[str] = []
    for parameter in entries(template, "outputs", "parameters"):
        given = {"name": parameter["name"]}
        if not problems:  # the executor stops at the first problem and lists the others by name only
            try:
                given["value"] = _parameter(folder, parameter)
            except (OSError, UnicodeDecodeError) as error:
                path = parameter["valueFrom"]["path"]
                where = "/mainctrfs" if _is_mounted(template, path) else "/var/run/argo/outputs/parameters"
                problems.append(f"open {where}{path}: {_reason(error)}")
        outputs.setdefault("parameters", []).append(given)
    for artifact in entries(template, "outputs", "artifacts"):
        path = inside(folder, artifact["path"])
        if path.exists():
            kept = {"name": artifact["name"], "path": artifact["path"], "local": str(path.relative_to(run))}
            kept |= {"execution": execution, "optional": bool(artifact.get("optional"))}
            outputs.setdefault("artifacts", []).append(kept)
        elif not artifact.get("optional"):
            problems.append(f"{_missing_artifact(template, artifact)}; ")
    return outputs, problems


def _is_mounted(template: Json, path: str) -> bool:
    """Return whether a path is in a volume; the executor reads such a path directly."""
    mounts = [mount["mountPath"].rstrip("/") for mount in entries(template, "container", "volumeMounts")]
    return any(path == mount or path.startswith(f"{mount}/") for mount in mounts)


def _missing_artifact(template: Json, artifact: Json) -> str:
    path = artifact["path"]
    if not _is_mounted(template, path):
        return f"open /var/run/argo/outputs/artifacts{path}.tgz: no such file or directory"
    if "none" in (artifact.get("archive") or {}):
        return f"{path} no such file or directory"
    return f"stat /mainctrfs{path}: no such file or directory"


def _parameter(folder: Path, parameter: Json) -> str:
    if parameter.get("value") is not None:
        return text(parameter["value"])
    origin = parameter["valueFrom"]
    try:
        value = inside(folder, origin["path"]).read_text("utf-8")
    except FileNotFoundError:
        if origin.get("default") is None:
            raise
        value = text(origin["default"])
    return value.removesuffix("\n")


def result(folder: Path) -> str:
    """Return a program's stdout without its final newline; only the end if it is long, as the executor does."""
    output = (folder / "stdout").read_bytes().removesuffix(b"\n")
    return output[-RESULT_BYTES:].decode("utf-8", "replace")


def _reason(error: Exception) -> str:
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else "no such file or directory"


def termination_message(folder: Path, container: Json, log: Path, *, failed: bool) -> str:
    """Return the termination message of a program, as the kubelet reads it."""
    path = container.get("terminationMessagePath") or ""
    message = ""
    if path.startswith(f"{layout.IO}/") and inside(folder, path).is_file():
        with inside(folder, path).open("rb") as file:
            message = file.read(TERMINATION_BYTES).decode("utf-8", "replace")
    if (
        not message
        and failed
        and container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        and log.is_file()
    ):
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2048))
            message = "".join(file.read().decode("utf-8", "replace").splitlines(keepends=True)[-80:])
    return message
