"""Opens the store that an environment folder names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from lockgate_step import BadCall, without_credentials, without_files

from lockgate_store._file import FileStore
from lockgate_store._store import Store


def open_store(environment: Path, credentials: Path | None = None) -> Store:
    """Open the store that `environment/store` names: `file:///folder` or `s3://bucket/prefix`.

    For S3, `environment/s3.json` may contain {"endpoint", "region", "addressing_style"}, and `environment/ca.pem` the
    certificate of the authority that signed the endpoint's certificate. The files `access_key_id` and
    `secret_access_key` in `credentials` take precedence over boto3's own search for credentials.
    Errors: BadCall if the address or a setting is missing or invalid.
    """
    try:
        address = (environment / "store").read_text().strip()
    except FileNotFoundError:
        msg = f"{environment / 'store'} is missing"
        raise BadCall(msg, fix="write the store's address there: file:///folder or s3://bucket/prefix") from None
    store = open_at(without_files(address, "the store's address", environment), environment, credentials)
    if store is None:
        msg = f"{environment / 'store'} contains {address!r}, which is not the address of a store"
        raise BadCall(msg, fix="write file:///folder (three slashes) or s3://bucket/prefix there")
    return store


def open_at(address: str, environment: Path, credentials: Path | None = None) -> Store | None:
    """Open the store at an address with the settings of this environment; None if it is not a store's address.

    Errors: BadCall if it contains credentials.
    """
    url = urlsplit(without_credentials(address, "the store's address"))
    if url.scheme == "file" and url.netloc in ("", "localhost") and url.path.startswith("/"):
        store = FileStore(Path(unquote(url.path)))
        store.sweep()
        return store
    if url.scheme == "s3" and url.netloc:
        return _open_s3(url.netloc, url.path.strip("/"), environment, credentials)
    return None


def _open_s3(bucket: str, prefix: str, environment: Path, credentials: Path | None) -> Store:
    from lockgate_store._s3 import S3Settings, S3Store, connect  # imports boto3

    settings = S3Settings.load(environment, credentials)
    return S3Store(bucket, prefix, connect(settings), settings.place)
