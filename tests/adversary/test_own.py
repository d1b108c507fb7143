"""A model's own step cannot take the name, the key, the account or the credentials of Lockgate's programs."""

import json
import os
import sqlite3
import sys
from pathlib import Path

import pytest

from lockgate.cli.main import run_app
from lockgate.definition.catalog import Catalog, Program
from lockgate.definition.contract import own_step
from lockgate.definition.project import Project
from lockgate.engine import Environment, Launch, ProcessRuntime, isolates
from lockgate.errors import SpecError
from lockgate.images.environments import Environments
from lockgate.images.pins import built, images
from lockgate.images.places import places
from lockgate.records.environment import ensure_environment
from lockgate.rendering.files import model_files
from tests import workshop

HEAD = '''\
# /// script
# dependencies = []
# ///
"""A step."""
from lockgate_step import BiasVerdict, In, Out, Passed, Table, main, program


'''


def step(folder: Path, *, file: str = "mine", function: str = "mine", marks: str = "") -> Path:
    """Write a step of a model's author."""
    source = folder / f"{file}.py"
    body = (
        f'@program({marks})\ndef {function}(rows: In[Table], verdict: Out[BiasVerdict]) -> Passed:\n    """Pass."""\n'
    )
    source.write_text(HEAD + body, encoding="utf-8")
    return source


def test_a_step_with_the_gates_name_and_key_replaces_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = workshop.Project.make(tmp_path)
    monkeypatch.chdir(project.root)
    step(project.pipeline, file="bias_audit", function="bias_audit", marks="signs=True, gate=True")
    commands = (["render"], ["render", "--check"], ["run", "grants", "--no-serve"], ["doctor"])
    for command in commands:
        assert run_app(command) == 2, command
        said = capsys.readouterr()
        assert "bias-audit has the name of Lockgate's own bias-audit" in said.out + said.err, command
    assert not (project.root / "workflows").exists()


@pytest.mark.parametrize(
    "name",
    ["bias_audit", "Bias_Audit", "bias__audit", "biasaudit", "b1as_audit", "bias_aud1t", "validate_m0del", "waive",
     "promote", "train", "model_server", "bi\u0430s_audit", "b\u0131as_audit", "bias_audi\uff54", "_mine", "mine_"],
)  # fmt: skip
@pytest.mark.parametrize("where", ["file", "function"])
def test_no_name_is_taken_or_looks_like_one(tmp_path: Path, name: str, where: str) -> None:
    with pytest.raises(SpecError, match=r"Lockgate's own|not a valid name"):
        own_step(step(tmp_path, **{where: name}), "grants")


@pytest.mark.parametrize(
    "marks",
    ["signs=True", "gate=True", "uses=['store']", "uses=['platform']", "uses=['registry', 'store']",
     "image='bias-audit'"],
)  # fmt: skip
def test_no_right_of_the_platform_is_given(tmp_path: Path, marks: str) -> None:
    with pytest.raises(SpecError, match=r"mine\.py: mine "):
        own_step(step(tmp_path, marks=marks), "grants")


def test_a_models_name_and_a_files_name_do_not_make_a_shipped_image(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="model-server"):
        own_step(step(tmp_path, file="server"), "model")


def test_an_honest_step_is_accepted(tmp_path: Path) -> None:
    program = own_step(step(tmp_path, marks="uses=['registry']"), "grants")
    assert (program.name, program.image) == ("mine", "grants-mine")


WRITES = """
import os, sqlite3, sys
database = sys.argv[-1]
with sqlite3.connect(database) as registry:
    assert registry.execute("select location from experiments").fetchall() == [("artifacts",)]
folder = os.path.dirname(database)
tries = [
    lambda: sqlite3.connect(database).execute("update experiments set location = '/elsewhere'").connection.commit(),
    lambda: open(database, "ab"),
    lambda: open(database + "-journal", "wb"),
    lambda: open(folder + "/artifacts/model.onnx", "wb"),
    lambda: os.symlink("/elsewhere", folder + "/artifacts/link"),
    lambda: os.rename(database, folder + "/other.db"),
    lambda: os.unlink(database),
]
written = 0
for attempt in tries:
    try:
        attempt()
        written += 1
    except (OSError, sqlite3.OperationalError):
        pass
sys.exit(written)
"""


