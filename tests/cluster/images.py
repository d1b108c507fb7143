"""Build a project's images for tests: on a base of Debian packages, pushed to a registry by Lockgate's own commands.

python -m tests.cluster.images REGISTRY CA.pem [PROJECT]      writes PROJECT/images/images.lock.json

Built images are kept outside the checkout, named by content. A second build takes seconds; after a change of a step's
code, a second per image; after a change of a lock, the time to install its packages.
"""

import hashlib
import json
import os
import resource
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Project
from lockgate.images import build, build_tools
from lockgate.images.build import Target
from lockgate.images.pins import LOCK, images, source_digest
from tests.cluster import tools
from tests.cluster.place import CA, REGISTRY, ROOT

FOLDER = tools.CACHE.parent / "images"
CHANGED = "credit-fit"  # a user's own one-file step
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def push_images(project: Path, registry: str, certificate: Path) -> dict[str, str]:
    """Build and push a project's images that are not in the registry; returns and records each reference by digest.

    registry: host and folder.
    certificate: of the authority that signed the registry's certificate.

    Errors: CalledProcessError with Lockgate's output.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / "lock"):
        kept = FOLDER / f"{_digest(Project(project), registry)}.json"
        known = json.loads(kept.read_bytes()) if kept.exists() else {}
        if not known or not all(_in_registry(reference, certificate) for reference in known.values()):
            _lockgate(project, "build", f"--base={base()}", f"--registry={registry}", environment=storage())
            trusted = {**storage(), "SSL_CERT_FILE": str(certificate)}
            pushed = _lockgate(project, "push", f"--registry={registry}", environment=trusted)
            known = {name: entry["reference"] for name, entry in json.loads(pushed).items()}
            kept.write_text(json.dumps(known))
    lock = project / LOCK
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    return known


def push_image(project: Path, name: str, environment: Mapping[str, str] | None = None) -> str:
    """Build and push one image of a project; returns its reference by digest.

    environment: names the store of images; by default the tests' own store. Errors: CalledProcessError.
    """
    where, chosen = environment or storage(), (f"--registry={REGISTRY}/lockgate", f"--only={name}")
    plain = {
        key: value for key, value in where.items() if key != "SSL_CERT_FILE"
    }  # the package index has another authority
    _lockgate(project, "build", f"--base={base()}", *chosen, environment=plain)
    pushed = _lockgate(project, "push", *chosen, environment={**where, "SSL_CERT_FILE": str(CA)})
    return str(json.loads(pushed)[name]["reference"])


def push_changed(project: Path) -> str:
    """Push the image of CHANGED with one more line in its program; returns its reference by digest."""
    folder = shutil.copytree(ROOT / "pipelines" / "credit", project / "pipelines" / "credit")
    with (folder / "fit.py").open("a") as program:
        program.write("# a change\n")
    return push_image(project, CHANGED)


def base() -> str:
    """The tag of an image with only Debian's Python; built first if it does not exist."""
    source = Catalog.find().root / "images" / "base"
    files = [source / "Dockerfile", source / "debian.sh"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    tag = f"localhost/lockgate/base:{digest}"
    if subprocess.run(["buildah", "images", "-q", tag], env=storage(), capture_output=True).returncode:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(files[0], Path(folder, "Dockerfile"))
            subprocess.run(["sh", str(files[1]), f"{folder}/root.tar"], check=True)
            same = ("--layers=false", "--timestamp=0", "--identity-label=false")
            subprocess.run(["buildah", "build", "--quiet", *same, f"--tag={tag}", folder], env=storage(), check=True)
    return tag


def static_image(name: str, files: Mapping[str, str], command: Sequence[str]) -> str:
    """Push an image of a few static files to the tests' registry, unless the name exists there; returns its reference.

    files: local path -> path in the image. Errors: CalledProcessError with buildah's output.
    """
    reference = f"{REGISTRY}/{name}:1"
    if _in_registry(reference, CA):
        return reference
    with tempfile.TemporaryDirectory() as folder:
        certificates = Path(folder, "certificates")
        certificates.mkdir()
        shutil.copyfile(CA, certificates / "ca.crt")
        buildah = ("buildah", f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=vfs")
        container = call([*buildah, "from", "scratch"]).strip()
        for source, target in files.items():
            call([*buildah, "copy", "--quiet", container, source, target])
        call([*buildah, "config", "--entrypoint", json.dumps(list(command)), container])
        call([*buildah, "commit", "--quiet", "--rm", container, reference])
        call([*buildah, "push", "--quiet", f"--cert-dir={certificates}", reference])
    return reference


def call(argv: Sequence[str], environment: Mapping[str, str] | None = None, given: str | None = None) -> str:
    """Run a command; returns its output. Errors: CalledProcessError with its output."""
    done = subprocess.run(
        list(argv), capture_output=True, text=True, input=given, env={**os.environ, **(environment or {})}
    )
    if done.returncode != 0:
        failed = subprocess.CalledProcessError(done.returncode, list(argv), done.stdout, done.stderr)
        failed.add_note(done.stderr[-2000:])
        raise failed
    return done.stdout


def storage() -> dict[str, str]:
    """This process's environment, with which buildah and podman keep images in the tests' own store."""
    return storage_in(FOLDER)


def storage_in(folder: Path) -> dict[str, str]:
    """This process's environment, with which buildah and podman keep images in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    store, containers = folder / "storage.conf", folder / "containers.conf"
    store.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n')
    # By default, podman gives a container higher limits than this process may have.
    files, processes = (resource.getrlimit(each)[1] for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    # Podman lowers its own limit to the kernel's number of processes and cannot raise it again.
    processes = min(processes, int(Path("/proc/sys/kernel/pid_max").read_text()))
    containers.write_text(
        f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]\n'
    )
    return {**os.environ, "CONTAINERS_STORAGE_CONF": str(store), "CONTAINERS_CONF": str(containers)}


def _digest(project: Project, registry: str) -> str:
    """One digest over the sources of the images and the code that builds them."""
    catalog = Catalog.find()
    by = [Path(module.__file__ or "") for module in (build, build_tools)]
    by += [catalog.root / "images" / "base" / name for name in ("Dockerfile", "debian.sh")]
    made = {name: source_digest(image) for name, image in images(project).items()}
    text = json.dumps([registry, Target.machine, made, [path.read_text() for path in by]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def manifest(reference: str, certificate: Path) -> dict[str, Any]:
    """The manifest of an image in a registry: its config and its layers, with their sizes in bytes as pulled.

    Errors: HTTPError, with status 404 if it does not exist.
    """
    host, _, rest = reference.partition("/")
    name, _, digest = rest.partition("@" if "@" in rest else ":")
    request = urllib.request.Request(f"https://{host}/v2/{name}/manifests/{digest}", headers={"Accept": MANIFESTS})
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=certificate)) as answer:
        return dict(json.load(answer))


def _in_registry(reference: str, certificate: Path) -> bool:
    try:
        return bool(manifest(reference, certificate))
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise


def _lockgate(project: Path, *arguments: str, environment: Mapping[str, str]) -> str:
    argv = [sys.executable, "-m", "lockgate", "images", *arguments, "--tool=buildah", "--json"]
    done = subprocess.run(argv, cwd=project, env=dict(environment), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, argv, done.stdout)
    return done.stdout


if __name__ == "__main__":
    where = Path(sys.argv[3] if len(sys.argv) > 3 else ".").resolve()
    for name, reference in push_images(where, sys.argv[1], Path(sys.argv[2])).items():
        print(f"{name:<20} {reference}")
