"""Open the store of an environment, and read its live pointers."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lockgate_proof import ProofError, read_promotion
from lockgate_step import layout, loads, read_time
from lockgate_store import Missing, Store, open_at, open_store

from lockgate.errors import BadCall, OutsideFailed
from lockgate.records.environment import Environment


def store_of(environment: Environment) -> Store:
    """The store of this environment."""
    with _client():
        return open_store(environment.config, _credentials(environment))


def bucket_of(environment: Environment) -> Store:
    """The bucket of a cluster's store, where Argo keeps the outputs of steps. Errors: BadCall."""
    address = environment.setting("store")
    with _client():
        found = open_at(f"s3://{urlsplit(address).netloc}", environment.config, _credentials(environment))
    if found is None:
        msg = f"store {address!r} has no bucket"
        raise BadCall(msg, fix="lockgate render --kubernetes --set store=s3://BUCKET/PREFIX")
    return found


def _credentials(environment: Environment) -> Path | None:
    folder = environment.root / layout.STORE_SECRET
    return folder if folder.is_dir() else None


@contextmanager
def _client() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        msg = f"the S3 client is not installed ({error.name})"
        raise BadCall(msg, fix="pip install 'lockgate[s3]'") from error


def live_of(environment: Environment, model: str) -> dict[str, Any] | None:
    """The live pointer of a model, or None if no version is live.

    Errors: ProofError if no key that may promote signed it. `live_promotion` also checks the promotions before it.
    """
    try:
        content = store_of(environment).read(f"models/{model}/live.json").data
    except Missing:
        return None
    return read_promotion(content, environment.trust, model=model).pointer


def live_at(environment: Environment, model: str, moment: str) -> dict[str, Any] | None:
    """The live pointer of a model at a moment, or None if no version was live."""
    store, prefix, trust = store_of(environment), f"models/{model}/history/", environment.trust
    names = (key.removeprefix(prefix).removesuffix(".json") for key in store.list(prefix))
    for generation in sorted((int(name) for name in names if name.isdecimal()), reverse=True):
        name = f"history/{generation}.json"
        with suppress(ProofError):  # somebody else wrote it: `lockgate verify` says so
            said = read_promotion(store.read(f"models/{model}/{name}").data, trust, model=model, name=name)
            if read_time(said.at) < read_time(moment):
                return said.pointer
    return None


def read_json(store: Store, key: str) -> dict[str, Any] | None:
    """One JSON object from the store, or None if it does not exist. Errors: OutsideFailed if it is damaged."""
    try:
        value = loads(store.read(key).data)
    except Missing:
        return None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _damaged(store, key)
    return value


def _damaged(store: Store, key: str) -> OutsideFailed:
    msg = f"the record {key} in the store {store} is damaged"
    return OutsideFailed(msg, fix="restore it from the history in the store, and check who can write there")
