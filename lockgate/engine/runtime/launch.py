"""Run as a file: execute the program in the arguments so that it gets a signal when the process that started it dies.

`preexec_fn` could do the same, but it is not safe in a process with threads; this costs some milliseconds. Children of
the program are not covered: they must watch their own parent.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    starter, number = int(sys.argv[1]), int(sys.argv[2])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != starter:  # it died before the prctl call
        sys.exit(137)
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606  # no shell is wanted
