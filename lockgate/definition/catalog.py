"""Find the steps, services and images: next to the package in a checkout, inside the package in a wheel."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lockgate.errors import UnknownName


@dataclass(frozen=True)
class Program:
    """One command of a step, with its contract.

    image: the folder in images/, or the name of the image of a user's own step.
    command, args: the command line before the settings.
    signer: what it signs as, with a key of its own; empty if it does not sign.
    """

    name: str
    step: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    contract: dict[str, Any]
    signer: str = ""

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The files that the program writes."""
        return list(self.contract["outputs"])

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The files that the program reads."""
        return list(self.contract["inputs"])


@dataclass(frozen=True)
class Image:
    """What a program runs in.

    lock: the lock of its packages.
    code: the code on PYTHONPATH: folders, or the one file of a user's own step.
    """

    name: str
    lock: Path
    code: tuple[Path, ...]

    @property
    def path(self) -> list[Path]:
        """The folders on PYTHONPATH."""
        return [entry.parent if entry.suffix == ".py" else entry for entry in self.code]


@dataclass(frozen=True)
class Catalog:
    """The steps that ship with Lockgate."""

    root: Path

    @classmethod
    def find(cls) -> "Catalog":
        """The catalog of this installation."""
        package = Path(__file__).resolve().parent.parent
        checkout = package.parent
        return cls(checkout if (checkout / "steps" / "sdk").is_dir() else package / "_catalog")

    @property
    def sdk(self) -> Path:
        """The folder of the SDK, which every program has on its path."""
        return self.root / "steps" / "sdk"

    @property
    def dockerfile(self) -> Path:
        """The Dockerfile of every image."""
        return self.root / "images" / "Dockerfile"

    def step_folders(self) -> Iterator[Path]:
        """Every step's folder, sorted: those with a program."""
        yield from sorted(p for p in (self.root / "steps").iterdir() if (p / module_of(p) / "__main__.py").is_file())

    def service_folders(self) -> Iterator[Path]:
        """Every service's folder, sorted."""
        yield from sorted(p for p in (self.root / "services").iterdir() if p.is_dir())

    @cached_property
    def programs(self) -> dict[str, Program]:
        """Every program by name, read from the rendered contracts."""
        found = {}
        for folder in self.step_folders():
            step = json.loads((folder / "contract.json").read_bytes())
            for entry in step["programs"]:
                found[entry["program"]] = Program(
                    entry["program"],
                    step["step"],
                    entry["image"],
                    tuple(entry["command"]),
                    tuple(entry["args"]),
                    entry,
                    entry["program"] if entry["signs"] else "",
                )
        return found

    @property
    def signers(self) -> list[str]:
        """The programs that sign, each with its own key."""
        return [program.signer for program in self.programs.values() if program.signer]

    def program(self, name: str) -> Program:
        """Find a program by name. Errors: UnknownName."""
        if name not in self.programs:
            raise UnknownName("program", name, self.programs)
        return self.programs[name]

    def image(self, name: str) -> Image:
        """Find the lock and code of an image. Errors: UnknownName."""
        folder = self.root / "images" / name
        if not (folder / "requirements.lock").is_file():
            known = [p.name for p in (self.root / "images").iterdir() if (p / "requirements.lock").is_file()]
            raise UnknownName("image", name, known)
        steps = {p.step for p in self.programs.values() if p.image == name}
        code = [f for f in self.step_folders() if f.name in steps]
        code += [f for f in self.service_folders() if f.name == name]
        return Image(name, folder / "requirements.lock", (self.sdk, *code))


def module_of(folder: Path) -> str:
    """The import name of a step: `steps/bias-audit` contains `lockgate_bias_audit`."""
    return f"lockgate_{folder.name.replace('-', '_')}"
