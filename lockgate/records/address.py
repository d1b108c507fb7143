"""The addresses at which models are called, and the HTTP client that calls them."""

import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.records.environment import Environment

if TYPE_CHECKING:
    from httpx2 import Client


def address_of(environment: Environment, model: str) -> str:
    """The address at which a model is called."""
    return f"{public(environment)}/v2/models/{model}/infer"


def public(environment: Environment) -> str:
    """The local platform's address for a browser on this machine; under JupyterHub, through its proxy."""
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    host = os.environ.get("JUPYTERHUB_PUBLIC_HUB_URL", "").removesuffix("/hub/").rstrip("/")
    return f"{host}{prefix.rstrip('/')}/proxy/{environment.port}" if prefix else environment.setting("gateway")


def page_token(state: Path) -> str:
    """The secret part of the addresses of a project's pages; created in the state folder if it does not exist.

    The local platform answers every user of the machine, and the ids of runs are known to them from the list of
    processes. Only who can read the state folder, or was given a link, can read a page.
    """
    path = state / "page-token"
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=state, delete=False) as made:  # readable by this user alone
            made.write(secrets.token_urlsafe(24))
        os.replace(made.name, path)
    return path.read_text(encoding="ascii")


def gateway(environment: Environment, seconds: float) -> "Client":
    """A client of the local platform; seconds: the time limit of each read, write and connection attempt."""
    from httpx2 import Client

    # The platform is on this machine, so no proxy of the environment applies.
    return Client(base_url=environment.setting("gateway"), timeout=seconds, trust_env=False)


def platform_up(environment: Environment) -> bool:
    """Whether the local platform answers."""
    from httpx2 import HTTPError

    try:
        with gateway(environment, seconds=2) as client:
            return bool(client.get("/v2/health/live").status_code == 200)
    except HTTPError:
        return False