@pytest.mark.skipif(not isolates(), reason="this kernel has no Landlock")
def test_an_own_step_reads_the_registry_and_cannot_steer_where_package_writes(tmp_path: Path) -> None:
    """MLflow's file says where the files of a version are written."""
    project = workshop.Project.make(tmp_path)
    source = step(project.pipeline, marks="uses=['registry']")
    source.write_text(source.read_text(encoding="utf-8") + WRITES, encoding="utf-8")
    project.give_chain(
        'add("mine", "mine", {"rows": data.rows}, {}, checked.verdict)',
        "return brought(steps.train(data.rows), data, checked)",
    )
    owner, catalog = Project(project.root), Catalog.find()
    model, environment = owner.model("grants"), ensure_environment(owner, ["package"])
    database = Path(environment.setting("registry").removeprefix("sqlite:///"))
    (database.parent / "artifacts").mkdir(parents=True)
    with sqlite3.connect(database) as registry:
        registry.execute("create table experiments as select 'artifacts' as location")
    places_of = places(catalog, model, environment, "")

    def launch(program: Program) -> Launch:
        (tmp_path / "node" / "tmp").mkdir(parents=True, exist_ok=True)
        args, given = (*program.args, str(database)), (sys.stdout.buffer, sys.stderr.buffer)
        return Launch(program.image, program.command, args, {}, tmp_path / "node", {}, *given)

    code = (catalog.sdk, project.pipeline)
    packages = Environment(Path(sys.executable), {"PYTHONPATH": os.pathsep.join(map(str, code))}, code=code)
    runtime = ProcessRuntime(lambda image: packages, Environments(tmp_path / "cache"), places_of)
    mine = model.own_programs["mine"]
    runtime.prepare([mine.image], lambda what: None)
    assert runtime.start(launch(mine)).wait() == 0
    writers = {
        name for name, program in catalog.programs.items()
        if any(each.writable and each.path == database.parent for each in places_of(launch(program)))
    }  # fmt: skip
    assert writers == {"package"}


def test_two_models_do_not_share_the_image_of_a_step(tmp_path: Path) -> None:
    project = workshop.Project.make(tmp_path)
    for model, file in (("gra", "nts_mine"), ("gra-nts", "mine")):
        folder = project.root / "pipelines" / model.replace("-", "_")
        folder.mkdir()
        text = workshop.PIPELINE.replace('name="grants"', f'name="{model}"')
        (folder / "pipeline.py").write_text(text, encoding="utf-8")
        step(folder, file=file)
    with pytest.raises(SpecError, match="two steps would have the image gra-nts-mine"):
        images(Project(project.root))


def test_an_own_task_does_not_carry_the_name_of_a_program(tmp_path: Path) -> None:
    project = workshop.Project.make(tmp_path)
    project.give_chain(
        'add("mine", "fetch", {"rows": data.rows}, {}, checked.verdict)',
        "return brought(steps.train(data.rows), data, checked)",
    )
    step(project.pipeline)
    with pytest.raises(SpecError, match="named fetch"):
        _render(project.root)


@pytest.mark.parametrize("rows", ["data.test", "data.truth", "data.sensitive", "data.base"])
def test_no_chain_reads_the_rows_that_it_is_judged_on(tmp_path: Path, rows: str) -> None:
    """A model that has seen its test rows passes every gate."""
    project = workshop.Project.make(tmp_path)
    project.give_chain(f"return brought(steps.train({rows}, after=checked.verdict), data, checked)")
    with pytest.raises(SpecError, match=f"held-out: .*train reads {rows.removeprefix('data.')}, which only the gates"):
        _render(project.root)


def _render(root: Path) -> dict[Path, bytes]:
    project = Project(root)
    return model_files(project, project.model("grants"), check=True)


def test_an_unbuilt_image_has_a_name_that_no_registry_can_have(tmp_path: Path) -> None:
    project = workshop.Project.make(tmp_path)
    release = _render(project.root)[project.root / "workflows" / "grants" / "release.yaml"].decode()
    names = {line.split(": ", 1)[1] for line in release.splitlines() if line.strip().startswith("image: ")}
    assert names
    assert all(name.startswith("lockgate.invalid/") and name.endswith(":unbuilt") for name in names)


@pytest.mark.parametrize(
    "reference",
    ["registry.example.org/train:latest", "train@sha256:" + "0" * 64, "lockgate/train@sha256:" + "0" * 64,
     "registry.example.org/train@sha256:00", "", "registry.example.org/x' + string(1) + '@sha256:" + "0" * 64,
     'registry.example.org/"]|| true || ["@sha256:' + "0" * 64, "registry.example.org/train@sha256:" + "0" * 64 + "\n",
     "registry.example.org/train@sha256:" + "0" * 64 + "' || true", "registry.example.org/train@sha256:" + "A" * 64,
     ["registry.example.org/train@sha256:" + "0" * 64], {"a": 1}, 5, None],
)  # fmt: skip
def test_a_reference_without_registry_and_digest_is_refused(tmp_path: Path, reference: object) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "images.lock.json").write_text(json.dumps({"train": reference}), encoding="utf-8")
    with pytest.raises(SpecError, match="not a reference by digest"):
        built(Project(tmp_path))


@pytest.mark.parametrize("text", ["5", "[]", '"x"', "null", "{", "[" * 100_000], ids=lambda text: text[:9])
def test_a_lock_of_images_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "images.lock.json").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="is not a JSON object"):
        built(Project(tmp_path))
