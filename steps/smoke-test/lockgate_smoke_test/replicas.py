"""One version with several replicas: each replica is checked, and each finding is reported once."""

import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import httpx
from lockgate_step import OutsideFailed, Reason

from lockgate_smoke_test.checks import Failed, Finding, Measured

_REQUEST_SECONDS = 30.0
_POLL_SECONDS = 0.5


def replicas(address: str, wanted: int, patience: float) -> list[httpx.Client]:
    """Return a client for each address that the staged host name resolves to; wait until there are `wanted` of them.

    Errors: OutsideFailed if there are still fewer after `patience` seconds.
    """
    url = httpx.URL(address)
    if url.scheme == "https":  # the certificate is for the name, so single addresses cannot be called
        return [_client(url)]
    deadline = time.monotonic() + patience
    while len(found := _resolve(url)) < wanted:
        if time.monotonic() > deadline:
            msg = f"{url.host} resolves to {len(found)} addresses, but {wanted} replicas were deployed"
            raise OutsideFailed(msg, fix="check that the replicas are still running, then run again")
        time.sleep(_POLL_SECONDS)
    return [_client(url, host) for host in found]


def reasons_of(found: Sequence[Iterable[Finding]], replicas: int) -> tuple[Reason, ...]:
    """Return each reason once; if only some replicas give it, its message says how many."""
    seen: dict[Reason, int] = {}
    for findings in found:
        for reason in dict.fromkeys(finding.reason for finding in findings if isinstance(finding, Failed)):
            seen[reason] = seen.get(reason, 0) + 1
    pooled = {finding.reason for finding in found[-1] if isinstance(finding, Failed)}
    return tuple(
        reason
        if reason in pooled or count == replicas
        else replace(reason, message=f"{reason.message} ({count} of {replicas} replicas)")
        for reason, count in seen.items()
    )


def measurements_of(found: Sequence[Iterable[Finding]]) -> dict[str, object]:
    """Return the measurements by name; counts of several replicas are added up."""
    measured: dict[str, object] = {}
    for finding in (finding for findings in found for finding in findings):
        if isinstance(finding, Measured):
            before = measured.get(finding.name)
            measured[finding.name] = finding.value if before is None else _added(before, finding.value)
    return measured


def _added(one: object, other: object) -> object:
    assert isinstance(one, dict)
    assert isinstance(other, dict)
    return {name: one[name] + other[name] for name in one}


def _resolve(url: httpx.URL) -> list[str]:
    try:
        found = socket.getaddrinfo(url.host, url.port or 80, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return []
    return sorted({str(address[0]) for *_, address in found})


def _client(url: httpx.URL, host: str = "") -> httpx.Client:
    # trust_env=False: a proxy for outside connections must not be used for a version in the same network.
    headers = {"host": url.netloc.decode("ascii")} if host else {}
    at = url.copy_with(host=host) if host else url
    return httpx.Client(base_url=at, headers=headers, timeout=_REQUEST_SECONDS, trust_env=False)
