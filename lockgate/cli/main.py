"""Run one command line: errors become a message, a next action and an exit code."""

import errno
import json
import os
import sys
from typing import Any

import typer

from lockgate.cli import model, platform
from lockgate.cli.app import app
from lockgate.cli.options import say
from lockgate.errors import LockgateError, OutsideFailed, Problems

__all__ = ["app", "run_app"]

_VERBS = (model, platform)  # their import adds the verbs to the app

# Typer brings its own click or uses the installed one; this is the one it raises.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


# What to do about a disk that does not take or give a file.
_DISK = {
    errno.ENOSPC: "free space on that disk, then run it again",
    errno.EDQUOT: "free space in that quota, then run it again",
    errno.EROFS: "copy the project to a folder that you can write",
    errno.EACCES: "give this user permission there, or copy the project to a folder of your own",
    errno.EPERM: "give this user permission there, or copy the project to a folder of your own",
}

# The output of another program, and a list of problems. In every other message a line break is part of a name.
_OF_SEVERAL_LINES = (OutsideFailed, Problems)


def run_app(arguments: list[str]) -> int:
    """Run one command line and return its exit code; each error ends in a next action.

    With --json, stdout is one JSON value in every case: the result or the error.
    """
    as_json = "--json" in arguments
    try:
        result = app(args=arguments, standalone_mode=False)
    except LockgateError as error:
        return _fail(error.message, error.fix, error.exit_code, as_json, lines=isinstance(error, _OF_SEVERAL_LINES))
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except UsageError as error:
        return _misused(error, as_json)
    except Exception as error:
        if os.environ.get("LOCKGATE_DEBUG") == "1":
            raise
        if isinstance(error, OSError) and error.errno in _DISK:
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
            return _fail(f"cannot use {what}", _DISK[error.errno], 4, as_json)
        return _fail(
            f"this is a bug in Lockgate: {type(error).__name__}: {error}",
            "run again with LOCKGATE_DEBUG=1 and send the traceback to the maintainers",
            1,
            as_json,
        )
    return result if isinstance(result, int) else 0


def _misused(error: Any, as_json: bool) -> int:
    message = str(error.format_message()).rstrip(".")
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
        say(message, err=True, lines=True)
        return 2
    command = error.ctx.command_path if error.ctx else "lockgate"
    return _fail(message[0].lower() + message[1:], f"{command} --help", 2, as_json)


def _fail(message: str, fix: str, code: int, as_json: bool, *, lines: bool = False) -> int:
    if as_json:
        # On one line, since the log is one JSON object per line.
        say(json.dumps({"error": {"message": message, "fix": fix}, "exit_code": code}, ensure_ascii=False))
        return code
    say(f"Error: {message}", err=True, lines=lines)
    if fix:
        say(f"Next: {fix}", err=True)
    return code
