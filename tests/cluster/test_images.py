"""The images as a cluster pulls them: their user, their content, and the size of a change."""

import json
import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lockgate_step import tree_digest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Project
from lockgate.images.pins import images as images_of
from tests import workshop
from tests.cluster.cluster import Cluster
from tests.cluster.images import base, manifest, push_changed, push_image, storage, storage_in
from tests.cluster.place import ROOT

IMAGES = images_of(Project(ROOT))
CODE_AT_MOST = 1_000_000
HELD = (
    "run", "--rm", "--pull=never", "--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL",
    "--security-opt=no-new-privileges", "--network=none", "--log-driver=none",
)  # fmt: skip
# Python is the only program in an image: no shell, installer or compiler under any name.
PROGRAMS = {"python3.11"}
INSTALLERS = {"pip", "setuptools", "wheel", "uv"}
INSTALLED = """
from importlib.metadata import distributions
found = list(distributions(path=["/packages"]))
print(*sorted(f"{d.name} {d.version}" for d in found), sep="\\n")
missing = [str(file) for d in found for file in d.files or () if not file.locate().exists()]
assert not missing, missing
"""
# The environment markers of an image, independent of the machine that runs this test.
MACHINE = {
    "implementation_name": "cpython", "os_name": "posix", "platform_machine": os.uname().machine,
    "platform_python_implementation": "CPython", "platform_system": "Linux", "python_full_version": "3.11.2",
    "python_version": "3.11", "sys_platform": "linux",
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(cluster: Cluster) -> dict[str, str]:
    """The environment with which podman and buildah trust the cluster's registry."""
    return {**storage(), "SSL_CERT_FILE": str(cluster.ca)}


@pytest.fixture(scope="module")
def pulled(engine: Mapping[str, str], images: Mapping[str, str]) -> dict[str, str]:
    """Every image, pulled from the registry: name -> reference by digest."""
    for reference in images.values():
        output(engine, "podman", "pull", "--quiet", reference)
    return dict(images)


def output(environment: Mapping[str, str], *argv: str, folder: Path = ROOT) -> str:
    """The output of a command, which must succeed."""
    done = subprocess.run(argv, cwd=folder, env=dict(environment), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.sample
@pytest.mark.parametrize("name", IMAGES)
def test_it_runs_as_an_ordinary_user_who_may_write_nowhere(
    engine: Mapping[str, str], pulled: Mapping[str, str], name: str
) -> None:
    script = """
import os, sys
print(os.getuid(), os.getgid(), [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")])
for folder, _, _ in os.walk("/"):
    if folder.split("/")[1] not in ("proc", "dev", "sys") and os.access(folder, os.W_OK):
        sys.exit(f"may write to {folder}")
"""
    assert output(engine, "podman", *HELD, pulled[name], "python", "-c", script) == f"65532 65532 ['{0:016x}']"


@pytest.mark.parametrize("name", IMAGES)
def test_each_of_its_programs_starts_from_a_read_only_root(
    engine: Mapping[str, str], pulled: Mapping[str, str], name: str
) -> None:
    project = Project(ROOT)
    own = [program for model in project.models.values() for program in model.own_programs.values()]
    programs = [p for p in [*Catalog.find().programs.values(), *own] if p.image == name]
    assert programs
    for program in programs:
        helped = output(engine, "podman", *HELD, pulled[name], *program.command, *program.args, "--help")
        assert "exit codes: 0 done" in helped


@pytest.mark.parametrize("name", IMAGES)
def test_it_holds_no_shell_installer_compiler_or_any_program_but_python(
    engine: Mapping[str, str], pulled: Mapping[str, str], name: str
) -> None:
    root = Path(output(engine, "podman", "image", "mount", pulled[name]))
    try:
        files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
        may_run = [path for path in files if path.stat().st_mode & 0o111 and ".so" not in path.name]
        # An executable text file needs an interpreter.
        programs = {path.name for path in may_run if path.read_bytes()[:4] == b"\x7fELF"}
        assert programs == PROGRAMS
        scripts = {path.read_bytes().partition(b"\n")[0] for path in may_run if path.read_bytes()[:2] == b"#!"}
        assert {line for line in scripts if b"python" not in line} == set()
        assert [path for path in files if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)] == []
        installers = {path.name for path in (root / "packages").iterdir()} & INSTALLERS
        assert installers <= set(locked(name))
        assert list(root.glob("usr/lib/python3*/ensurepip")) == []
    finally:
        output(engine, "podman", "image", "unmount", pulled[name])


def locked(name: str) -> dict[str, str]:
    """The packages that an image's lock requires on a cluster's machine: name -> version."""
    lines = IMAGES[name].lock.read_text().replace("\\\n", "").splitlines()
    required = [Requirement(line.split("--hash")[0].strip()) for line in lines if line and line[0] not in " #-"]
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in required
        if each.marker is None or each.marker.evaluate(MACHINE)
    }


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_installed_is_exactly_its_lock(engine: Mapping[str, str], pulled: Mapping[str, str], name: str) -> None:
    lines = output(engine, "podman", *HELD, pulled[name], "python", "-c", INSTALLED).splitlines()
    assert {canonicalize_name(line.split()[0]): line.split()[1] for line in lines} == locked(name)


