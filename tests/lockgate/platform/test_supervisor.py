"""The local platform from its users' side: a detached process, a store, a public port."""

import asyncio
import json
import os
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from lockgate.platform import supervisor
from lockgate.platform.errors import OtherStore, PortTaken, ServeFailed
from lockgate.platform.supervisor import Platform, Running, Stopped
from tests.lockgate.platform.conftest import World

Http = Callable[..., Any]
INFER = b'{"inputs":[]}'


def digest_of(answer: Any) -> str:
    assert answer.status == 200, answer.body
    return str(answer.json["parameters"]["bundle"])


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def supervisors(world: World) -> list[int]:
    """Return every supervisor started for this world, ready or not."""
    mine = str(world.platform.state).encode()
    lines = {int(path.parent.name): path for path in Path("/proc").glob("[0-9]*/cmdline")}
    return [
        pid for pid, line in lines.items() if alive(pid) and b"foreground.py" in (said := _read(line)) and mine in said
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_the_live_bundle_answers_at_the_public_port(world: World, http: Http) -> None:
    bundle = world.bundle("adult")
    world.live("adult", bundle)
    address = world.start().address
    said = world.ready("adult", "live", bundle)
    assert digest_of(http(f"{address}/v2/models/adult/infer", INFER)) == bundle
    assert alive(said["pid"])
    assert http(f"{said['address']}/v2/models/adult/infer", INFER).json["pid"] == said["pid"]


def test_nobody_takes_the_port_of_a_server_that_starts(world: World) -> None:
    """Another user of the machine would get the requests, and could answer them."""
    bundle = world.bundle("adult", contested=True)
    world.live("adult", bundle)
    world.start()
    world.ready("adult", "live", bundle)
    (log,) = world.platform.child_logs.glob("*.log")
    assert "the port was not taken" in log.read_text()


def test_a_server_that_is_killed_leaves_no_copy_of_its_bundle(world: World) -> None:
    """A model that does not fit into memory would fill the disk with one copy per attempt."""
    bundle = world.bundle("adult", leaves="a copy")
    world.live("adult", bundle)
    world.start()
    first = world.ready("adult", "live", bundle)["pid"]
    left = [*world.platform.scratch.glob("*/copy")]
    os.kill(first, signal.SIGKILL)
    world.until(lambda: (world.status("adult")["live"] or {}).get("pid") not in (first, None))
    assert len(left) == 1
    assert not left[0].exists()
    assert world.stop()
    assert [*world.platform.scratch.iterdir()] == []


def test_a_second_start_finds_the_first(world: World) -> None:
    first = world.start()
    assert world.start() == first
    assert supervisor.status(world.platform.state) == first


def test_starts_at_the_same_moment_end_in_one_supervisor(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        world.platform = Platform(state=world.platform.state, store=world.uri, port=probe.getsockname()[1])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: world.start(), range(4)))
    assert len(set(found)) == 1
    assert supervisors(world) == [found[0].pid]
    world.stop()
    world.until(lambda: supervisors(world) == [])


def test_stop_ends_the_supervisor_and_every_server(world: World, http: Http) -> None:
    bundle = world.bundle("adult")
    world.live("adult", bundle)
    running = world.start()
    child = world.ready("adult", "live", bundle)["pid"]
    assert world.stop() is True
    assert isinstance(supervisor.status(world.platform.state), Stopped)
    assert not alive(child)
    world.until(lambda: not alive(running.pid))
    assert world.status("adult")["live"] is None
    assert world.stop() is False
    world.start()
    world.ready("adult", "live", bundle)


def test_servers_die_with_a_killed_supervisor_and_the_next_one_takes_over(world: World, http: Http) -> None:
    bundle = world.bundle("adult")
    world.live("adult", bundle)
    running = world.start()
    child = world.ready("adult", "live", bundle)["pid"]
    os.kill(running.pid, signal.SIGKILL)
    world.until(lambda: not alive(child))
    assert isinstance(supervisor.status(world.platform.state), Stopped)
    again = world.start()
    world.until(lambda: (world.status("adult")["live"] or {}).get("pid") not in (None, child))
    assert digest_of(http(f"{again.address}/v2/models/adult/infer", INFER)) == bundle


