"""A version that earlier rules admitted does not go live: what is current is in the environment."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lockgate_delivery import proving
from lockgate_proof import ProofError, sign, verify
from lockgate_step import canonical, sha256

from tests.steps.version_bench import Bench

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


# On a cluster, each record names the image that signed it. ----------------------------------------------------------

IMAGE = f"registry.example.org/lockgate/{{}}@{sha256(b'an image')}"
SIGNED = ("ingest", "predict", "package", "validate-data", "validate-model", "bias-audit", "deploy", "smoke-test")


def judged(bench: Bench, other: str = "", image: str = "") -> tuple[Path, Path, Path]:
    """Return a bundle, deploy's record and its smoke verdict, of the current images except for one program."""

    def program(name: str) -> dict[str, object]:
        return {"program": {"name": name, "image": image if name == other else IMAGE.format(name)}}

    def resigned(path: Path, signer: str, content: bytes | None = None) -> None:
        found = verify(content or path.read_bytes(), bench.trust, signer=signer)
        said = {**found.predicate, **program(signer)}
        path.write_bytes(canonical(sign(found.kind, found.subjects, said, bench.keys[signer])))

    def alter(bench: Bench, folder: Path, subjects: dict[str, str]) -> None:
        resigned(folder / "data.json", "ingest")
        resigned(folder / "answers.json", "predict")
        for gate in ("validate-data", "validate-model", "bias-audit"):
            resigned(folder / "verdicts" / f"{gate}.json", gate)

    folder = bench.bundle(alter=alter)
    resigned(folder / "record.json", "package")
    staged, smoke = bench.root / "staged", bench.root / "smoke"
    resigned(staged, "deploy", bench.staged(folder))
    resigned(smoke, "smoke-test", bench.smoke(folder, staged=staged.read_bytes()))
    return folder, staged, smoke


def on_a_cluster(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.environment / "platform").write_text("kubernetes\n")
    said = json.loads((bench.environment / "current.json").read_bytes())
    said["models"][bench.model]["images"] = {name: IMAGE.format(name) for name in SIGNED}
    (bench.environment / "current.json").write_bytes(canonical(said))
    monkeypatch.setenv("LOCKGATE_IO", str(bench.root))
    monkeypatch.setenv("LOCKGATE_RUN", "r1")
    monkeypatch.setenv("LOCKGATE_UID", "u1")


def proven(bench: Bench, folder: Path, staged: Path, smoke: Path) -> None:
    proving.prove_staged(staged, proving.prove(folder, bench.spec, bench.policy), smoke_test=smoke)


@pytest.mark.parametrize("image", [f"evil.example.org/evil/model-server@{sha256(b'evil')}", "", IMAGE.format("other")])
@pytest.mark.parametrize("program", SIGNED)
def test_a_record_of_another_image_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, program: str, image: str
) -> None:
    """As by a template whose LOCKGATE_IMAGE was changed: predict's image would serve users."""
    folder, staged, smoke = judged(bench, program, image)
    on_a_cluster(bench, monkeypatch)
    with pytest.raises(ProofError, match=f"{program} of {bench.model} ran in image"):
        proven(bench, folder, staged, smoke)


def test_records_of_the_current_images_are_accepted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    records = judged(bench)
    on_a_cluster(bench, monkeypatch)
    proven(bench, *records)


def test_an_environment_without_images_accepts_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    records = judged(bench)
    on_a_cluster(bench, monkeypatch)
    bench.make_current()
    with pytest.raises(ProofError, match="ran in image"):
        proven(bench, *records)
