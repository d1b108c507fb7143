"""The addresses at which models are called."""

import os
import urllib.request

from lockgate.records.environment import Environment


def address_of(environment: Environment, model: str) -> str:
    """Where a model is called."""
    return f"{public(environment)}/v2/models/{model}/infer"


def public(environment: Environment) -> str:
    """The local platform's address as a browser on this machine reaches it; under JupyterHub, through its proxy."""
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    host = os.environ.get("JUPYTERHUB_PUBLIC_HUB_URL", "").removesuffix("/hub/").rstrip("/")
    return f"{host}{prefix.rstrip('/')}/proxy/{environment.port}" if prefix else environment.setting("gateway")


def platform_up(environment: Environment) -> bool:
    """Whether the local platform answers."""
    try:
        with urllib.request.urlopen(f"{environment.setting('gateway')}/v2/health/live", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
