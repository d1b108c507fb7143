"""`python -m lockgate_model_server --bundle DIR --port N`: verify the bundle, then serve it."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory

from lockgate_step import EXIT_CODES, BadCall, LockgateError, Refusal, layout, log, no_core_files
from lockgate_wire import Limits


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal stops it; return the exit code."""
    given = _parser().parse_args(arguments)
    no_core_files()
    try:
        _serve(given)
    except LockgateError as error:
        log(
            "error",
            code=error.exit_code,
            meaning=EXIT_CODES[str(error.exit_code)],
            message=error.message,
            fix=error.fix,
        )
        return error.exit_code
    return 0


def _serve(given: argparse.Namespace) -> None:
    folder: Path = given.bundle
    if not folder.is_dir():
        msg = f"folder {folder} does not exist"
        raise BadCall(msg, fix="give the folder of a bundle with --bundle")
    # Verify the bundle before importing anything that could read a model.
    from lockgate_proof import Trust, copy_bundle, verify_bundle

    with TemporaryDirectory(prefix="lockgate-model-server-") as private:
        # What is verified is what is loaded: a copy in a folder that only this user can read and write.
        copy = copy_bundle(folder, Path(private, "bundle"))
        # now=None: a waiver that has expired since must not stop a server from restarting what is already live.
        bundle = verify_bundle(copy, Trust.read(), now=None, digest=given.digest)

        from lockgate_model import BadModel

        from lockgate_model_server.server import bind, serve

        try:
            serve(
                name=bundle.model,
                model=copy / "model",
                policy=copy / "policy.toml",
                bundle=bundle.digest,
                sock=_inherited("--socket", given.socket) if given.port is None else bind(given.host, given.port),
                metrics=_for_metrics(given),
                linger=given.linger,
                limits=Limits(connections=given.connections, header_seconds=given.header_seconds),
                loaded=lambda: shutil.rmtree(copy),
            )
        except BadModel as error:
            raise Refusal(error.message, fix=error.fix) from error  # the bundle is verified, but cannot be served


def _for_metrics(given: argparse.Namespace) -> socket | None:
    from lockgate_model_server.server import bind

    if given.metrics_socket is not None:
        return _inherited("--metrics-socket", given.metrics_socket)
    return None if given.metrics_port is None else bind(given.host, given.metrics_port, "--metrics-port")


def _inherited(option: str, number: int) -> socket:
    try:
        return socket(fileno=number)
    except OSError as error:
        msg = f"{option} {number} is not an open socket: {error.strerror}"
        raise BadCall(msg, fix="pass the number of a bound socket that this process inherits") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lockgate_model_server",
        description="Serve one bundle over the Open Inference Protocol (REST).",
        epilog="It answers to IP addresses, localhost, and the host names in $LOCKGATE_HOSTS and in the settings hosts "
        "and gateway. Exit codes: 0 stopped · 1 a bug · 2 invalid call · 3 bundle refused · 4 address in use",
        allow_abbrev=False,
    )
    parser.add_argument("--bundle", type=Path, required=True, help="the folder of the bundle")
    parser.add_argument("--digest", help="the digest that the bundle must have (default: any that is signed)")
    listening = parser.add_mutually_exclusive_group(required=True)
    listening.add_argument("--port", type=int, help="the port to listen on; 0 takes a free one and logs it")
    listening.add_argument(
        "--socket", type=int, metavar="N", help="a bound socket that it inherits, by its number, in the place of a port"
    )
    parser.add_argument(
        "--metrics-socket",
        type=int,
        metavar="N",
        help="a bound socket for the metrics, in the place of a port for them",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument(
        "--metrics-port",
        type=int,
        default=os.environ.get(layout.METRICS_VARIABLE),
        metavar="N",
        help="show Prometheus's metrics at /metrics of this port; 0 takes a free one and logs it (default: "
        f"${layout.METRICS_VARIABLE}; without it, none)",
    )
    parser.add_argument(
        "--linger",
        type=float,
        default=0,
        metavar="SECONDS",
        help="after SIGTERM, answer open connections for this long and ask to close them (default: %(default)s)",
    )
    parser.add_argument(
        "--connections",
        type=int,
        default=Limits.connections,
        metavar="N",
        help="open connections at most; fewer if the process may open fewer files (default: %(default)s)",
    )
    parser.add_argument(
        "--header-seconds",
        type=float,
        default=Limits.header_seconds,
        metavar="SECONDS",
        help="the time in which a request's header must arrive (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
