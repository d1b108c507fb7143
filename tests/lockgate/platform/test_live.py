"""The supervisor serves only what a chain of signed promotions names, whoever writes the store."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from lockgate_proof import new_key
from lockgate_step import canonical

from tests.lockgate.platform.conftest import Answer, World
from tests.promotions import make_live, signed_pointer

Http = Callable[..., Answer]
INFER = b'{"inputs": []}'
AT = "2027-01-01T00:00:00+00:00"


def edit(world: World, refused: str, **changes: object) -> None:
    key = "models/adult/live.json"
    world.store.put(key, canonical({**json.loads(world.store.read(key).data), "bundle": refused, **changes}))


def unsigned(world: World, refused: str) -> None:
    said = {"bundle": refused, "generation": 3, "previous": None, "run": "r", "at": AT}
    world.store.put("models/adult/live.json", canonical(said))


def forged(world: World, refused: str) -> None:
    """A correct chain, by a key of the attacker's."""
    new_key(world.root / "attacker.pem")
    before = json.loads(world.store.read("models/adult/live.json").data)
    live = signed_pointer(
        "adult", world.root / "attacker.pem", bundle=refused, generation=3, before=before, run="r", at=AT
    )
    world.store.put("models/adult/history/2.json", canonical(before))
    world.store.put("models/adult/live.json", canonical(live))


def set_back(world: World, refused: str) -> None:
    """The promotion before, signed by the right key, with every later record removed."""
    del refused
    world.store.put("models/adult/live.json", world.store.read("models/adult/history/1.json").data)


ATTACKS: dict[str, tuple[Callable[[World, str], None], str]] = {
    "edited": (edit, "its bundle is not the one in its signed promotion"),
    "unsigned": (unsigned, "has no signed promotion"),
    "forged": (forged, "is not signed by a key that may sign as promote"),
    "set back": (set_back, "was set back to generation 1: generation 2 was accepted before"),
}


def served(world: World, address: str, http: Http) -> Any:
    return http(f"{address}/v2/models/adult/infer", INFER).json["parameters"]["bundle"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_pointer_that_nobody_signed_is_not_served(world: World, http: Http, attack: str) -> None:
    first, live, refused = (world.bundle("adult", n=n) for n in (1, 2, 3))
    world.live("adult", first)
    address = world.start().address
    world.ready("adult", "live", first)
    world.live("adult", live, 2)
    world.ready("adult", "live", live)
    change, says = ATTACKS[attack]
    change(world, refused)
    world.until(lambda: says in str(world.status("adult").get("alert")))
    assert served(world, address, http) == live
    assert says in http(f"{address}/v2").json["models"][0]["problem"]
    (line,) = [x for x in map(json.loads, world.platform.log.read_text().splitlines()) if says in x.get("problem", "")]
    assert (line["event"], bool(line["fix"])) == ("promotion-refused", True)
    world.stop()  # a restart forgets nothing
    address = world.start().address
    world.ready("adult", "live", live)
    assert served(world, address, http) == live


def test_a_platform_that_has_seen_nothing_serves_nothing_unproven(world: World, http: Http) -> None:
    refused = world.bundle("adult")
    unsigned(world, refused)
    address = world.start().address
    world.until(lambda: "promotion-refused" in world.platform.log.read_text())
    answer = http(f"{address}/v2/models/adult/infer", INFER)
    assert answer.status == 503
    assert "has no signed promotion" in answer.json["error"]


def test_a_history_that_is_restored_is_followed_again(world: World) -> None:
    live = world.bundle("adult")
    make_live(world.store, "adult", world.key, live, 3)
    kept = world.store.read("models/adult/history/2.json").data
    world.store.delete("models/adult/history/2.json", world.store.read("models/adult/history/2.json").version)
    world.start()
    world.until(lambda: "has no generation 2" in str(world.status("adult").get("alert")))
    world.store.put("models/adult/history/2.json", kept)
    world.ready("adult", "live", live)
    assert world.status("adult")["alert"] == ""
