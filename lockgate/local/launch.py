"""Run as a file: become the program named in the arguments, and die with the process that started it.

A hook between fork and exec could do the same, but is not safe in a process with threads; this costs some
milliseconds. What the program itself starts is not covered: it has to watch its own parent.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    starter = int(sys.argv[1])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != starter:  # it died before the call above
        sys.exit(137)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  # no shell is wanted
