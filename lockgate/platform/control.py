"""The local platform as the command line starts and stops it."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lockgate_step import layout

from lockgate.definition.project import Project
from lockgate.definition.shelf import Shelf
from lockgate.images import installed
from lockgate.images.installed import Installed
from lockgate.platform import supervisor
from lockgate.platform.child import ChildCommand
from lockgate.records.environment import Environment
from lockgate.records.store import store_of

IMAGE = "model-server"


def described(project: Project, environment: Environment) -> supervisor.Platform:
    """The supervisor of this project."""
    return supervisor.Platform(state=project.state / "serve", store=environment.setting("store"), port=environment.port)


def runs(project: Project) -> bool:
    """Whether this project's supervisor serves."""
    return isinstance(supervisor.status(project.state / "serve"), supervisor.Running)


def start(project: Project, environment: Environment) -> tuple[list[str], dict[str, Any]]:
    """Start the supervisor, or find the one that runs. Errors: PortTaken, OtherStore, OtherPort, ServeFailed."""
    command = [sys.executable, "-m", "lockgate", "serve", "--foreground"]
    # The child is found by this interpreter, not by whatever PATH says; it must see the same project.
    running = supervisor.start(described(project, environment), command, env={**os.environ, "PWD": str(project.root)})
    return (
        [f"The local platform answers at {running.address} since {running.since}.", "Next", "  lockgate status"],
        {"address": running.address, "pid": running.pid, "store": running.store, "since": running.since},
    )


def stop(project: Project, environment: Environment) -> tuple[list[str], dict[str, Any]]:
    """Stop the supervisor, requests in flight first."""
    stopped = supervisor.stop(described(project, environment).state)
    words = (
        "The local platform is stopped; models answer again after: lockgate serve"
        if stopped
        else "No local platform runs."
    )
    return [words], {"stopped": stopped}


def foreground(project: Project, environment: Environment) -> int:
    """Be the supervisor, until a signal ends it."""
    command = child_command(environment, Shelf.find())
    supervisor.serve(described(project, environment), store_of(environment), command)
    return 0


def child_command(environment: Environment, shelf: Shelf) -> ChildCommand:
    """What makes the command line of a model server: its image's environment, the bundle, the port."""
    io = environment.root.parent / "serve" / "io"

    def command(bundle: Path, port: int) -> tuple[Sequence[str], Mapping[str, str]]:
        io.mkdir(parents=True, exist_ok=True)
        if not (io / layout.ENVIRONMENT).exists():
            (io / layout.ENVIRONMENT).symlink_to(environment.config)
        argv, env = installed.command(Installed(shelf)(IMAGE), ["-m", "lockgate_model_server"])
        return (
            [*argv, "--bundle", str(bundle), "--port", str(port), "--host", "127.0.0.1"],
            {**env, "LOCKGATE_IO": str(io)},
        )

    return command
