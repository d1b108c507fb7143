"""The files of this machine that every program needs: those of the operating system, and its Python's."""

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from lockgate.engine.runtime.launch import CERTIFICATES

# Semaphores and memory that processes share are files of /dev/shm. GPUs are devices, where there are any.
_DEVICES = ("null", "zero", "full", "random", "urandom", "shm", "dri", "kfd", "nvidia*")
DEVICES = tuple(found for name in _DEVICES for found in Path("/dev").glob(name))
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store")
_KERNEL = ("/proc", "/sys")  # of another process only what everybody can read: Landlock denies its memory and variables
# Settings of the network, of users, of libraries, of time and language; never /etc as a whole, which has secrets too.
_SETTINGS = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "fonts", "gai.conf", "group", "gss",
    "host.conf", "hostname", "hosts", "krb5.conf", "krb5.conf.d", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
    "locale.alias", "locale.conf", "localtime", "machine-id", "mime.types", "nsswitch.conf", "os-release", "passwd",
    "protocols", "resolv.conf", "services", "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf", "timezone",
    "pki/ca-trust", "pki/tls/cert.pem", "pki/tls/certs", "pki/tls/openssl.cnf",
)  # fmt: skip
_RESOLVERS = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/nscd", "/var/lib/sss/mc")
_OF_PYTHON = ("bin", "lib", "lib64", "share", "ssl")


@functools.cache
def system() -> Sequence[Path]:
    """Return the files of the operating system that a program can read."""
    named = [Path(os.environ[name]) for name in CERTIFICATES if os.environ.get(name)]
    settings = [Path("/etc", name) for name in _SETTINGS]
    every = [*map(Path, (*_PROGRAMS, *_KERNEL, *_RESOLVERS)), *settings, *named]
    return [path for path in every if path.exists()]


@functools.cache
def installation(python: Path) -> Sequence[Path]:
    """Return the folders of an interpreter: of its virtual environment, and of the Python that this is based on."""
    return list(dict.fromkeys(_installation(python)))


def _installation(python: Path) -> Iterator[Path]:
    prefixes = [python.parent.parent, python.resolve().parent.parent]
    settings = prefixes[0] / "pyvenv.cfg"
    if settings.is_file():
        yield prefixes[0]
        pairs = (line.partition("=") for line in settings.read_text("utf-8").splitlines())
        prefixes += [Path(value.strip()).parent for name, _, value in pairs if name.strip() == "home"]
    for prefix in prefixes:
        # Not the prefix as a whole: that of a Python in ~/bin is the home folder.
        yield from (prefix / name for name in _OF_PYTHON)