def test_a_taken_port_is_said_with_the_next_action(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        world.platform = Platform(state=world.platform.state, store=world.uri, port=port)
        with pytest.raises(PortTaken) as caught:
            world.start()
        chosen = re.search(r"LOCKGATE_PORT=(\d+) lockgate serve", caught.value.fix)
        assert chosen
        assert int(chosen[1]) > port
    assert caught.value.message == f"port {port} on 127.0.0.1 is in use by another program"
    assert caught.value.exit_code == 4


def test_a_port_of_another_project_is_said_with_its_folder(world: World, tmp_path: Path) -> None:
    port = int(world.start().address.rpartition(":")[2])
    other = Platform(state=tmp_path / "other" / ".lockgate" / "serve", store=world.uri, port=port)
    with pytest.raises(PortTaken) as caught:
        supervisor.check_port(other)
    assert caught.value.message.endswith(f"another project, {world.platform.state.parent.parent}")
    assert f"cd {world.platform.state.parent.parent} && lockgate serve --stop" in caught.value.fix
    world.stop()
    supervisor.check_port(other)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortTaken, match="another program"):
        supervisor.check_port(other)


def test_a_killed_platform_has_no_port_any_more(world: World, tmp_path: Path) -> None:
    running = world.start()
    port = int(running.address.rpartition(":")[2])
    os.kill(running.pid, signal.SIGKILL)
    # Its folder is free when its last thread has ended, shortly after the first one.
    world.until(lambda: supervisor.status(world.platform.state) == supervisor.Stopped())
    other = Platform(state=tmp_path / "other" / ".lockgate" / "serve", store=world.uri, port=port)
    with ExitStack() as stack:
        with suppress(
            OSError
        ):  # another connection of this machine may have taken the port first, with the same effect
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        with pytest.raises(PortTaken, match="another program"):
            supervisor.check_port(other)


def test_another_store_is_refused_while_one_is_served(world: World) -> None:
    world.start()
    world.platform = Platform(state=world.platform.state, store="file:///elsewhere", port=0)
    with pytest.raises(OtherStore) as caught:
        world.start()
    assert "lockgate serve --stop" in caught.value.fix


def test_a_supervisor_that_cannot_start_says_why(world: World) -> None:
    (world.environment / "store").write_text("ftp://nothing")
    with pytest.raises(ServeFailed) as caught:
        world.start()
    assert "ftp://nothing" in world.platform.log.read_text()
    assert str(world.platform.log) in caught.value.fix


def test_a_candidate_is_reached_at_its_own_address_only(world: World, http: Http) -> None:
    old, new = world.bundle("adult", n=1), world.bundle("adult", n=2)
    world.live("adult", old)
    address = world.start().address
    world.ready("adult", "live", old)
    world.candidate("adult", new, run="r7")
    said = world.ready("adult", "candidate", new)
    assert said["run"] == "r7"
    assert digest_of(http(f"{said['address']}/v2/models/adult/infer", INFER)) == new
    assert digest_of(http(f"{address}/v2/models/adult/infer", INFER)) == old


@pytest.mark.parametrize("end", ["deleted", "expired"])
def test_a_candidate_that_is_released_or_expired_is_stopped(world: World, end: str) -> None:
    bundle = world.bundle("adult")
    world.start()
    world.candidate("adult", bundle)
    child = world.ready("adult", "candidate", bundle)["pid"]
    if end == "deleted":
        world.release("adult")
    else:
        world.candidate("adult", bundle, seconds=-1)
    world.until(lambda: not alive(child))
    world.until(lambda: world.status("adult")["candidate"] is None)


def test_a_candidate_that_becomes_live_keeps_its_server(world: World, http: Http) -> None:
    old, new = world.bundle("adult", n=1), world.bundle("adult", n=2)
    world.live("adult", old)
    address = world.start().address
    first = world.ready("adult", "live", old)["pid"]
    world.candidate("adult", new)
    second = world.ready("adult", "candidate", new)["pid"]
    world.live("adult", new, 2)
    assert world.ready("adult", "live", new)["pid"] == second
    world.release("adult")
    world.until(lambda: not alive(first))
    world.until(lambda: world.status("adult")["candidate"] is None)
    assert http(f"{address}/v2/models/adult/infer", INFER).json["pid"] == second


def test_live_that_moves_to_a_server_not_ready_keeps_the_old_one_answering(world: World, http: Http) -> None:
    old, new = world.bundle("adult", n=1), world.bundle("adult", exit=3, say="no signature")
    world.live("adult", old)
    address = world.start().address
    world.ready("adult", "live", old)
    world.live("adult", new, 2)
    world.until(lambda: (world.status("adult")["live"] or {}).get("problem"))
    assert world.status("adult")["live"]["ready"] is False
    assert digest_of(http(f"{address}/v2/models/adult/infer", INFER)) == old


