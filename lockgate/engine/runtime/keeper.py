"""Run one step's program, let it reach only its own files, and end every process that it leaves.

Run as a script in a process without threads: it forks, which the engine itself cannot do safely. The child limits
itself with Landlock and becomes the program. This process waits for it. It is a child subreaper, so each descendant
of the program becomes its child, also one in a session of its own. It kills them all when the program has ended, on
SIGUSR1, and when the engine dies. It passes SIGTERM to the program's process group.

It imports only the standard library, and starts without `site`: each step pays for it.
"""

import ctypes
import os
import signal
import stat
import sys
import time
from collections.abc import Iterable, Sequence

KILL = signal.SIGUSR1
# Cross-directory renames, which the store needs, can only be allowed since this version of Landlock: Linux 5.19.
OLDEST = 2
NOT_ISOLATED = (
    "steps are not isolated: this machine has no Landlock (Linux 5.19 or newer), so a step of your own reads what you "
    "can read, also private keys and other steps' rows; --in podman isolates them"
)

_PDEATHSIG, _DROP, _NO_NEW_PRIVS, _SUBREAPER = 1, 24, 38, 36  # of prctl
# What root keeps: to read and write files whoever owns them. With others, root reads the variables of any process.
_FIRST_DROPPED, _CAPABILITIES = 5, 64
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls: the same numbers on each architecture
_BELOW_PATH = 1
_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _TRUNCATE_SINCE = 1 << 14, 3
_EVERY_RIGHT = (1 << 14) - 1  # up to REFER
_SCOPES, _SCOPES_SINCE = 0b11, 6  # no signals to, and no abstract sockets of, processes outside
_PATIENCE = 10.0  # seconds for killed processes to end

_Rules = Sequence[Sequence[str]]  # the paths to read, to write, and whose names to list


def isolates() -> bool:
    """Return whether this kernel can limit what a program reaches."""
    return _version() >= OLDEST


def kept(
    command: Sequence[str],
    *,
    read: Iterable[os.PathLike[str]],
    write: Iterable[os.PathLike[str]],
    names: Iterable[os.PathLike[str]],
) -> list[str]:
    """Return the command that runs `command` as a step of the calling thread.

    read, write: the files and folders, with everything below, that it can read or also change.
    names: folders whose names it can list, but not read the files.
    """
    lists = [list(dict.fromkeys(map(os.fspath, paths))) for paths in (read, write, names)]
    counts, paths = [str(len(each)) for each in lists], [path for each in lists for path in each]
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *counts, *paths, *command]


def _version() -> int:
    if sys.platform != "linux":
        return 0
    return int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Below(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def _limit(libc: ctypes.CDLL, version: int, rules: _Rules) -> None:
    """Let this process, and what it starts, reach only these files. Errors: OSError."""
    handled = _EVERY_RIGHT | (_TRUNCATE if version >= _TRUNCATE_SINCE else 0)
    wanted = _Ruleset(handled, 0, _SCOPES if version >= _SCOPES_SINCE else 0)
    # Older kernels know a shorter structure, and accept a longer one whose rest is zero.
    ruleset = _called(libc, _CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(ctypes.sizeof(wanted)), 0)
    for paths, allowed in zip(rules, (_EXECUTE | _READ | _LIST, handled, _LIST), strict=True):
        for path in paths:
            _allow(libc, ruleset, path, allowed)
    _called(libc, _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, allowed: int) -> None:
    try:
        found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what does not exist, or cannot be reached, needs no rule
    try:
        if not stat.S_ISDIR(os.fstat(found).st_mode):
            allowed &= _EXECUTE | _READ | _WRITE | _TRUNCATE  # a file has no other rights
        if allowed:
            rule = _Below(allowed, found)
            _called(libc, _ADD_RULE, ruleset, _BELOW_PATH, ctypes.byref(rule), 0)
    finally:
        os.close(found)


def _called(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    # A system call reads whole registers, so a number is passed as one.
    result = int(libc.syscall(number, *(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock: {os.strerror(error)}")
    return result


def _main(starter: int, rules: _Rules, command: list[str]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SUBREAPER, 1)
    os.umask(0o077)
    signals = (signal.SIGTERM, KILL)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    libc.prctl(_PDEATHSIG, int(KILL))
    if os.getppid() != starter:  # it died before the prctl call
        return 137
    keeper = os.getpid()
    program = os.fork()
    if program == 0:
        try:
            _become(libc, keeper, rules, command)
        except OSError as error:
            sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
            sys.stderr.flush()
        os._exit(1)
    signal.signal(signal.SIGTERM, lambda *_: _signal(program, signal.SIGTERM))
    signal.signal(KILL, lambda *_: _signal(program, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    code = _wait(program)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    _end_all()
    return code


def _become(libc: ctypes.CDLL, keeper: int, rules: _Rules, command: list[str]) -> None:
    """Become the program. Errors: OSError."""
    os.setsid()
    libc.prctl(_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != keeper:
        os._exit(137)
    for capability in range(_FIRST_DROPPED, _CAPABILITIES if os.geteuid() == 0 else 0):
        libc.prctl(_DROP, capability, 0, 0, 0)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    version = _version()
    if version >= OLDEST:
        _limit(libc, version, rules)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these, and the program would too
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, KILL))
    os.execvp(command[0], command)  # noqa: S606  # no shell is wanted


def _wait(program: int) -> int:
    """Return the exit code of the program, or 128 plus its signal's number; orphans are reaped meanwhile."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == program:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _signal(program: int, number: signal.Signals) -> None:
    """Send a signal to the program's process group; to the program alone if it has not made the group yet."""
    for send in (os.killpg, os.kill):
        try:
            return send(program, number)
        except (ProcessLookupError, PermissionError):
            continue
    return None


def _end_all() -> None:
    """Kill every descendant. One whose parent ends becomes a child of this process, so children are enough."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for child in _children():
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def _children() -> list[int]:
    me, found = os.getpid(), []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = file.read().rpartition(b")")[2].split()[1]
        except OSError:
            continue  # it has ended
        if int(parent) == me:
            found.append(int(name))
    return found


if __name__ == "__main__":
    counts, given, lists = [int(each) for each in sys.argv[2:5]], sys.argv[5:], []
    for count in counts:
        lists.append(given[:count])
        del given[:count]
    sys.exit(_main(int(sys.argv[1]), lists, given))
