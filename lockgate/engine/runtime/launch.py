"""Run as a file: become the program named in the arguments, and be sent a signal when the process that started it dies.

A hook between fork and exec could do the same, but is not safe in a process with threads; this costs some
milliseconds. What the program itself starts is not covered: it has to watch its own parent.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    starter, at_its_end = int(sys.argv[1]), int(sys.argv[2])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, at_its_end)
    if os.getppid() != starter:  # it died before the call above
        sys.exit(137)
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606  # no shell is wanted