def test_requests_in_flight_are_answered_by_the_old_server(world: World, http: Http) -> None:
    old, new = world.bundle("adult", slow=2), world.bundle("adult", n=2)
    world.live("adult", old)
    address = world.start().address
    world.ready("adult", "live", old)
    world.candidate("adult", new)
    world.ready("adult", "candidate", new)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(http, f"{address}/v2/models/adult/infer", INFER)
        world.live("adult", new, 2)
        world.ready("adult", "live", new)
        assert digest_of(http(f"{address}/v2/models/adult/infer", INFER)) == new
        assert digest_of(slow.result()) == old


def test_stopping_answers_what_is_in_flight(world: World, http: Http) -> None:
    bundle = world.bundle("adult", slow=1)
    world.live("adult", bundle)
    address = world.start().address
    world.ready("adult", "live", bundle)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(http, f"{address}/v2/models/adult/infer", INFER)
        while not slow.running():
            pass
        threading.Event().wait(0.3)  # let the request arrive; a late one would be refused, and the test would fail
        world.stop()
        assert digest_of(slow.result()) == bundle


def test_no_request_fails_while_live_moves_and_none_is_early(world: World) -> None:
    bundles = [world.bundle("adult", n=n) for n in range(4)]
    world.live("adult", bundles[0])
    address = world.start().address
    world.ready("adult", "live", bundles[0])
    promoted = [bundles[0]]
    answers: list[tuple[int, str, frozenset[str]]] = []

    async def ask(session: ClientSession) -> None:
        async with session.post(f"{address}/v2/models/adult/infer", data=INFER) as answer:
            body = await answer.json()
            answers.append((answer.status, body["parameters"]["bundle"], frozenset(promoted)))

    async def client() -> None:
        async with ClientSession() as session, asyncio.TaskGroup() as group:
            mover = asyncio.create_task(asyncio.to_thread(move))
            while not mover.done():
                group.create_task(ask(session))
                await asyncio.sleep(0.02)
            await mover
            group.create_task(ask(session))

    def move() -> None:
        for generation, bundle in enumerate(bundles[1:], start=2):
            world.candidate("adult", bundle)
            world.ready("adult", "candidate", bundle)
            promoted.append(bundle)
            world.live("adult", bundle, generation)
            world.ready("adult", "live", bundle)
            world.release("adult")

    asyncio.run(client())
    assert {status for status, _, _ in answers} == {200}
    assert all(bundle in allowed for _, bundle, allowed in answers)
    assert set(Counter(bundle for _, bundle, _ in answers)) == set(bundles)


def test_a_crashed_server_is_started_again(world: World, http: Http) -> None:
    bundle = world.bundle("adult")
    world.live("adult", bundle)
    address = world.start().address
    first = world.ready("adult", "live", bundle)["pid"]
    assert http(f"{address}/v2/models/adult/crash", b"").status == 502
    world.until(lambda: (world.status("adult")["live"] or {}).get("pid") not in (None, first))
    assert digest_of(http(f"{address}/v2/models/adult/infer", INFER)) == bundle


def test_a_bundle_that_its_server_refuses_is_a_problem_at_once(world: World, http: Http) -> None:
    line = json.dumps({"event": "error", "message": "bias-audit did not pass", "fix": "lockgate report r1"})
    bundle = world.bundle("adult", exit=3, say=line)
    address = world.start().address
    world.candidate("adult", bundle)
    world.until(lambda: (world.status("adult")["candidate"] or {}).get("problem"))
    said = world.status("adult")["candidate"]
    assert said["problem"] == "exit 3: bias-audit did not pass. lockgate report r1"
    assert said["refused"] is True
    assert http(f"{address}/v2/models/adult/infer", INFER).status == 503


def test_a_server_that_never_is_ready_is_a_problem(world: World) -> None:
    bundle = world.bundle("adult", never_ready=True, say="still loading")
    world.start(ready=2, attempts=1)
    world.candidate("adult", bundle)
    world.until(lambda: "still loading" in ((world.status("adult")["candidate"] or {}).get("problem") or ""))
    said = world.status("adult")["candidate"]
    assert said["problem"] == "not ready within 2 s: still loading"
    assert said["refused"] is False


def test_a_server_that_dies_is_tried_again_before_it_is_a_problem(world: World) -> None:
    bundle = world.bundle("adult", exit=1, say="cannot bind")
    world.start(attempts=3, longest_pause=0.1)
    world.candidate("adult", bundle)
    world.until(lambda: (world.status("adult")["candidate"] or {}).get("problem"))
    log = next((world.platform.state / "children").iterdir()).read_text()
    assert log.count("cannot bind") >= 3