def test_no_image_makes_a_node_pull_much_when_a_program_changes(cluster: Cluster, images: Mapping[str, str]) -> None:
    for name, reference in images.items():
        layers = manifest(reference, cluster.ca)["layers"]
        assert len(layers) == 3, name
        assert layers[-1]["size"] <= CODE_AT_MOST, name


def test_another_code_changes_the_last_layer_alone(cluster: Cluster, images: Mapping[str, str], tmp_path: Path) -> None:
    changed = push_changed(tmp_path)
    before, after = (layers(cluster, each) for each in (images["credit-fit"], changed))
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]


def test_the_same_lock_code_and_base_give_the_same_digest_with_nothing_kept(
    engine: Mapping[str, str], images: Mapping[str, str], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    (project / "pipelines").mkdir(parents=True)
    kept = tmp_path / "base.tar"
    output(engine, "buildah", "push", "--quiet", base(), f"oci-archive:{kept}:{base()}")
    apart = {**storage_in(tmp_path / "apart"), "SSL_CERT_FILE": engine["SSL_CERT_FILE"]}
    try:
        output(apart, "buildah", "pull", "--quiet", f"oci-archive:{kept}")
        again = push_image(project, "smoke-test", apart)
    finally:
        subprocess.run(["umount", str(tmp_path / "apart" / "root" / "overlay")], capture_output=True, check=False)
    assert again == images["smoke-test"]


def test_the_base_is_the_same_twice(tmp_path: Path) -> None:
    script = Catalog.find().root / "images" / "base" / "debian.sh"
    made: list[bytes] = []
    for name in ("first.tar", "second.tar"):
        subprocess.run(["sh", str(script), str(tmp_path / name)], check=True, umask=0o077 if made else 0o022)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]


def layers(cluster: Cluster, reference: str) -> list[str]:
    """The digests of an image's layers, starting with the base."""
    return [each["digest"] for each in manifest(reference, cluster.ca)["layers"]]


@pytest.fixture(scope="module")
def project(images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[workshop.Project]:
    """The small model, with the images' lock."""
    project = workshop.Project.make(tmp_path_factory.mktemp("project"))
    (project.root / "images").mkdir()
    (project.root / "images" / "images.lock.json").write_text(json.dumps(images))
    with workshop.platform(project):
        yield project


def judged(result: Mapping[str, Any]) -> dict[str, Any]:
    """Each gate's result, rules and measurements, without the signatures."""
    verdicts = {step["name"]: step["verdict"] for step in result["steps"] if step["verdict"]}
    return {
        name: [verdict["result"], [reason["rule"] for reason in verdict["reasons"]], verdict["measurements"]]
        for name, verdict in verdicts.items()
        if name != "smoke-test"  # it measures time
    }


def test_a_run_in_podman_is_the_run_of_processes(
    engine: Mapping[str, str], project: workshop.Project, pulled: Mapping[str, str], tmp_path: Path
) -> None:
    del pulled
    done = project.lockgate("run", workshop.MODEL, "--in", "podman", "--keep", "--json", more=engine)
    assert done.code == 0, done.said
    inside = json.loads(done.out)
    assert project.answers() == project.bundle
    twin = workshop.Project.make(tmp_path)
    with workshop.platform(twin):
        outside = json.loads(twin.lockgate("run", workshop.MODEL, "--keep", "--json").out)
        assert [(step["name"], step["outcome"]) for step in inside["steps"]] == [
            (step["name"], step["outcome"]) for step in outside["steps"]
        ]
        assert judged(inside) == judged(outside)
        model, same = (each.node(run["run"], "train") for each, run in ((project, inside), (twin, outside)))
        assert tree_digest(model / "out" / "model") == tree_digest(same / "out" / "model")


def test_a_run_in_podman_needs_images_of_this_very_code(
    engine: Mapping[str, str], project: workshop.Project, pulled: Mapping[str, str]
) -> None:
    lock = project.root / "images" / "images.lock.json"
    kept = lock.read_text()
    try:
        lock.unlink()
        project.lockgate("run", workshop.MODEL, "--in", "podman", more=engine).check(
            2, "images not built yet: bias-audit"
        )
        lock.write_text(json.dumps({**pulled, "train": pulled["deploy"]}))
        ended = project.lockgate("run", workshop.MODEL, "--in", "podman", more=engine)
        ended.check(2, "image of deploy|image of train")
    finally:
        lock.write_text(kept)
