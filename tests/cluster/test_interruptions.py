"""Whatever is killed or unavailable for a while: a run converges, promotes only once, and does not block the next."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cluster import services
from tests.cluster.cluster import OwnCluster
from tests.cluster.site import OPERATOR, Site, account, phases, pods

GONE = {
    "train": "drained",
    "bias-audit": "drained",
    "smoke-test": "drained",
    "predict": "shutdown",
}  # the other pods are lost with their node
SHUTDOWN = "Pod was terminated in response to imminent node shutdown."


def generations(site: Site) -> list[int]:
    """Return the generations of the history; assert that they are complete and unique."""
    prefix = f"models/{site.model}/history/"
    return sorted(int(key.removeprefix(prefix).removesuffix(".json")) for key in site.store.list(prefix))


def promoted_once(site: Site, run: str, before: int) -> None:
    """Check that this run moved the live pointer once."""
    assert (site.live()["run"], site.live()["generation"]) == (run, before + 1)
    assert generations(site) == list(range(1, before + 2))


def test_a_controller_killed_in_the_middle_goes_on_when_it_is_back(own: OwnCluster, released: Site) -> None:
    before = released.live()["generation"]
    run = released.submit(seed=11)
    released.until(run, "train")
    os.kill(own.processes.pid("argo-controller"), signal.SIGKILL)
    time.sleep(5)
    services.start_controller(own)
    ended = released.wait(run)
    assert ended["status"]["phase"] == "Succeeded", account(ended)
    promoted_once(released, run, before)


def test_a_pod_of_each_program_may_be_killed_and_a_node_may_be_drained_or_shut_down(
    own: OwnCluster, released: Site
) -> None:
    del own  # the node is this machine
    before = released.live()["generation"]
    run = released.submit(seed=12)
    killed: set[str] = set()
    harmed: set[str] = set()
    end = time.monotonic() + 900
    while (found := released.workflow(run)).get("status", {}).get("phase") not in ("Succeeded", "Failed", "Error"):
        assert time.monotonic() < end, account(found)
        for node in ((found.get("status") or {}).get("nodes") or {}).values():
            step = node.get("templateName", "")
            if node["type"] == "Pod" and node["phase"] == "Running" and step not in killed:
                killed.add(step)
                if _end(released, run, node["id"], GONE.get(step, "lost")):
                    harmed.add(step)
        time.sleep(0.5)
    assert found["status"]["phase"] == "Succeeded", account(found)
    programs = {
        "ingest", "validate-data", "train", "predict", "validate-model", "bias-audit", "package", "deploy",
        "smoke-test", "promote",
    }  # fmt: skip
    assert killed >= programs, account(found)
    assert len(harmed & programs) >= 8, (harmed, account(found))  # the others had just ended
    promoted_once(released, run, before)


@pytest.mark.outage
def test_a_store_that_is_away_for_a_minute_harms_nobody(own: OwnCluster, released: Site) -> None:
    before = released.live()["generation"]
    run = released.submit(seed=13)
    released.until(run, "validate-data")
    own.processes.stop("s3")
    time.sleep(60)
    services.start_store(own)
    ended = released.wait(run)
    assert ended["status"]["phase"] == "Succeeded", account(ended)
    promoted_once(released, run, before)


def test_a_terminated_run_does_not_block_the_next(released: Site) -> None:
    before = released.live()
    run = released.submit(seed=14)
    released.until(run, "smoke-test", seconds=400)
    assert released.candidate()["run"] == run
    done = released.argo("terminate", run, account=OPERATOR)
    assert done.code == 0, done.said
    ended = released.wait(run)
    assert ended["status"]["phase"] == "Failed", account(ended)
    assert not list(pods(ended, "conclude"))  # Argo does not run the exit handler then
    assert released.live() == before
    after = released.submit(seed=15)
    ended = released.wait(after)
    assert phases(ended)["deploy"] == "Succeeded", account(ended)
    promoted_once(released, after, before["generation"])
    versions = json.loads(released.kubectl("get", "deployments", "-o", "json"))["items"]
    assert len(versions) == 1  # the terminated run's version was deleted too


def _end(site: Site, run: str, node: str, how: str) -> bool:
    """Simulate that a step's pod is lost with its node, drained from it, or shut down with it.

    Returns whether one of its processes was still running. A second attempt does not show that: Argo recreates a pod
    that disappears within ten seconds in the same attempt.
    """
    harmed = False
    suffix = node.rsplit("-", 1)[1]
    for name in [name for name in site.kubectl("get", "pods", "-o", "name").split() if name.endswith(suffix)]:
        assert run in name, name
        try:
            uid = site.kubectl("get", name, "-o", "jsonpath={.metadata.uid}")
            if how == "shutdown":  # the status that a kubelet sets then; this one keeps running and resets it
                status = {"status": {"phase": "Failed", "reason": "Terminated", "message": SHUTDOWN}}
                site.kubectl("patch", name, "--subresource=status", "--type=merge", f"-p={json.dumps(status)}")
            else:
                now = ["--force", "--grace-period=0"] if how == "lost" else []
                site.kubectl("delete", name, "--wait=false", *now)
        except subprocess.CalledProcessError as error:
            assert "not found" in error.stderr.lower(), error.stderr  # it had just ended
        else:
            # A lost pod ends at once; with SIGTERM it would finish and report. A drain sends SIGTERM.
            harmed |= bool(_processes(uid)) if how == "drained" else _kill(_processes(uid))
    return harmed


def _processes(pod: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # it may have ended since
                if f"pod{pod}" in (folder / "cgroup").read_text():
                    found.append(int(folder.name))
    return found


def _kill(processes: list[int]) -> bool:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return bool(processes)