def test_a_new_lease_is_not_answered_with_the_old_ones_problem(world: World) -> None:
    bundle = world.bundle("adult", exit=3)
    world.start(longest_pause=600, first_pause=600)
    world.candidate("adult", bundle, run="r1")
    world.until(lambda: (world.status("adult")["candidate"] or {}).get("problem"))
    log = next((world.platform.state / "children").iterdir())
    world.candidate("adult", bundle, run="r2")
    world.until(lambda: log.read_text().count("hello") == 2)
    world.until(lambda: (world.status("adult")["candidate"] or {}).get("run") == "r2")


def test_a_bundle_that_is_not_in_the_store_is_a_problem(world: World) -> None:
    world.start(attempts=1)
    world.candidate("adult", "sha256:" + "0" * 64)
    world.until(lambda: (world.status("adult")["candidate"] or {}).get("problem"))


def test_another_bundle_in_a_bundles_place_is_refused(world: World) -> None:
    bundle, other = world.bundle("adult", n=1), world.bundle("adult", n=2)
    names = [f"models/adult/bundles/{digest.removeprefix('sha256:')}/manifest.json" for digest in (bundle, other)]
    world.store.put(names[0], world.store.read(names[1]).data)
    world.start()
    world.candidate("adult", bundle)
    world.until(lambda: (world.status("adult")["candidate"] or {}).get("refused"))


def test_a_damaged_pointer_changes_nothing(world: World, http: Http) -> None:
    bundle = world.bundle("adult")
    world.live("adult", bundle)
    address = world.start().address
    world.ready("adult", "live", bundle)
    world.store.put("models/adult/live.json", b'{"bundle": "../../etc"}')
    world.until(lambda: "promotion-refused" in world.platform.log.read_text())
    assert digest_of(http(f"{address}/v2/models/adult/infer", INFER)) == bundle
    other = world.bundle("credit")
    world.live("credit", other)
    world.ready("credit", "live", other)


def test_a_live_pointer_that_is_gone_stops_nobody(world: World, http: Http) -> None:
    bundle, new = world.bundle("adult"), world.bundle("adult", n=2)
    world.live("adult", bundle)
    address = world.start().address
    world.ready("adult", "live", bundle)
    world.store.delete("models/adult/live.json", world.store.read("models/adult/live.json").version)
    world.candidate("adult", new)
    world.ready("adult", "candidate", new)
    assert digest_of(http(f"{address}/v2/models/adult/infer", INFER)) == bundle


def test_a_store_that_cannot_be_read_keeps_what_is_served(world: World, http: Http) -> None:
    bundle = world.bundle("adult")
    world.live("adult", bundle)
    address = world.start().address
    world.ready("adult", "live", bundle)
    store = world.root / "store"
    store.rename(world.root / "gone")
    world.until(lambda: "store-trouble" in world.platform.log.read_text())
    assert digest_of(http(f"{address}/v2/models/adult/infer", INFER)) == bundle
    (world.root / "gone").rename(store)
    other = world.bundle("adult", n=2)
    world.live("adult", other, 2)
    world.ready("adult", "live", other)


def test_unknown_models_and_models_without_live_are_said_apart(world: World, http: Http) -> None:
    bundle = world.bundle("adult")
    world.bundle("credit")
    world.live("adult", bundle)
    address = world.start().address
    world.ready("adult", "live", bundle)
    unknown = http(f"{address}/v2/models/aduld/infer", INFER)
    assert (unknown.status, unknown.json) == (404, {"error": "unknown model 'aduld'; known: adult, credit"})
    waiting = http(f"{address}/v2/models/credit/infer", INFER)
    assert waiting.status == 503
    assert "lockgate run credit" in waiting.json["error"]


def test_the_page_and_its_json_say_what_is_live(world: World, http: Http) -> None:
    bundle = world.bundle("adult")
    running: Running = world.start()
    assert (
        "No model is served yet" in http(running.address).body.decode()
        or "adult" in http(running.address).body.decode()
    )
    assert http(f"{running.address}/v2/health/live").json == {"live": True}
    world.live("adult", bundle)
    world.ready("adult", "live", bundle)
    page = http(running.address).body.decode()
    assert bundle[:19] in page
    assert 'href="v2/models/adult"' in page
    (said,) = http(f"{running.address}/v2").json["models"]
    assert said == {**said, "model": "adult", "bundle": bundle, "ready": True, "problem": None, "candidate": None}
    assert http(f"{running.address}/v2/health/ready").json == {"ready": True, "waiting": []}
    assert http(f"{running.address}/nothing").status == 404
    assert http(f"{running.address}/v2", b"").status == 405
