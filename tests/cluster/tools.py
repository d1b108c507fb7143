"""Build the programs of Kubernetes, Argo and Prometheus from pinned Go modules, cached by the digest of their pins.

No registry with ready-made binaries is needed: `tools/<name>/go.mod` and `go.sum` pin each source to the byte.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent / "tools"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lockgate" / "tools"
STATIC = {
    "CGO_ENABLED": "0",  # argoexec starts in an empty image
    # Without debug information: it takes a fifth of the build time.
    "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false -gcflags=all=-dwarf=false",
}


@dataclass(frozen=True)
class Tool:
    """A Go module and the programs built from it."""

    name: str
    module: str
    packages: tuple[str, ...]
    version_flags: tuple[str, ...] = ()
    tags: str = ""


ARGO = "github.com/argoproj/argo-workflows/v3"
DISTRIBUTION = "github.com/distribution/distribution/v3"
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
TOOLS = (
    Tool(
        "kubernetes",
        "k8s.io/kubernetes",
        tuple(f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES),
        # Without these every component has the version v0.0.0 and rejects the others as too old.
        tuple(
            f"-X k8s.io/{package}/version.git{field}={{{field}}}"
            for package in ("component-base", "client-go/pkg")
            for field in ("Version", "Major", "Minor")
        ),
    ),
    Tool("etcd", "go.etcd.io/etcd/server/v3", ("go.etcd.io/etcd/server/v3",)),
    Tool("coredns", "github.com/coredns/coredns", ("github.com/coredns/coredns",)),
    Tool(
        "registry", "github.com/distribution/distribution/v3", ("github.com/distribution/distribution/v3/cmd/registry",)
    ),
    Tool(
        "argo",
        "github.com/argoproj/argo-workflows/v3",
        tuple(
            f"github.com/argoproj/argo-workflows/v3/cmd/{name}" for name in ("workflow-controller", "argoexec", "argo")
        ),
        ("-X github.com/argoproj/argo-workflows/v3.version={Version}",),
    ),
    Tool(
        "prometheus",
        "github.com/prometheus/prometheus",
        tuple(f"github.com/prometheus/prometheus/cmd/{name}" for name in ("prometheus", "promtool")),
        tags="remove_all_sd",  # without the clients of thirty clouds: the tests name the targets
    ),
)
PROGRAM = {"go.etcd.io/etcd/server/v3": "etcd"}  # packages whose last part is not the program's name


def build(say: Callable[[str], None] = print) -> Path:
    """Build what is not cached yet; return the folder of programs.

    Errors: SystemExit with the compiler's output, or if Go is not installed.
    """
    if not shutil.which("go"):
        sys.exit("Building the cluster's programs needs Go 1.26 or newer. Next: install it, or set KUBECONFIG")
    folder = CACHE / digest()
    if made():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for tool in TOOLS:
        missing = [p for p in tool.packages if not (folder / program(p)).exists()]
        if missing:
            say(f"building {', '.join(program(p) for p in missing)} {version(tool)} (once; minutes)")
            _build(tool, missing, folder)
    (folder / "made").touch()
    return folder


def made() -> bool:
    """Return whether every program is built."""
    return (CACHE / digest() / "made").exists()


def program(package: str) -> str:
    """Return the name of the program that is built from a Go package."""
    return PROGRAM.get(package, package.rsplit("/", 1)[-1])


def version(found: Tool) -> str:
    """Return the pinned version of a tool's module, from its go.mod."""
    lines = (HERE / found.name / "go.mod").read_text(encoding="utf-8").splitlines()
    return next(line.split()[1] for line in lines if line.split()[:1] == [found.module])


def tool(name: str) -> Tool:
    """Return a tool by name."""
    return next(t for t in TOOLS if t.name == name)


def module(name: str) -> Path:
    """Return the read-only folder of a tool's module source, which contains CRDs and manifests."""
    found = tool(name)
    argv = ["go", "mod", "download", "-json", f"{found.module}@{version(found)}"]
    return Path(json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)["Dir"])


def digest() -> str:
    """Return one digest of every pin, option and file of ours that is built in."""
    total = hashlib.sha256(repr((TOOLS, STATIC)).encode())
    for path in sorted(p for p in HERE.rglob("*") if p.is_file()):
        total.update(path.relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def _build(tool: Tool, packages: list[str], into: Path) -> None:
    number = version(tool)
    major, minor, _ = number.removeprefix("v").split(".", 2)
    flags = " ".join(tool.version_flags).format(Version=number, Major=major, Minor=minor)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for pins in ("go.mod", "go.sum"):
            shutil.copyfile(HERE / tool.name / pins, work / pins)
        if tool.name == "argo":
            _complete(tool, work)
        # All at once, because linking one of them uses only one core. Go names the files, except of a single package.
        output = str(into / program(packages[0])) if len(packages) == 1 else f"{into}/"
        argv = ["go", "build", f"-tags={tool.tags}", f"-ldflags=-s -w {flags}", "-o", output, *packages]
        done = subprocess.run(argv, cwd=work, env={**os.environ, **STATIC}, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"building {', '.join(map(program, packages))} failed:\n{done.stderr[-4000:]}")


def _complete(tool: Tool, work: Path) -> None:
    """Copy the module next to the pins, and add two missing files: one for Linux and the UI's page."""
    source = work / "source"
    shutil.copytree(module(tool.name), source, copy_function=shutil.copyfile)
    for folder in (source, *(p for p in source.rglob("*") if p.is_dir())):
        folder.chmod(0o755)
    shutil.copytree(
        HERE / tool.name / "osspecific", source / "workflow" / "executor" / "osspecific", dirs_exist_ok=True
    )
    page = source / "ui" / "dist" / "app" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<!doctype html><title>Argo</title>The UI is not part of the tests' cluster.\n", encoding="utf-8")
    subprocess.run(["go", "mod", "edit", f"-replace={tool.module}=./source"], cwd=work, check=True)


if __name__ == "__main__":
    print(build())
