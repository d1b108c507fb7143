"""A store in S3, or in a compatible service that supports conditional writes.

If-None-Match: * creates once and If-Match compares and swaps: on PUT, on completing a multipart upload and on DELETE.
Some services accept these headers and ignore them: `lockgate doctor` and the tests check that with concurrent writers.
"""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ResponseStreamingError,
    SSLError,
)
from lockgate_step import BadCall, OutsideFailed, layout, without_credentials

from lockgate_store._disk import CHUNK, disk, settle, staged, sync
from lockgate_store._store import Blob, Exists, Missing, Moved, TooLarge, check_key, check_size

_WRITER: Final = "lockgate-write"
_TRIES: Final = 5
_STYLES: Final = ("auto", "path", "virtual")
_S3_JSON: Final = "write a JSON object with endpoint, region and addressing_style (auto, path, virtual), each optional"


@dataclass(frozen=True)
class S3Settings:
    """The settings of S3; `None` leaves a setting to boto3."""

    endpoint: str | None
    region: str | None
    addressing_style: str
    ca: Path | None
    access_key_id: str | None
    secret_access_key: str | None

    @classmethod
    def load(cls, environment: Path, credentials: Path | None) -> "S3Settings":
        """Read `s3.json`, `ca.pem` and the two credential files; each may be absent."""
        path = environment / "s3.json"
        try:
            known = json.loads(path.read_text()) if path.exists() else {}
            fields = {name: known.pop(name, None) for name in ("endpoint", "region", "addressing_style")}
        except (ValueError, AttributeError, TypeError):
            msg = f"{path} is not a JSON object"
            raise BadCall(msg, fix=_S3_JSON) from None
        style = fields["addressing_style"] or "auto"
        if known or style not in _STYLES:
            wrong = sorted(known) or [f"addressing_style {style!r}"]
            msg = f"{path}: unknown {', '.join(wrong)}"
            raise BadCall(msg, fix=_S3_JSON)
        ca = environment / "ca.pem"
        without_credentials(fields["endpoint"] or "", f"endpoint in {path}")
        return cls(
            endpoint=fields["endpoint"],
            region=fields["region"],
            addressing_style=style,
            ca=ca if ca.exists() else None,
            access_key_id=_secret(credentials, layout.ACCESS_KEY),
            secret_access_key=_secret(credentials, layout.SECRET_KEY),
        )

    @property
    def place(self) -> str:
        """The name of the service in messages."""
        return self.endpoint or f"Amazon S3 {self.region or ''}".strip()


def connect(settings: S3Settings) -> Any:
    """Return a boto3 client with limits: four attempts, five seconds to connect, a minute without data."""
    config = Config(
        retries={"max_attempts": 4, "mode": "standard"},
        connect_timeout=5,
        read_timeout=60,
        s3={"addressing_style": settings.addressing_style},
        # Several S3-compatible services refuse the CRC32 headers that botocore adds by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return boto3.client(
            "s3",
            endpoint_url=settings.endpoint,
            region_name=settings.region or "us-east-1",
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            verify=str(settings.ca) if settings.ca else None,
            config=config,
        )
    except ValueError as error:
        msg = f"{settings.endpoint!r} is not an endpoint"
        raise BadCall(msg, fix="write it in s3.json of lockgate-environment as https://host:port") from error
    except BotoCoreError as error:  # incomplete credentials, or a profile that does not exist
        raise BadCall(str(error), fix=_CREDENTIALS) from error


