"""One version behind several addresses: each is asked by itself, and what is found is told once."""

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
    """A client for every address that the staged name leads to, once there are as many as deploy has seen.

    Errors: OutsideFailed when the name leads to fewer for too long.
    """
    url = httpx.URL(address)
    if url.scheme == "https":  # a certificate is for the name, and so is whoever stands before the replicas
        return [_client(url)]
    deadline = time.monotonic() + patience
    while len(found := _resolve(url)) < wanted:
        if time.monotonic() > deadline:
            msg = f"{url.host} leads to {len(found)} addresses, but {wanted} replicas were deployed"
            raise OutsideFailed(msg, fix="look whether they are still there, then run again")
        time.sleep(_POLL_SECONDS)
    return [_client(url, host) for host in found]


def reasons_of(found: Sequence[Iterable[Finding]], replicas: int) -> tuple[Reason, ...]:
    """Each reason once; where some replicas alone give it, it says how many."""
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
    """What was measured, by name; counts of several replicas are added up."""
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
    # trust_env off: a proxy set for the outside must not stand between the gate and a version beside it.
    headers = {"host": url.netloc.decode("ascii")} if host else {}
    at = url.copy_with(host=host) if host else url
    return httpx.Client(base_url=at, headers=headers, timeout=_REQUEST_SECONDS, trust_env=False)
