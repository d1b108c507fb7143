"""Start a program with a filtered environment, and with a signal when the process that started it dies.

`inherited` returns the environment variables of this process that a program gets. `bound` returns the command that
sends the signal. It runs this file, which asks the kernel for the signal and then becomes the program. A hook between
fork and exec could do the same, but is not safe in a process with threads; this costs some milliseconds. The program's
own children are not covered: they have to watch their parent.
"""

import ctypes
import os
import re
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
# The variables that name certificates of authorities; programs may read what they name.
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
# All other variables of a program are those that it is given: a token in the caller's environment is not for it.
_PASSED_ON = re.compile(rf"(?i)PATH|HOME|LANG|LC_\w+|TZ|(https?|all|no)_proxy|{'|'.join(CERTIFICATES)}|SYSTEMROOT")


def inherited() -> dict[str, str]:
    """Return the variables of this process's environment that a program inherits."""
    return {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}


def bound(command: Sequence[str], at_our_end: int) -> list[str]:
    """Return the command that runs `command` and sends it the signal `at_our_end` when the calling thread ends.

    Only Linux can do this; elsewhere the command is unchanged.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(at_our_end)), *command]


if __name__ == "__main__":
    starter, number = int(sys.argv[1]), int(sys.argv[2])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != starter:  # it died before the prctl call
        sys.exit(137)
    try:
        os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606  # no shell is wanted
    except OSError as error:
        sys.exit(f"cannot start {sys.argv[3]}: {error.strerror}")
