"""Somebody else on the same machine, a step of your own, and users that are not in the machine's list of users."""

import os
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
from lockgate_proof import Trust, sign, verify

from lockgate import folders
from lockgate.definition.project import Project as Owned
from lockgate.doctor import machine
from lockgate.errors import BadCall, OutsideFailed
from lockgate.images.environments import Environments, cache
from lockgate.images.installed import PYTHON
from lockgate.records.environment import (
    approver_key,
    ensure_environment,
    find_approver_key,
    make_keys,
    move_approver_key,
)
from lockgate.records.runs import Runs
from tests.workshop import MODEL, Done, Project, csv, ended, platform, rows

STRANGER = 54321
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
KEPT = {"verdict", "record", "record.json", "staged", "report", "card", "spec", "log", "stdout", "termination"}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose first version was released by a user with a usual umask, and without a home folder."""
    before = os.umask(0o022)
    with platform(Project.make(tmp_path_factory.mktemp("released"))) as project:
        nowhere = {"HOME": str(project.root / "missing"), "XDG_RUNTIME_DIR": "", "LOCKGATE_CACHE": str(cache())}
        done = project.lockgate("run", MODEL, more=nowhere)
        assert done.code == 0, done.said
        os.umask(before)
        yield project


def test_nobody_else_reads_what_lockgate_writes(released: Project) -> None:
    files = [released.state, *released.state.rglob("*"), *(released.root / "workflows").rglob("*")]
    assert len(files) > 100
    assert [path for path in files if not path.is_symlink() and path.stat().st_mode & 0o077] == []


def test_the_rows_of_a_run_are_gone_and_its_records_and_pages_stay(released: Project) -> None:
    (run,) = Runs(released.state / "runs").all()
    nodes = [path for path in (run.run.folder / "nodes").rglob("*") if path.is_file()]
    assert {path.name for path in nodes} <= KEPT, nodes
    assert {step.name for step in run.steps if step.verdict} == {
        "validate-data", "validate-model", "bias-audit", "smoke-test",
    }  # fmt: skip
    assert released.lockgate("report", "last").code == 0
    assert (run.run.folder / "report" / "index.html").is_file()
    assert released.lockgate("verify", MODEL).code == 0
    assert run.run.values["isolation"] in ("landlock", "none")


def test_a_copy_of_data_is_as_private_as_the_data(tmp_path: Path) -> None:
    data = tmp_path / "given.csv"
    data.write_bytes(csv(rows(300)))
    data.chmod(0o600)
    project = Project(tmp_path, 0)
    done = project.lockgate("new", "pensions", "--data", str(data), "--target", "granted")
    assert done.code == 0, done.said
    (copy,) = (tmp_path / "pipelines" / "pensions" / "data").iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


@pytest.mark.parametrize("made", ["link", "open", pytest.param("stranger", marks=root)])
def test_a_runtime_folder_that_somebody_else_made_is_refused(
    made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    folder, elsewhere = tmp_path / f"lockgate-{os.getuid()}", tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if made == "link":
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir()
        folder.chmod(0o777 if made == "open" else 0o700)
    if made == "stranger":
        os.chown(folder, STRANGER, STRANGER)
    with pytest.raises(BadCall) as refused:
        folders.runtime()
    assert str(folder) in refused.value.message
    assert "XDG_RUNTIME_DIR" in refused.value.fix
    assert not list(elsewhere.iterdir())
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(mine))
    assert folders.runtime() == mine / "lockgate"


def test_a_platform_does_not_start_beside_a_runtime_folder_of_somebody_else(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / f"lockgate-{os.getuid()}").symlink_to(tmp_path)
    project = Project.make(tmp_path / "project")
    done = project.lockgate("serve", more={"TMPDIR": str(shared), "XDG_RUNTIME_DIR": ""})
    done.check(2, "is not a folder, but a link")
    assert "XDG_RUNTIME_DIR" in done.err
    assert not (project.state / "serve" / "address.json").exists()


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_code_is_not_executed_from_a_folder_that_others_can_write(mode: int, tmp_path: Path) -> None:
    lock = tmp_path / "image" / "requirements.lock"
    lock.parent.mkdir()
    lock.write_text("")
    folder = tmp_path / "cache"
    environments = Environments(folder)
    environments.python(PYTHON, lock, lambda: None)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(mode)
    with pytest.raises(BadCall, match="other users can write it") as refused:
        environments.python(PYTHON, lock, lambda: None)
    assert "LOCKGATE_CACHE" in refused.value.fix


@root
def test_the_state_of_another_user_is_not_used(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project")
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    os.chown(theirs, STRANGER, STRANGER)
    project.state.symlink_to(theirs)
    done = project.lockgate("status")
    done.check(2, f"belongs to user {STRANGER}")
    assert not list(theirs.iterdir())


def test_a_machine_without_isolation_is_said_and_is_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "isolates", lambda: False)
    finding = machine._isolation()
    assert finding.well
    assert "steps are not isolated" in finding.found
    assert "--in podman" in finding.found


# --- the key of an approver


@pytest.fixture
def owned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Owned:
    """A project, and a user's own folder for keys."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "project" / "pipelines").mkdir(parents=True)
    return Owned(tmp_path / "project")


