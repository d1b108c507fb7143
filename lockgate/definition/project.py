"""A user's project: the folder that contains `pipelines/`, and its models."""

import importlib.util
import sys
import tomllib
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lockgate_policy import Policy, PolicyError
from lockgate_policy import check as check_policy
from lockgate_policy import read as read_policy
from lockgate_step import Judged, Shadow, UnsafeFile, canonical, file_digest, loads, read_supplied, sha256

from lockgate.definition.catalog import Catalog, Program
from lockgate.definition.contract import RAW, own_step
from lockgate.definition.expected import FILE as EXPECTATIONS
from lockgate.definition.expected import check_expectations
from lockgate.definition.model import NOBODY, ModelSpec
from lockgate.errors import BadCall, LockgateError, SpecError, UnknownName

PIPELINE = "pipeline.py"


@dataclass(frozen=True)
class Model:
    """A model: its spec and the files in its folder."""

    spec: ModelSpec
    folder: Path

    @cached_property
    def raw(self) -> dict[str, str]:
        """The texts that programs read as raw artifacts: spec, policy, expectations and waivers, by name.

        Errors: SpecError when a file is missing, damaged, or contains `{{`, which Argo would replace.
        """
        found = {
            "spec": canonical(self.spec.to_json(self._gates_of_spec)).decode(),
            "policy": self._text("policy.toml", "every model needs a policy; lockgate new writes a first one"),
            "expectations": self._text(EXPECTATIONS, "write [] if there are none"),
            "waivers": canonical([{"file": file, "envelope": each} for file, each in self.waivers.items()]).decode(),
        }
        for name, text in found.items():
            if "{{" in text:
                msg = (
                    f"{RAW[name.title()]} of {self.spec.name} contains '{{{{', which Argo would replace as a parameter"
                )
                raise SpecError(msg, fix="remove the two adjacent opening braces")
        return found

    @cached_property
    def waivers(self) -> dict[str, dict[str, Any]]:
        """The waivers in the model's folder, by file. Their signatures are not verified, since that needs a trust file.

        Errors: SpecError, naming the file that is damaged.
        """
        found = {}
        for path in sorted((self.folder / "waivers").glob("*.json")):
            try:
                found[f"waivers/{path.name}"] = dict(loads(read_supplied(path)))
            except (OSError, ValueError, TypeError, UnsafeFile) as error:
                msg = f"waivers/{path.name} of {self.spec.name} is not a waiver"
                raise SpecError(msg, fix=f"restore the signed file, or remove it: {path}") from error
        return found

    @property
    def notes(self) -> list[str]:
        """What to fix before anybody relies on the model; a run does not need it."""
        if self.spec.owner != NOBODY:
            return []
        place = f"pipelines/{self.folder.name}/{PIPELINE}"
        return [f"{self.spec.name} has no owner yet: replace {NOBODY} with the owner's address in {place}"]

    @cached_property
    def own_programs(self) -> dict[str, Program]:
        """The one-file steps in the model's folder, by program name."""
        programs = (own_step(source, self.spec.name) for source in own_sources(self.folder))
        return {program.name: program for program in programs}

    @cached_property
    def gates(self) -> dict[str, Program]:
        """The additional gates: the own steps that can refuse, by program name. Errors: SpecError."""
        return {name: program for name, program in self.own_programs.items() if program.signer}

    @property
    def _gates_of_spec(self) -> dict[str, str]:
        """Each additional gate with the digest of its code, as its verdict states it: another code is another spec."""
        sources = {name: self.folder / f"{gate.command[-1]}.py" for name, gate in self.gates.items()}
        return {name: sha256(canonical({file.name: file_digest(file)})) for name, file in sources.items()}

    def check(self) -> None:
        """Refuse an invalid policy, or one without an entry for a sensitive column; and expectations of other columns.

        Errors: SpecError.
        """
        try:
            policy = read_policy(self.folder / "policy.toml")
            check_policy(policy, sensitive=list(self.spec.sensitive))
        except PolicyError as error:
            msg = f"{self.spec.name}: {error.where}: {error.problem}"
            raise SpecError(msg, fix=error.fix) from error
        self._check_rollout(policy)
        check_expectations(self.spec, self.raw["expectations"])

    def _check_rollout(self, policy: Policy) -> None:
        """Refuse a rollout without a rule that judges it, and rules that no rollout would be judged by."""
        rollout, rules = self.spec.serving.rollout, policy.canary
        named = type(rollout).__name__
        if isinstance(rollout, Judged) and not rules:
            msg = f"{self.spec.name}: no [[canary]] rule in policy.toml judges the rollout {named}"
            raise SpecError(msg, fix='add one, e.g. measure = "error_rate", no_worse_than_live_by = 0.005, and a why')
        for rule in rules:
            if not isinstance(rollout, Judged):
                msg = f"{self.spec.name}: {rule.source}: the rollout {named} is judged by no [[canary]] rule"
                raise SpecError(msg, fix="write e.g. serving=Serving(rollout=Canary()) in the spec, or remove the rule")
            if rule.measure == "disagreement_rate" and not isinstance(rollout, Shadow):
                msg = f"{self.spec.name}: {rule.source}: disagreement_rate needs the rollout Shadow"
                raise SpecError(msg, fix="use answer_shift for this rollout, or remove the rule")

    def _text(self, name: str, fix: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            msg = f"{self.spec.name} has no {name}"
            raise SpecError(msg, fix=f"{fix} ({self.folder / name})") from error


def own_sources(folder: Path) -> list[Path]:
    """The one-file steps in a model's folder, sorted. They are found by the text `@program(`, without an import."""
    sources = [p for p in sorted(folder.glob("*.py")) if p.name != PIPELINE and not p.name.startswith("_")]
    return [source for source in sources if "@program(" in source.read_text(encoding="utf-8")]


@dataclass(frozen=True)
class Project:
    """The folder that contains `pipelines/`, `workflows/` and `.lockgate/`."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> "Project":
        """The nearest folder, from `start` upwards, that contains `pipelines/`; `start` itself if there is none."""
        start = (start or Path.cwd()).resolve()
        return cls(next((p for p in (start, *start.parents) if (p / "pipelines").is_dir()), start))

    @property
    def state(self) -> Path:
        """The folder of everything that runs write on this machine."""
        return self.root / ".lockgate"

    @property
    def workflows(self) -> Path:
        """The rendered manifests."""
        return self.root / "workflows"

    @cached_property
    def owner(self) -> str:
        """The name of the project on its cluster, a label of every object there; empty without a cluster."""
        try:
            settings = tomllib.loads((self.root / "kubernetes" / "settings.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # without a cluster, or with damaged settings: the cluster's rendering refuses it
            return ""
        return str(settings.get("project") or settings.get("namespace") or "")

    def folders(self) -> Iterator[Path]:
        """The folder of each model, sorted."""
        yield from sorted(p.parent for p in (self.root / "pipelines").glob(f"*/{PIPELINE}"))

    @cached_property
    def models(self) -> dict[str, Model]:
        """Every model that loads, by name. A model that fails to load is in `broken`, so that the others still load.

        Errors: SpecError when two have one name.
        """
        found: dict[str, Model] = {}
        for folder in self.folders():
            try:
                model = load_model(folder)
            except SpecError as error:
                self.broken[folder.name] = error
                continue
            if model.spec.name in found:
                msg = (
                    f"{folder.name} and {found[model.spec.name].folder.name} both name their model {model.spec.name!r}"
                )
                raise SpecError(msg, fix="give each model its own name")
            found[model.spec.name] = model
        return found

    @property
    def signers(self) -> list[str]:
        """What signs in this project, each with its own key: Lockgate's programs, and the models' additional gates."""
        found = Catalog.find().signers
        for model in self.models.values():
            with suppress(SpecError):  # nothing of a model with an invalid step can be rendered or run
                found += [gate.signer for gate in model.gates.values()]
        return found

    @cached_property
    def broken(self) -> dict[str, SpecError]:
        """Why a model's pipeline fails to load, by folder name; `models` fills it."""
        return {}

    def model(self, name: str) -> Model:
        """Find a model by its name or its folder's. Errors: UnknownName; SpecError if its pipeline fails to load."""
        models = self.models
        folder = name.replace("-", "_")
        if name not in models and (folder in self.broken or (self.broken and not models)):
            raise self.broken.get(folder) or next(iter(self.broken.values()))
        by_folder = {model.folder.name: model for model in models.values()}
        if not models:
            msg = f"there is no model in {self.root / 'pipelines'}"
            raise BadCall(msg, fix="create one from a CSV file: lockgate new NAME --data FILE --target COLUMN")
        if name not in models and name not in by_folder:
            raise UnknownName("model", name, models)
        return models.get(name) or by_folder[name]


def load_model(folder: Path) -> Model:
    """Load the model of one `pipelines/<model>/` folder. Errors: SpecError."""
    source = folder / PIPELINE
    name = f"_pipelines_{folder.name}"
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location(name, source)
        if spec is None or spec.loader is None:
            msg = f"cannot load {source}"
            raise SpecError(msg)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except LockgateError as error:
        msg = f"{_place(folder, error)}: {error.message}"
        raise SpecError(msg, fix=error.fix) from error
    except Exception as error:
        problem = error.msg if isinstance(error, SyntaxError) else str(error)
        msg = f"{_place(folder, error)}: {type(error).__name__}: {problem}"
        raise SpecError(msg, fix=f"{sys.executable} {source} shows the traceback") from error
    finally:
        sys.path.remove(str(folder))
    model = getattr(module, "MODEL", None)
    if not isinstance(model, ModelSpec):
        msg = f"pipelines/{folder.name}/{PIPELINE} does not define MODEL"
        raise SpecError(msg, fix="define it: MODEL = ModelSpec(...)")
    return Model(model, folder)


def _place(folder: Path, error: BaseException) -> str:
    """Where the model's own code failed: `pipelines/<model>/pipeline.py:12`."""
    lines = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((Path(error.filename), error.lineno))  # a file with a syntax error is not in the traceback
    file, line = next(((f, n) for f, n in reversed(lines) if f.parent == folder), (folder / PIPELINE, None))
    return f"pipelines/{folder.name}/{file.name}{f':{line}' if line else ''}"
