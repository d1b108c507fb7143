"""A small real project: 2,000 invented rows, a logistic regression, and a platform on its own port."""

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lockgate_store import Missing, Store

from lockgate.definition.catalog import Catalog, Program
from lockgate.images.installed import Installed, command
from lockgate.records.environment import Environment, approver_key
from lockgate.records.store import store_of
from tests.asking import infer

MODEL = "grants"
# Output ends with the next action: one line after an error, the commands with their purpose after a run.
NEXT = re.compile(r"(?m)(^Next: .+|^Next\n(  .+\n)+(exit \d)?)\s*\Z")
PIPELINE = '''\
"""Who is granted a small pension? Invented data."""
from lockgate import Data, ModelSpec, category, label, number

MODEL = ModelSpec(
    name="grants",
    owner="pensions@example.gc.ca",
    data=Data(uri="data/rows.csv"),
    target=label("granted", positive="yes", negative="no"),
    inputs={"years": number(0, 45), "income": number(0, 90000), "sector": category("public", "private", "own")},
    sensitive={"sex": category("Female", "Male")},
    train={"estimator": "sklearn.linear_model.LogisticRegression", "mitigation": "none", "threshold": 0.5, "seed": 0},
    tunable=("mitigation", "threshold", "seed"),
)
'''
POLICY = """\
[[quality]]
measure  = "accuracy"
at_least = 0.70
why      = "A model that refuses every case is right for half of them."

[[bias]]
between = ["sex"]
measure = "selection_rate_difference"
at_most = 0.25
why     = "Men and women must be granted pensions at rates the programme can defend."

[[smoke]]
measure = "p99_ms"
at_most = 5000
why     = "A clerk waits for the answer; this limit is loose because the machine of a test is shared."
"""
CANARY_RULES = """
[[canary]]
measure = "error_rate"
at_most = 0.1
why     = "A clerk must get an answer."

[[canary]]
measure = "answer_shift"
at_most = 0.4
why     = "Nobody's chances may change from one day to the next without an approval."
"""
# The model does not use the last column.
HEADER = ("years", "income", "sector", "sex", "granted", "note")
ASKED = {"years": 30, "income": 20000, "sector": "public"}
# Every income ends in these digits, so that a row's value can be found wherever it appears.
MARK = re.compile(r"\d\.1379(?!\d)")
Row = tuple[object, ...]


def rows(count: int = 2000, seed: int = 7) -> list[Row]:
    """Return invented cases; years and income decide, sex does not."""
    chance = random.Random(seed)
    found: list[Row] = []
    for _ in range(count):
        years, income = chance.randint(0, 45), chance.randint(0, 89999) + 0.1379
        sector, sex = chance.choice(("public", "private", "own")), chance.choice(("Female", "Male"))
        score = (years - 22) / 6 - (income - 45000) / 20000 + chance.gauss(0, 1)
        found.append((years, income, sector, sex, "yes" if score > 0 else "no", "by letter"))
    return found


