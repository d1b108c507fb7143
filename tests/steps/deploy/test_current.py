"""A version that earlier rules admitted does not go live: what is current is in the environment."""

import json
from collections.abc import Callable

import pytest
from lockgate_step import canonical

from tests.steps.deploy.conftest import Bench

Change = Callable[[Bench], object]


def stricter_policy(bench: Bench) -> None:
    """Make the policy stricter, as `lockgate render` and `kubectl apply` do; the run is of the earlier template."""
    kept = bench.policy.read_bytes()
    bench.policy.write_text(bench.policy.read_text() + "\n# stricter\n")
    bench.make_current()
    bench.policy.write_bytes(kept)


def another_spec(bench: Bench) -> None:
    kept = bench.spec.read_bytes()
    bench.spec.write_bytes(canonical({**json.loads(kept), "owner": "another@example.org"}))
    bench.make_current()
    bench.spec.write_bytes(kept)


def stricter_expectations(bench: Bench) -> None:
    """The verdict on the data names the ones that it was judged by."""
    bench.expectations.write_text('[{"type": "expect_column_to_exist"}]')
    bench.make_current()


def expectations_unsaid(bench: Bench) -> None:
    """As in an environment that was rendered before they counted."""
    said = json.loads((bench.environment / "current.json").read_bytes())
    del said["models"][bench.model]["expectations"]
    (bench.environment / "current.json").write_bytes(canonical(said))


def nothing_said(bench: Bench) -> None:
    (bench.environment / "current.json").unlink()


def another_model(bench: Bench) -> None:
    (bench.environment / "current.json").write_bytes(canonical({"version": 1, "models": {"another": {}}}))


def damaged(bench: Bench) -> None:
    (bench.environment / "current.json").write_text("[]")


CHANGES: list[tuple[Change, str]] = [
    (stricter_policy, "was judged by the policy"),
    (another_spec, "was judged by the spec"),
    (stricter_expectations, "was judged by the expectations"),
    (expectations_unsaid, "was judged by the expectations"),
    (nothing_said, "does not name the current policy"),
    (another_model, "does not name the current policy"),
    (damaged, "does not contain what is current"),
]


@pytest.mark.parametrize(("change", "says"), CHANGES, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_not_current_is_neither_staged_nor_promoted(bench: Bench, change: Change, says: str) -> None:
    folder = bench.bundle()
    smoke = bench.smoke(folder)
    change(bench)
    before = bench.records()
    for ended in (bench.deploy(folder), bench.promote(folder, smoke)):
        assert ended.code == 3, ended.log
        assert says in ended.error["message"]
        assert ended.error["fix"]
    assert bench.records() == before


def test_what_is_current_goes_live(bench: Bench) -> None:
    folder = bench.bundle()
    with bench.platform():
        assert bench.deploy(folder).code == 0
        assert bench.promote(folder, bench.smoke(folder)).code == 0
    assert bench.get("live.json")["bundle"] == bench.digest(folder)