@dataclass(frozen=True)
class S3Store:
    """Each key is an object below the prefix; its version is the ETag.

    single_put: the largest upload in bytes that is one request; larger ones are multipart uploads.
    """

    bucket: str
    prefix: str
    client: Any
    place: str
    single_put: int = 1 << 30

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def read(self, key: str, *, at_most: int | None = None) -> Blob:
        """Return the bytes and their version."""
        with self._outside(key):
            answer = self.client.get_object(**self._at(key))
            # botocore never returns more than Content-Length, which it checks when the last byte is read.
            try:
                check_size(self, key, answer["ContentLength"], at_most)
            except (TooLarge, OutsideFailed):
                answer["Body"].close()
                raise
            return Blob(answer["Body"].read(), _version(answer))

    def create(self, key: str, data: bytes) -> str:
        """Create a key that must not exist."""
        try:
            return self._write(key, lambda mark: self._put(key, data, mark, IfNoneMatch="*"))
        except Moved:
            raise Exists(key) from None

    def replace(self, key: str, data: bytes, version: str) -> str:
        """Replace exactly this version."""
        return self._write(key, lambda mark: self._put(key, data, mark, IfMatch=f'"{version}"'))

    def put(self, key: str, data: bytes) -> str:
        """Write the key, whether it exists or not."""
        return self._write(key, lambda mark: self._put(key, data, mark))

    def delete(self, key: str, version: str) -> None:
        """Delete exactly this version."""
        with self._outside(key, absent=Moved):
            self.client.delete_object(**self._at(key), IfMatch=f'"{version}"')

    def exists(self, key: str) -> bool:
        """Return whether exactly this key exists."""
        # HEAD does not tell a missing bucket from a missing key. A key sorts before longer keys that begin with it.
        with self._outside(key):
            answer = self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._full(check_key(key)), MaxKeys=1)
        return any(item["Key"] == self._full(key) for item in answer.get("Contents", ()))

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with the prefix, sorted."""
        with self._outside(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._full(prefix))
            keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        yield from sorted(key.removeprefix(self._full("")) for key in keys)

    def upload(self, path: str | os.PathLike[str], key: str) -> str:
        """Create a key from a file, in pieces."""
        send = self._send_parts if os.path.getsize(path) > self.single_put else self._send_whole
        try:
            return self._write(key, lambda mark: send(Path(path), key, mark))
        except Moved:
            raise Exists(key) from None

    def download(self, key: str, path: str | os.PathLike[str]) -> None:
        """Copy the content of a key to a file, in pieces."""
        target = Path(path)
        with self._outside(key), disk(f"cannot copy {key} of {self} to {target}"), staged(target.parent) as part:
            # botocore compares the length of the body with Content-Length when the last piece is read.
            for piece in self.client.get_object(**self._at(key))["Body"].iter_chunks(CHUNK):
                part.write(piece)
            sync(part)
            settle(part, target)

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._full(check_key(key))}

    def _put(self, key: str, body: object, mark: dict[str, str], **condition: str) -> Any:
        return self.client.put_object(**self._at(key), Body=body, Metadata=mark, **condition)

    def _send_whole(self, path: Path, key: str, mark: dict[str, str]) -> Any:
        with path.open("rb") as stream:
            return self._put(key, stream, mark, IfNoneMatch="*")

    def _send_parts(self, path: Path, key: str, mark: dict[str, str]) -> Any:
        at = self._at(key)
        size = max(8 << 20, path.stat().st_size // 9_000)  # S3 allows 10,000 parts of at least 5 MiB
        whole = at | {"UploadId": self.client.create_multipart_upload(**at, Metadata=mark)["UploadId"]}
        try:
            parts = []
            with path.open("rb") as stream:
                for number, piece in enumerate(iter(lambda: stream.read(size), b""), start=1):
                    sent = self.client.upload_part(**whole, PartNumber=number, Body=piece)
                    parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            return self.client.complete_multipart_upload(**whole, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
        except BaseException:
            self.client.abort_multipart_upload(**whole)
            raise

    def _write(self, key: str, send: Callable[[dict[str, str]], Any]) -> str:
        mark = {_WRITER: uuid.uuid4().hex}
        for attempt in range(_TRIES):
            try:
                with self._outside(key, absent=Moved):
                    return _version(send(mark))
            except _Conflict:
                time.sleep(0.05 * 2**attempt)
            except Moved:
                # If the response to a write is lost, botocore retries, and the retry finds the first write.
                own = self._own(key, mark)
                if own is None:
                    raise
                return own
        msg = f"{self.place} reported concurrent writes of {self}/{key} at each of {_TRIES} attempts"
        raise OutsideFailed(msg, fix="run it again in a moment")

    def _own(self, key: str, mark: dict[str, str]) -> str | None:
        try:
            with self._outside(key):
                head = self.client.head_object(**self._at(key))
        except Missing:
            return None
        return _version(head) if head["Metadata"].get(_WRITER) == mark[_WRITER] else None

    @contextmanager
    def _outside(self, key: str, *, absent: type[Missing | Moved] = Missing) -> Iterator[None]:
        """Convert the service's errors to the store's."""
        at = f"s3://{self.bucket}/{self._full(key)} at {self.place}"
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in ("NoSuchKey", "404"):
                raise absent(key) from None
            if status == 412:
                raise Moved(key) from None
            if code == "ConditionalRequestConflict":
                raise _Conflict from None
            named = code if code != str(status) else ""  # a response without a body has only the number
            msg = f"{at}: the service answered {status} {named}".rstrip()
            raise OutsideFailed(msg, fix=self._fix(status, code)) from error
        except NoCredentialsError as error:
            msg = f"{at}: there are no credentials"
            raise OutsideFailed(msg, fix=_CREDENTIALS) from error
        except SSLError as error:
            msg = f"{at}: its TLS certificate is not trusted"
            raise OutsideFailed(
                msg, fix="put the certificate of the authority that signed it into ca.pem of lockgate-environment"
            ) from error
        except (IncompleteReadError, ResponseStreamingError) as error:
            msg = f"{at}: the response is incomplete"
            raise OutsideFailed(
                msg, fix=f"run it again; if it fails again, check the network to {self.place}"
            ) from error
        except (ConnectionError, HTTPClientError) as error:
            msg = f"{at}: cannot be reached ({type(error).__name__})"
            raise OutsideFailed(
                msg, fix="check endpoint in s3.json of lockgate-environment, then run it again"
            ) from error
        except BotoCoreError as error:
            msg = f"{at}: {type(error).__name__}"
            raise OutsideFailed(msg, fix="run it again") from error

    def _fix(self, status: int, code: str) -> str:
        if code == "NoSuchBucket":
            return f"create the bucket {self.bucket}, or correct its name in `store` of lockgate-environment or in data"
        if status in (401, 403):
            return f"{_CREDENTIALS}, and their permission to read {self} (in a run also to write)"
        if status >= 500:
            return "run it again when the service has recovered"
        return "check `store` and s3.json of lockgate-environment"


class _Conflict(Exception):
    """Two conditional writes were concurrent; S3 asks for a retry."""


_CREDENTIALS: Final = (
    "check access_key_id and secret_access_key of the Secret lockgate-store (on this machine the folder "
    ".lockgate/environment/lockgate-store, for a cluster's store .lockgate/kubernetes/lockgate-store), "
    "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY if those are empty"
)


def _version(answer: Any) -> str:
    return str(answer["ETag"]).strip('"')


def _secret(credentials: Path | None, name: str) -> str | None:
    path = credentials / name if credentials else None
    if path is None or not path.exists():
        return None
    return path.read_text().strip() or None  # not filled in yet
