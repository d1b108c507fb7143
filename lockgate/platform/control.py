"""Start and stop the local platform for the command line."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lockgate_step import layout
from lockgate_wire import Hosts

from lockgate import folders
from lockgate.definition.catalog import Catalog
from lockgate.definition.project import Project
from lockgate.images import installed
from lockgate.images.installed import Installed
from lockgate.platform import supervisor
from lockgate.platform.model_server import ChildCommand
from lockgate.records.address import public
from lockgate.records.environment import Environment
from lockgate.records.store import store_of

IMAGE = "model-server"


def described(project: Project, environment: Environment) -> supervisor.Platform:
    """Return the supervisor's settings for this project."""
    return supervisor.Platform(
        state=project.state / "serve",
        store=environment.setting("store"),
        port=environment.port,
        hosts=Hosts.configured(environment.config, [urlsplit(public(environment)).hostname or ""]),
    )


def runs(project: Project) -> bool:
    """Return whether this project's supervisor is running."""
    return isinstance(supervisor.status(project.state / "serve"), supervisor.Running)


def start(project: Project, environment: Environment) -> tuple[list[str], dict[str, Any]]:
    """Start the supervisor, or find the running one.

    Errors: BadCall if the runtime folder is another user's; PortTaken, OtherStore, OtherPort, ServeFailed.
    """
    folders.runtime()  # refused here, where a person reads why
    command = [sys.executable, "-m", "lockgate", "serve", "--foreground"]
    # Start the child with this interpreter, whatever PATH is; it must see the same project.
    running = supervisor.start(described(project, environment), command, env={**os.environ, "PWD": str(project.root)})
    return (
        [f"The local platform is running at {running.address} since {running.since}.", "Next", "  lockgate status"],
        {"address": running.address, "pid": running.pid, "store": running.store, "since": running.since},
    )


def stop(project: Project, environment: Environment) -> tuple[list[str], dict[str, Any]]:
    """Stop the supervisor after the requests in flight have finished."""
    stopped = supervisor.stop(described(project, environment).state)
    words = (
        "The local platform is stopped. Start it again with: lockgate serve"
        if stopped
        else "The local platform is not running."
    )
    return [words], {"stopped": stopped}


def foreground(project: Project, environment: Environment) -> int:
    """Run the supervisor in this process until a signal ends it. Errors: BadCall, AlreadyServing, PortTaken."""
    folders.runtime()
    command = child_command(environment, Catalog.find())
    supervisor.serve(described(project, environment), store_of(environment), command, lambda: environment.trust)
    return 0


def child_command(environment: Environment, catalog: Catalog) -> ChildCommand:
    """Return the function that makes a model server's command line from its image's environment, bundle and sockets."""
    io = environment.root.parent / "serve" / "io"

    def command(bundle: Path, digest: str, socket: int, metrics: int) -> tuple[Sequence[str], Mapping[str, str]]:
        io.mkdir(parents=True, exist_ok=True)
        if not (io / layout.ENVIRONMENT).exists():
            (io / layout.ENVIRONMENT).symlink_to(environment.config)
        argv, env = installed.command(Installed(catalog)(IMAGE), ["-m", "lockgate_model_server"])
        return (
            [
                *argv,
                "--bundle",
                str(bundle),
                "--digest",
                digest,
                "--socket",
                f"{socket}",
                "--metrics-socket",
                f"{metrics}",
            ],
            {**env, "LOCKGATE_IO": str(io)},
        )

    return command
