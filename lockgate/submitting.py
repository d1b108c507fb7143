"""From here to Argo: check what can be checked, print the exact command, run it where argo is installed."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lockgate.errors import BadCall, NotRendered, UnknownName
from lockgate.images import UNBUILT, image_name
from lockgate.project import Project
from lockgate.rendering import model_files
from lockgate.shelf import Program, Shelf

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_FORMS = {
    "string": re.compile(r"(?s).*"),
    "integer": re.compile(r"[+-]?\d+"),
    "number": re.compile(_NUMBER),
    "boolean": re.compile(r"(?i)true|false"),
}


@dataclass(frozen=True)
class Submission:
    """The command that submits a workflow, and whether it may run and did.

    unbuilt: the images that have to be built first. exit_code: argo's own, where it ran.
    """

    model: str
    command: tuple[str, ...]
    unbuilt: tuple[str, ...]
    submitted: bool
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        """The submission as JSON values."""
        return {
            "model": self.model, "command": list(self.command), "unbuilt": list(self.unbuilt),
            "submitted": self.submitted, "exit_code": self.exit_code,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """The submission as people read it."""
        lines = [f"  {shlex.join(self.command)}"]
        if self.unbuilt:
            lines += [
                f"Not submitted: {len(self.unbuilt)} images are not built yet ({', '.join(self.unbuilt)}).",
                "Next",
                "  lockgate images build, lockgate images push, lockgate render   (docs/operating.md)",
                f"  lockgate run {self.model}   runs the same manifest here, without images",
            ]
        elif not self.submitted:
            lines.append("argo is not installed here: run this line where it is.")
        return lines


def submit_model(
    project: Project, name: str, workflow: str, given: Mapping[str, str], namespace: str | None, *, quiet: bool = False
) -> Submission:
    """Submit a workflow of a model, or say what is missing; with `quiet` what argo prints goes to stderr.

    Errors: UnknownName, NotRendered, BadCall for settings the workflow does not take or a missing one.
    """
    model = project.model(name)
    path = project.workflows / model.spec.name / f"{workflow}.yaml"
    if workflow not in ("release", "review"):
        raise UnknownName("workflow", workflow, ["release", "review"])
    if not path.is_file() or path.read_bytes() != model_files(project, model, check=True)[path]:
        msg = f"{path.relative_to(project.root)} does not agree with its source"
        raise NotRendered(msg, fix="lockgate render, and apply it to the cluster")
    manifest = yaml.safe_load(path.read_bytes())
    parameters = {p["name"]: p for p in manifest["spec"].get("arguments", {}).get("parameters", [])}
    check_settings(given, parameters, {**Shelf.find().programs, **model.own_programs}.values())
    data = given.get("data") or parameters.get("data", {}).get("value", "")
    template = manifest["metadata"]["name"]
    command = ["argo", "submit", "--from", f"workflowtemplate/{template}"]
    command += ["-n", namespace] if namespace else []
    command += [part for key, value in given.items() for part in ("-p", f"{key}={value}")]
    unbuilt = tuple(sorted(_unbuilt(manifest)))
    if unbuilt:
        return Submission(model.spec.name, tuple(command), unbuilt, submitted=False, exit_code=2)
    if not re.match(r"s3://", data):
        msg = f"data {data!r} cannot be reached from a cluster"
        raise BadCall(msg, fix="lockgate submit ... --data s3://BUCKET/KEY")
    if shutil.which("argo") is None:
        return Submission(model.spec.name, tuple(command), (), submitted=False, exit_code=0)
    done = subprocess.run(command, check=False, stdout=sys.stderr if quiet else None)  # noqa: S603 - it will be shown
    return Submission(model.spec.name, tuple(command), (), submitted=done.returncode == 0, exit_code=done.returncode)


def check_settings(
    given: Mapping[str, str], parameters: Mapping[str, Mapping[str, object]], programs: Iterable[Program]
) -> None:
    """Refuse a setting the workflow does not take, a value it does not allow, or a missing one. Errors: BadCall."""
    kinds = {entry["name"]: entry["type"] for program in programs for entry in program.contract["parameters"]}
    for key, value in given.items():
        if key not in parameters:
            raise UnknownName("setting", key, parameters)
        allowed = parameters[key].get("enum")
        if isinstance(allowed, list) and value not in allowed:
            what = f"value for {key}:"
            raise UnknownName(what, value, [str(option) for option in allowed])
        kind = kinds.get(key, "string")
        if not _FORMS[kind].fullmatch(value):
            msg = f"{key}={value} is not {'an' if kind == 'integer' else 'a'} {kind}"
            raise BadCall(msg, fix=f"give {key} a value like {parameters[key].get('value', '1')}")
    missing = [key for key, parameter in parameters.items() if "value" not in parameter and key not in given]
    if missing:
        msg = f"the workflow needs {missing[0]}"
        raise BadCall(
            msg, fix=f"give it with --{missing[0]} VALUE" if missing[0] in ("data", "version") else "use --set"
        )


def _unbuilt(manifest: Mapping[str, object]) -> set[str]:
    spec = manifest["spec"]
    assert isinstance(spec, dict)
    images = {t["container"]["image"] for t in spec["templates"] if "container" in t}
    return {image_name(image) for image in images if image.endswith(UNBUILT)}
