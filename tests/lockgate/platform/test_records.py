"""Bundles of a store that is not a folder are copied, and their digests are verified."""

from pathlib import Path

import pytest
from lockgate_proof import ProofError, Trust
from lockgate_store import Missing, Store

from lockgate.platform.records import Records
from lockgate.records.promotions import Memory
from tests.lockgate.platform.conftest import World


@pytest.fixture
def records(world: World) -> Records:
    """The store as a remote one: only the URI shows that it is a folder."""
    trust = Trust.read(world.environment / "trust.json")
    return Records(world.store, "s3://evidence", world.root / "copies", lambda: trust, Memory(world.root / "accepted"))


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_is_copied_whole_and_once(world: World, records: Records) -> None:
    bundle = world.bundle("adult")
    folder = records.folder("adult", bundle)
    assert names(folder) == {"manifest.json", "behaviour.json"}
    store: Store = world.store
    for key in list(store.list("models/adult/bundles/")):
        store.delete(key, store.read(key).version)
    assert records.folder("adult", bundle) == folder
    records.forget(bundle)
    with pytest.raises(Missing):
        records.folder("adult", bundle)


@pytest.mark.parametrize("name", ["behaviour.json", "manifest.json"])
def test_a_bundle_that_was_changed_in_the_store_is_refused(world: World, records: Records, name: str) -> None:
    bundle = world.bundle("adult")
    key = f"models/adult/bundles/{bundle.removeprefix('sha256:')}/{name}"
    world.store.put(key, world.store.read(key).data.replace(b"{", b'{"more":1,', 1))
    with pytest.raises(ProofError) as caught:
        records.folder("adult", bundle)
    assert caught.value.exit_code == 3


def test_a_copy_that_was_cut_short_is_made_again(world: World, records: Records) -> None:
    bundle = world.bundle("adult")
    draft = world.root / "copies" / f"{bundle.removeprefix('sha256:')}.part"
    draft.mkdir(parents=True)
    (draft / "left-over").write_text("of a supervisor that was killed")
    assert names(records.folder("adult", bundle)) == {"manifest.json", "behaviour.json"}


def test_pointers_are_found_by_listing(world: World, records: Records) -> None:
    bundle = world.bundle("adult")
    world.live("adult", bundle)
    wanted = records.wanted()["adult"]
    assert wanted is not None and wanted.live is not None
    assert wanted.live.bundle == bundle
