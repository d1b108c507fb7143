"""Start a model's own step so that it cannot create, move or link a symbolic link: Argo's own container follows links.

`lockgate render` writes this text into the step's command, so it runs before any code of the step and its packages.
"""

import ctypes
import os
import sys

NO_NEW_PRIVILEGES = 38  # of prctl
CREATE, ADD, RESTRICT = 444, 445, 446  # system calls of Landlock: the same numbers on each architecture
LINKS, MOVES = 1 << 12, 1 << 13  # moves to another folder are denied unless a rule allows them
ABSENT = '{"event":"links-not-denied","problem":"no Landlock (Linux 5.19 or newer): the step can make symbolic links"}'


class Below(ctypes.Structure):
    """A rule: what is allowed below a folder."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def call(number: int, *arguments: object) -> int:
    """Call the kernel; -1 is a failure."""
    registers = (ctypes.c_long(each) if isinstance(each, int) else each for each in (number, *arguments))
    return int(ctypes.CDLL(None).syscall(*registers))


def deny() -> bool:
    """Deny symbolic links to this process and those it starts; return whether the kernel does."""
    rules = call(CREATE, ctypes.byref(ctypes.c_uint64(LINKS | MOVES)), 8, 0)
    root = Below(MOVES, os.open("/", os.O_PATH | os.O_CLOEXEC))
    if ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or call(ADD, rules, 1, ctypes.byref(root), 0):
        return False
    return call(RESTRICT, rules, 0) == 0


if __name__ == "__main__":
    if sys.platform != "linux" or call(CREATE, None, 0, 1) < 2:
        sys.stderr.write(f"{ABSENT}\n")
    elif not deny():
        sys.exit("Landlock: cannot deny symbolic links")
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