def csv(cases: Sequence[Row], header: Sequence[str] = HEADER, delimiter: str = ",") -> bytes:
    """Return the rows as a CSV file."""
    lines = [header, *cases]
    return "".join(f"{delimiter.join(map(str, line))}\n" for line in lines).encode()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Done:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The whole output."""
        return f"{self.out}\n{self.err}"

    def check(self, code: int, says: str) -> None:
        """Check the exit code, and that one message matches `says` and ends with the next action."""
        assert (self.code, "Traceback" in self.said, "bug in Lockgate" in self.said) == (code, False, False), self.said
        assert re.search(says, self.said), self.said
        assert NEXT.search(self.out) or NEXT.search(self.err), self.said
        assert len(re.findall(r"(?m)^(?:Error: |[\w-]+ (?:failed|refused): )", self.said)) <= 1, self.said


@dataclass(frozen=True)
class Project:
    """A folder with `pipelines/grants`, and the port of its platform."""

    root: Path
    port: int

    @classmethod
    def make(cls, root: Path) -> "Project":
        """Create a project without runs."""
        pipeline = root / "pipelines" / MODEL
        (pipeline / "data").mkdir(parents=True)
        (pipeline / "pipeline.py").write_text(PIPELINE)
        (pipeline / "policy.toml").write_text(POLICY)
        (pipeline / "expectations.json").write_text("[]\n")
        (pipeline / "data" / "rows.csv").write_bytes(csv(rows()))
        return cls(root, free_port())

    def give_chain(self, *lines: str) -> None:
        """Give the model a chain of its own; lines: what its `candidate` does after the data are frozen."""
        source = self.pipeline / "pipeline.py"
        body = "".join(f"    {line}\n" for line in ("data, checked = frozen_data(spec)", *lines))
        chain = (
            "from lockgate import brought, frozen_data, steps\nfrom lockgate.definition.graph import add\n\n"
            f"def candidate(spec):\n{body}\nMODEL = ModelSpec(\n    candidate=candidate,"
        )
        text = source.read_text(encoding="utf-8").replace("MODEL = ModelSpec(", chain)
        source.write_text(text.replace('    tunable=("mitigation", "threshold", "seed"),\n', ""), encoding="utf-8")

    def give_rollout(self, rollout: str) -> None:
        """Write a rollout into the spec, e.g. `Shadow(share=10)`, and rules that judge it into the policy."""
        source, policy = self.pipeline / "pipeline.py", self.pipeline / "policy.toml"
        kind = rollout.partition("(")[0]
        text = source.read_text().replace("import Data", f"import {kind}, Serving, Data")
        source.write_text(text.replace("    tunable", f"    serving=Serving(rollout={rollout}),\n    tunable"))
        policy.write_text(policy.read_text() + CANARY_RULES)

    def twin(self, root: Path) -> "Project":
        """Return a copy whose files may be changed; it shares keys, store, runs and platform with this one."""
        shutil.copytree(self.pipeline, root / "pipelines" / MODEL)
        (root / ".lockgate").symlink_to(self.state.resolve())
        return Project(root, self.port)

    def own_state(self, *own: str) -> None:
        """Replace a twin's shared state by a real folder with its own copies of these entries, if they exist."""
        shared = self.state.resolve()
        self.state.unlink()
        self.state.mkdir()
        for entry in shared.iterdir():
            if entry.name not in own:
                (self.state / entry.name).symlink_to(entry)
            elif entry.is_dir() and entry.name != "runs":
                shutil.copytree(entry, self.state / entry.name)

    @property
    def pipeline(self) -> Path:
        """The model's folder."""
        return self.root / "pipelines" / MODEL

    @property
    def state(self) -> Path:
        """The folder of the local state."""
        return self.root / ".lockgate"

    @property
    def store(self) -> Store:
        """The store of its environment."""
        return store_of(Environment.below(self.state / "environment"))

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its commands: as for a user, without a terminal."""
        dropped = ("LOCKGATE_", "JUPYTERHUB_", "FORCE_COLOR", "COLUMNS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        cache = {"LOCKGATE_CACHE": os.environ["LOCKGATE_CACHE"]} if "LOCKGATE_CACHE" in os.environ else {}
        # The key of an approver is in the user's own folder, which is not that of the person who runs the tests.
        settings = self.state.resolve().parent / "config"
        (settings / "pip").mkdir(parents=True, exist_ok=True)
        theirs = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pip" / "pip.conf"
        if theirs.is_file() and not (settings / "pip" / "pip.conf").exists():
            (settings / "pip" / "pip.conf").symlink_to(theirs)
        return {**kept, **cache, "LOCKGATE_PORT": str(self.port), "XDG_CONFIG_HOME": str(settings)}

    @property
    def approver_key(self) -> Path:
        """The key that signs waivers, as `lockgate waive` makes and finds it."""
        with patch.dict(os.environ, self.variables):
            return approver_key(Environment.below(self.state / "environment"))

    def start(self, *arguments: str, more: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start `lockgate ARGUMENTS` in the project."""
        return subprocess.Popen(
            [sys.executable, "-m", "lockgate", *arguments],
            cwd=self.root,
            env={**self.variables, **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lockgate(self, *arguments: str, more: Mapping[str, str] | None = None) -> Done:
        """Run `lockgate ARGUMENTS` in the project."""
        return ended(self.start(*arguments, more=more))

    def live(self) -> bytes | None:
        """Return the bytes of the live pointer in the store; None before the first release."""
        try:
            return self.store.read(f"models/{MODEL}/live.json").data
        except Missing:
            return None

    def records(self) -> dict[str, bytes]:
        """Return every pointer and record of the model in the store, without the platform's status."""
        prefix = f"models/{MODEL}/"
        keys = [key for key in self.store.list(prefix) if key.endswith(".json") and not key.endswith("/status.json")]
        return {key.removeprefix(prefix): self.store.read(key).data for key in keys}

    @property
    def bundle(self) -> str:
        """The digest of the live bundle."""
        return str(json.loads(self.live() or b"{}")["bundle"])

    @property
    def generation(self) -> int:
        """The generation of the live pointer."""
        return int(json.loads(self.live() or b'{"generation": 0}')["generation"])

    def ask(self) -> dict[str, Any]:
        """Send one request to the public address; return the whole response."""
        return infer(f"http://127.0.0.1:{self.port}", MODEL, ASKED, seconds=60)

    def answers(self) -> str:
        """Return the digest of the bundle that serves users."""
        return str(self.ask()["parameters"]["bundle"])

    def run_ids(self) -> set[str]:
        """Return the ids of all recorded runs."""
        return {path.parent.name for path in (self.state / "runs").glob("*/run.json")}

    def node(self, run: str, step: str) -> Path:
        """Return the folder of a step's last attempt."""
        folders = (self.state / "runs" / run / "nodes").glob("*")
        called = "onExit" if step == "conclude" else step
        found = sorted(path for path in folders if re.fullmatch(rf"(.*\.)?{called}(\.\d+)?", path.name))
        return found[-1]

    def bench(self, run: str, step: str, folder: Path) -> "Bench":
        """Recreate the inputs of a run's step: its files as copies, its environment and its key."""
        uid = json.loads((self.state / "runs" / run / "run.json").read_bytes())["uid"]
        bench = Bench(CATALOG.program(step), folder, run, uid)
        folder.mkdir(parents=True)
        (folder / "tmp").mkdir()
        given = self.node(run, step) / "in"
        shutil.copytree(given, folder / "in") if given.is_dir() else (folder / "in").mkdir()
        kept = self.state / "environment"
        (folder / "environment").symlink_to(kept / "lockgate-environment")
        if bench.program.contract["signs"]:
            (folder / "key").symlink_to(kept / f"lockgate-key-{step}")
        return bench


CATALOG = Catalog.find()


@dataclass(frozen=True)
class Bench:
    """A program and its /lockgate folder, to run it without an engine."""

    program: Program
    folder: Path
    run: str
    uid: str = "uid-1"

    def call(self, *arguments: str) -> Done:
        """Run the program in its image's environment."""
        module = [*self.program.command[1:], *self.program.args, *arguments]
        argv, env = command(Installed(CATALOG)(self.program.image), module)
        return self.execute(argv, env)

    def execute(self, argv: Sequence[str], env: Mapping[str, str]) -> Done:
        """Run a command with the variables of a pod."""
        kept = {name: value for name, value in env.items() if not name.startswith("LOCKGATE_")}
        pod = {
            "LOCKGATE_IO": str(self.folder), "LOCKGATE_RUN": self.run, "LOCKGATE_UID": self.uid,
            "LOCKGATE_IMAGE": "", "LOCKGATE_PINS": "{}",
        }  # fmt: skip
        done = subprocess.run(
            argv,
            env={**kept, **pod, "TMPDIR": str(self.folder / "tmp")},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def input(self, name: str) -> Path:
        """Return the path of an input."""
        return self.folder / "in" / name

    @property
    def written(self) -> set[str]:
        """Every file below out/, as relative paths."""
        out = self.folder / "out"
        return {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}

    @property
    def termination(self) -> str:
        """The termination message."""
        path = self.folder / "termination"
        return path.read_text("utf-8", "replace") if path.is_file() else ""


def ended(process: "subprocess.Popen[str]") -> Done:
    """Wait for a command; return its result."""
    out, err = process.communicate(timeout=900)
    return Done(process.returncode, out, err)


@contextmanager
def unharmed(project: Project) -> Iterator[None]:
    """Check that the block does not change the live version, and that it still serves."""
    before = project.live()
    yield
    assert (project.live(), project.answers()) == (before, project.bundle)


@contextmanager
def platform(project: Project) -> Iterator[Project]:
    """Stop the project's platform at the end."""
    try:
        yield project
    finally:
        project.lockgate("serve", "--stop")


def release(project: Project) -> None:
    """Release a first version; its steps' files stay, so that a test can run a step again."""
    done = project.lockgate("run", MODEL, "--keep")
    assert done.code == 0, done.said
    assert project.answers() == project.bundle