def test_the_key_of_an_approver_is_not_where_steps_run(owned: Owned, tmp_path: Path) -> None:
    environment = ensure_environment(owned, ["bias-audit"])
    assert find_approver_key(environment) is None
    key = approver_key(environment)
    assert key.parent == tmp_path / "config" / "lockgate" / "keys"
    assert (stat.S_IMODE(key.stat().st_mode), stat.S_IMODE(key.parent.stat().st_mode)) == (0o600, 0o700)
    assert approver_key(environment) == key
    assert not [path for path in owned.state.rglob("*") if "waive" in path.name]
    verify(sign("waiver", {}, {}, key), environment.trust, signer="waive")


def test_a_key_that_an_earlier_version_made_moves_and_stays_trusted(owned: Owned) -> None:
    environment = ensure_environment(owned, ["bias-audit"])
    make_keys(environment, ["waive"], environment.config / "trust.json", "this machine", untrusted_elsewhere=True)
    earlier = sign("waiver", {}, {}, environment.key("waive"))
    before = environment.trust
    assert "the steps of earlier runs could read it" in move_approver_key(environment)
    assert not environment.key("waive").parent.exists()
    assert environment.trust == before
    verify(earlier, Trust.read(environment.config / "trust.json"), signer="waive")
    verify(sign("waiver", {}, {}, approver_key(environment)), before, signer="waive")
    assert move_approver_key(environment) == ""


def test_without_a_folder_for_keys_the_message_names_what_to_set(
    owned: Owned, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = ensure_environment(owned, ["bias-audit"])
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    with pytest.raises(BadCall) as refused:
        approver_key(environment)
    assert "XDG_CONFIG_HOME" in refused.value.fix
    assert "--key" in refused.value.fix


# --- users that are not in the list of users, and home folders that do not exist

VERBS = {
    "status": (0, ["status"]),
    "doctor": (2, ["doctor"]),  # the manifests are not rendered yet
    "new": (0, ["new", "pensions", "--data", "pipelines/grants/data/rows.csv", "--target", "granted"]),
    "render": (0, ["render"]),
    "images": (0, ["images"]),
    "logs": (2, ["logs", "last"]),
    "report": (2, ["report", "last"]),
    "stop": (2, ["stop", "last"]),
    "verify": (2, ["verify", MODEL]),
    "waive": (2, ["waive", "last", "bias-audit/1"]),
    "predict": (2, ["predict", MODEL, "nothing.csv"]),
    "serve --stop": (0, ["serve", "--stop"]),
    "status -n": (2, ["status", "-n", "somewhere"]),
}


def as_stranger(project: Project, *arguments: str, more: Mapping[str, str] | None = None) -> Done:
    """Run `lockgate ARGUMENTS` as a user id that has no entry in the list of users, and without HOME."""
    # The capability to read: the interpreter of a test may be in the home folder of root.
    able = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    become = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", *able]
    env = {"PATH": os.defpath, "LANG": "C.UTF-8", "LOCKGATE_PORT": str(project.port), **(more or {})}
    return ended(
        subprocess.Popen(
            [*become, sys.executable, "-m", "lockgate", *arguments],
            cwd=project.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )


@root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_every_verb_works_for_a_user_id_without_an_entry(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    for path in (project.root, *project.root.rglob("*")):
        os.chown(path, STRANGER, STRANGER)
    for name, (code, arguments) in VERBS.items():
        done = as_stranger(project, *arguments)
        assert (done.code, "bug in Lockgate" in done.said, "Traceback" in done.said) == (code, False, False), (
            name,
            done.said,
        )
    where = "from lockgate.images.environments import cache; print(cache())"
    found = subprocess.run(
        ["setpriv", f"--reuid={STRANGER}", "--clear-groups", "--inh-caps=+dac_read_search",
         "--ambient-caps=+dac_read_search", sys.executable, "-c", where],
        cwd=project.root, env={"PATH": os.defpath}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == str(project.state / "environments")


@root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_a_project_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    for name in ("status", "render"):
        done = as_stranger(project, name)
        assert "bug in Lockgate" not in done.said, done.said
        assert str(project.root) in done.err
        assert "a folder of your own" in done.err


def test_a_home_folder_that_does_not_exist_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCKGATE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    (tmp_path / "pipelines").mkdir()
    monkeypatch.chdir(tmp_path)
    assert cache() == tmp_path / ".lockgate" / "environments"
    assert Environments(cache()).settings["UV_CACHE_DIR"].startswith(str(tmp_path / ".lockgate"))


# --- what an installation sees


def test_the_secrets_of_the_caller_are_not_given_to_the_installer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("ARGO_TOKEN", "secret")
    monkeypatch.setenv("UV_LINK_MODE", "symlink")
    settings = Environments(Path("unused")).settings
    assert "secret" not in settings.values()
    assert settings["UV_LINK_MODE"] == "hardlink"
    assert settings["PATH"] == os.environ["PATH"]


def test_no_code_of_a_package_is_executed_to_install_it(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    source = tmp_path / "evil-1.0.tar.gz"
    with tarfile.open(source, "w:gz") as archive:
        for name, text in {
            "setup.py": f"open({str(ran)!r}, 'w').write('ran')\nfrom setuptools import setup\nsetup()\n",
            "PKG-INFO": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
        }.items():
            entry = tarfile.TarInfo(f"evil-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, BytesIO(text.encode()))
    lock = tmp_path / "image" / "requirements.lock"
    lock.parent.mkdir()
    lock.write_text(f"evil @ {source.as_uri()} --hash=sha256:{sha256(source.read_bytes()).hexdigest()}\n")
    with pytest.raises(OutsideFailed):
        Environments(tmp_path / "cache").python(PYTHON, lock, lambda: None)
    assert not ran.exists()
