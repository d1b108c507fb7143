"""Serve in the foreground with the tests' small model server, as `lockgate serve --foreground` does."""

import json
import os
import sys
from pathlib import Path

from lockgate_proof import Trust
from lockgate_store import open_store
from lockgate_wire import Hosts, Limits

from lockgate.errors import LockgateError
from lockgate.platform.logs import LOG_BYTES
from lockgate.platform.model_server import Patience
from lockgate.platform.supervisor import Platform, serve

SERVER = Path(__file__).with_name("model_server.py")


def command(bundle: Path, digest: str, socket: int, metrics: int) -> tuple[list[str], dict[str, str]]:
    sockets = ["--socket", str(socket), "--metrics-socket", str(metrics)]
    return [sys.executable, str(SERVER), "--bundle", str(bundle), *sockets], {"PATH": os.environ["PATH"]}


if __name__ == "__main__":
    state, environment, port, patience, limits = sys.argv[1:]
    uri = (Path(environment) / "store").read_text().strip()
    try:
        serve(
            Platform(
                state=Path(state),
                store=uri,
                port=int(port),
                hosts=Hosts.configured(Path(environment), ["x"]),
                limits=Limits(**json.loads(limits)),
                log_bytes=int(os.environ.get("LOG_BYTES", LOG_BYTES)),
            ),
            open_store(Path(environment), Path(environment).parent / "credentials"),
            command,
            lambda: Trust.read(Path(environment) / "trust.json"),
            Patience(**json.loads(patience)),
        )
    except LockgateError as error:
        print(json.dumps({"message": error.message, "fix": error.fix}), file=sys.stderr)
        sys.exit(error.exit_code)
