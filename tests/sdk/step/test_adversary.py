"""Records, waivers and bundles that somebody wrote on purpose: refused with a reason, or equal in meaning."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lockgate_proof import (
    LONGEST,
    Promotion,
    ProofError,
    Trust,
    TrustedKey,
    VerifiedBundle,
    new_key,
    read_manifest,
    read_promotion,
    read_waivers,
    sign,
    verify,
    verify_bundle,
    verify_verdict,
)
from lockgate_proof._bundle import _check_files, _read
from lockgate_step import BadCall, LockgateError, canonical, copy_supplied, read_time, sha256, tree_digest

from tests.faults import examples
from tests.promotions import signed_pointer

sys.path.insert(0, str(Path(__file__).parents[2] / "services" / "model-server"))
import tiny_bundle

SUBJECTS = {"data": sha256(b"data"), "policy": sha256(b"policy")}
NOW = datetime.now(UTC)
GATE = "validate-data"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tiny_bundle.Authority:
    made = tiny_bundle.Authority(tmp_path_factory.mktemp("keys"))
    made.keys["waive"] = tmp_path_factory.mktemp("approver") / "waive.pem"
    approver = TrustedKey(new_key(made.keys["waive"]), ("waive",), "approver@example.org")
    made.trust = replace(made.trust, keys=(*made.trust.keys, approver))
    return made


@pytest.fixture(scope="module")
def bundle(authority: tiny_bundle.Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    authority.write_bundle(folder)
    return folder


def waivers(authority: tiny_bundle.Authority, expires: object, **said: object) -> bytes:
    """A list of one waiver, signed by hand."""
    fields = {"model": "tiny", "gate": GATE, "reason": "rows", "approver": "Ana", "why": "A pilot.", "expires": expires}
    envelope = sign("waiver", SUBJECTS, {**fields, **said}, authority.keys["waive"])
    return canonical([{"file": "waivers/x.json", "envelope": envelope}])


class TestWaivers:
    """The limits of the command line hold wherever a waiver is read."""

    @pytest.mark.parametrize("expires", ["2990-12-31T00:00:00+00:00", (NOW + LONGEST + timedelta(days=1)).isoformat()])
    def test_one_that_lasts_too_long_is_refused_with_the_limit(
        self, authority: tiny_bundle.Authority, expires: str
    ) -> None:
        with pytest.raises(BadCall, match="a waiver lasts at most 366 days from now"):
            read_waivers(waivers(authority, expires), authority.trust)

    @pytest.mark.parametrize(
        "expires",
        [
            "9990-12-31T00:00:00+00:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2027-01-31",
            "2027-01-31T00:00:00", "20270131T000000Z", "2027-W05-1T00:00:00Z", "2027-01-31T00:00:00+24:00",
            "2027-01-31T00:00:00 +00:00", "2027-01-31T24:00:00Z", "2027-02-30T00:00:00Z",
            "\u0662\u0660\u0662\u0667-01-31T00:00:00Z", "", None, 1801353600, [], {},
        ],
    )  # fmt: skip
    def test_an_end_that_is_not_a_time_is_refused(self, authority: tiny_bundle.Authority, expires: object) -> None:
        with pytest.raises(BadCall, match="does not state its model, gate, reason, approver, why and expires"):
            read_waivers(waivers(authority, expires), authority.trust)

    @pytest.mark.parametrize("field", ["model", "gate", "reason", "approver", "why"])
    @pytest.mark.parametrize("text", ["", " ", "a\x1b]0;pwn\x07", "a\u202eb", "two\nlines", "x" * 5000, 3, None])
    def test_a_text_that_cannot_be_shown_is_refused(
        self, authority: tiny_bundle.Authority, field: str, text: object
    ) -> None:
        content = waivers(authority, (NOW + timedelta(days=9)).isoformat(), **{field: text})
        with pytest.raises(BadCall, match="does not state its model"):
            read_waivers(content, authority.trust)

    @pytest.mark.parametrize("file", ["", "a\x1bb", "a\u202eb", 3, None])
    def test_a_file_name_that_cannot_be_shown_is_refused(self, authority: tiny_bundle.Authority, file: object) -> None:
        (entry,) = json.loads(waivers(authority, (NOW + timedelta(days=9)).isoformat()))
        with pytest.raises(BadCall, match="are not a list of signed waivers"):
            read_waivers(canonical([{**entry, "file": file}]), authority.trust)

    def test_the_last_day_that_the_command_line_gives_is_accepted(self, authority: tiny_bundle.Authority) -> None:
        for zone in ("+00:00", "+14:00", "-12:00", "Z"):
            last = f"{NOW + LONGEST - timedelta(days=1):%Y-%m-%dT00:00:00}{zone}"
            (found,) = read_waivers(waivers(authority, last), authority.trust)
            assert found.expires == read_time(last)

    def test_a_bundle_with_such_a_waiver_is_refused(
        self, authority: tiny_bundle.Authority, bundle: Path, tmp_path: Path
    ) -> None:
        copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
        (copy / "waivers.json").write_bytes(waivers(authority, "9990-12-31T00:00:00+00:00"))
        reseal(authority, copy)
        with pytest.raises(ProofError, match="does not state"):
            verify_bundle(copy, authority.trust, now=None)


def reseal(authority: tiny_bundle.Authority, folder: Path, **manifest: object) -> None:
    """Seal a bundle's present files as package would, whatever they are."""
    record = verify(folder / "record.json", authority.trust, signer="package")
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    files = {n: sha256((folder / n).read_bytes()) for n in names if n not in ("manifest.json", "record.json")}
    content = canonical({"protocol": 1, "model": "tiny", "files": files, **manifest})
    (folder / "manifest.json").write_bytes(content)
    subjects = {**record.subjects, "bundle": sha256(content)}
    (folder / "record.json").write_bytes(authority.sign("package", "bundle", subjects, {"model": "tiny"}))


class TestBundles:
    """Plain files with plain names, each read once."""

    @pytest.mark.parametrize("files", [[], [["model/model.json", "x"]], "model.json", 1, None])
    def test_files_of_another_form_are_refused(
        self, authority: tiny_bundle.Authority, bundle: Path, tmp_path: Path, files: object
    ) -> None:
        copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
        (copy / "manifest.json").write_bytes(canonical({"protocol": 1, "model": "tiny", "files": files}))
        with pytest.raises(ProofError, match="is not a bundle"):
            verify_bundle(copy, authority.trust, now=None)

    @pytest.mark.parametrize(
        "name",
        [
            "../x", "/etc/passwd", "a//b", "./a", "a/./b", "a/../b", "a/", "", ".", "..", ".hidden", "model/.x", "a\\b",
            "a\x00b", "a\nb", "e\u0301", "a\u202eb", "x" * 2000,
        ],
    )  # fmt: skip
    def test_a_name_that_is_not_plain_is_refused(
        self, authority: tiny_bundle.Authority, bundle: Path, tmp_path: Path, name: str
    ) -> None:
        copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
        manifest = json.loads((copy / "manifest.json").read_bytes())
        manifest["files"][name] = sha256(b"")
        (copy / "manifest.json").write_bytes(canonical(manifest))
        with pytest.raises(ProofError, match="is not a bundle"):
            verify_bundle(copy, authority.trust, now=None)

    @pytest.mark.parametrize("name", ["manifest.json", "record.json", "data.json", "model/model.onnx"])
    @pytest.mark.parametrize("kind", ["link", "fifo", "folder", "device"])
    def test_anything_but_a_regular_file_is_refused_at_once(
        self, authority: tiny_bundle.Authority, bundle: Path, tmp_path: Path, name: str, kind: str
    ) -> None:
        copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
        (copy / name).rename(tmp_path / "kept")
        match kind:
            case "link":
                (copy / name).symlink_to(tmp_path / "kept")
            case "fifo":
                os.mkfifo(copy / name)
            case "folder":
                (copy / name).mkdir()
            case "device":
                (copy / name).symlink_to("/dev/zero")
        with pytest.raises(ProofError):
            verify_bundle(copy, authority.trust, now=None)

    def test_a_fifo_that_nothing_names_is_refused(
        self, authority: tiny_bundle.Authority, bundle: Path, tmp_path: Path
    ) -> None:
        copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
        os.mkfifo(copy / "more")
        with pytest.raises(ProofError, match="more is a link or not a regular file"):
            verify_bundle(copy, authority.trust, now=None)

    def test_a_folder_of_links_has_no_digest(self, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.onnx").symlink_to("/etc/passwd")
        with pytest.raises(BadCall, match="is a link or not a regular file"):
            tree_digest(tmp_path / "model")

    def test_a_copy_is_private_and_has_the_same_digest(self, bundle: Path, tmp_path: Path) -> None:
        copy_supplied(bundle, tmp_path / "copy")
        assert tree_digest(tmp_path / "copy") == tree_digest(bundle)
        folders = [tmp_path / "copy", *(path for path in (tmp_path / "copy").rglob("*") if path.is_dir())]
        assert {oct(path.stat().st_mode & 0o777) for path in folders} == {"0o700"}

    def test_a_record_that_changes_while_it_is_verified_is_refused(
        self, authority: tiny_bundle.Authority, bundle: Path, tmp_path: Path
    ) -> None:
        """Each record is read once more after its digest was checked: then it must still be the same."""
        copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
        other = authority.sign(GATE, "verdict", SUBJECTS, {"model": "tiny", "gate": GATE, "result": "passed"})
        digests = _check_files(copy, read_manifest(copy))
        (copy / "verdicts" / f"{GATE}.json").write_bytes(other)
        with pytest.raises(ProofError, match="was changed"):
            _read(copy, f"verdicts/{GATE}.json", digests)


# --- mutations -------------------------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=9), st.just([]), st.just({}),
    st.sampled_from(
        ["passed", "promote", "waive", "../x", f"sha256:{'0' * 64}", "9999-12-31T23:59:59-14:00", "\ud800"]
    ),
)  # fmt: skip


@st.composite
def changes(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Return a change of a JSON document: of one of its values, or of its bytes."""
    way, where, leaf = draw(st.integers(0, 6)), draw(st.integers(0, 2**32)), draw(LEAVES)
    piece = draw(st.binary(min_size=1, max_size=8))

    def change(content: bytes) -> bytes:
        at = where % (len(content) + 1)
        match way:
            case 0:
                return content[:at] + piece + content[at + len(piece) :]
            case 1:
                return content[:at] + piece + content[at:]
            case 2:
                return content[:at] + content[at + len(piece) :]
            case 3:
                return content[:at]
            case 4:
                return b"[" * 100_000 + content
            case _:
                return _dumped(_replaced(json.loads(content), where, leaf, remove=way == 6))

    return change


def _dumped(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _replaced(value: Any, where: int, leaf: object, *, remove: bool) -> Any:
    """Replace or remove one of the places of a JSON value."""
    places: list[tuple[Any, Any]] = []

    def walk(each: Any) -> None:
        for key, inner in each.items() if isinstance(each, dict) else enumerate(each):
            places.append((each, key))
            if isinstance(inner, dict | list):
                walk(inner)

    changed = deepcopy(value)
    walk(changed)
    if not places:
        return leaf
    holder, key = places[where % len(places)]
    if remove:
        del holder[key]
    else:
        holder[key] = leaf
    return changed


def signed_change(content: bytes, change: Callable[[bytes], bytes], key: Path, kind: str) -> bytes | None:
    """Change the statement of an envelope and sign it again: what a signer with a fault could write."""
    import base64

    statement = json.loads(base64.b64decode(json.loads(content)["payload"]))
    try:
        said = json.loads(change(canonical(statement["predicate"])))
        return canonical(sign(kind, SUBJECTS, said, key))
    except (ValueError, RecursionError, TypeError):
        return None


@pytest.mark.faults
@examples(60, per_second=100)
@given(change=changes(), other=st.booleans())
def test_an_envelope_is_refused_or_means_the_same(
    authority: tiny_bundle.Authority, change: Callable[[bytes], bytes], other: bool
) -> None:
    said = {"model": "tiny", "gate": GATE, "result": "refused", "reasons": [{"id": "x/1", "rule": "r"}]}
    honest = authority.sign(GATE, "verdict", SUBJECTS, said)
    try:
        found = verify(change(honest), authority.trust, signer=GATE, kind="verdict")
    except LockgateError:
        found = None
    if found is not None:
        assert (found.subjects, found.predicate, found.kind) == (SUBJECTS, said, "verdict")
    faulty = signed_change(honest, change, authority.keys[GATE], "verdict") if other else change(honest)
    if faulty is not None:
        try:
            passed = verify_verdict(faulty, authority.trust, gate=GATE, model="tiny", subjects=SUBJECTS, now=NOW)
        except LockgateError:
            return
        assert other, "a refusal passed"
        assert (passed.predicate["result"], passed.predicate["reasons"]) == ("passed", [])


@pytest.mark.faults
@examples(60, per_second=100)
@given(change=changes())
def test_a_waiver_is_refused_or_means_the_same(
    authority: tiny_bundle.Authority, change: Callable[[bytes], bytes]
) -> None:
    expires = NOW + timedelta(days=9)
    content = waivers(authority, expires.isoformat())
    (honest,) = read_waivers(content, authority.trust)
    try:
        found = read_waivers(change(content), authority.trust)
    except LockgateError:
        return
    assert [replace(each, file=honest.file) for each in found] in ([], [honest])


@pytest.mark.faults
@examples(60, per_second=100)
@given(change=changes())
def test_a_waiver_signed_with_a_fault_has_its_limits(
    authority: tiny_bundle.Authority, change: Callable[[bytes], bytes]
) -> None:
    (entry,) = json.loads(waivers(authority, (NOW + timedelta(days=9)).isoformat()))
    faulty = signed_change(canonical(entry["envelope"]), change, authority.keys["waive"], "waiver")
    if faulty is None:
        return
    try:
        found = read_waivers(canonical([{**entry, "envelope": json.loads(faulty)}]), authority.trust)
    except LockgateError:
        return
    for each in found:
        assert each.expires <= datetime.now(UTC) + LONGEST
        assert all(text.isprintable() for text in (each.model, each.gate, each.reason, each.approver, each.why))


@pytest.mark.faults
@examples(60, per_second=100)
@given(change=changes())
def test_a_trust_file_is_refused_or_read(
    authority: tiny_bundle.Authority, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "trust.json"
    path.write_bytes(change(authority.trust.to_bytes()))
    honest = authority.sign(GATE, "verdict", SUBJECTS, {"model": "tiny"})
    try:
        verify(honest, Trust.read(path), signer=GATE, kind="verdict")
    except LockgateError:
        return


@pytest.mark.faults
@examples(60, per_second=100)
@given(change=changes())
def test_a_live_pointer_is_refused_or_means_the_same(
    authority: tiny_bundle.Authority, change: Callable[[bytes], bytes]
) -> None:
    at, key = NOW.isoformat(), authority.keys["promote"]
    first = signed_pointer("tiny", key, bundle=sha256(b"1"), generation=1, before=None, run="r", at=at)
    live = signed_pointer("tiny", key, bundle=sha256(b"2"), generation=2, before=first, run="r", at=at)
    honest = read_promotion(canonical(live), authority.trust, model="tiny")
    try:
        found = read_promotion(change(canonical(live)), authority.trust, model="tiny")
    except LockgateError:
        return
    assert _meaning(found) == _meaning(honest)


def _meaning(found: Promotion) -> tuple[object, ...]:
    return (found.pointer, found.before, found.verdicts, found.digest)


@pytest.mark.faults
@examples(40, per_second=40)
@given(change=changes(), which=st.integers(0, 99), sealed=st.booleans())
def test_a_bundle_is_refused_or_means_the_same(
    authority: tiny_bundle.Authority,
    bundle: Path,
    tmp_path: Path,
    change: Callable[[bytes], bytes],
    which: int,
    sealed: bool,
) -> None:
    honest = verify_bundle(bundle, authority.trust, now=None)
    copy = tmp_path / "bundle"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(bundle, copy)
    names = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*.json"))
    path = copy / names[which % len(names)]
    path.write_bytes(change(path.read_bytes()))
    try:
        if sealed and path.name not in ("manifest.json", "record.json"):
            reseal(authority, copy)
        found = verify_bundle(copy, authority.trust, now=None)
    except LockgateError:
        return
    finally:
        shutil.rmtree(copy)
    assert _judged(found) == _judged(honest)


def _judged(found: VerifiedBundle) -> tuple[object, ...]:
    """What was judged; a file beside the evidence (a page, a request) may change, and the bundle's digest with it."""
    subjects = {name: digest for name, digest in found.subjects.items() if name != "bundle"}
    return (subjects, {gate: said.predicate for gate, said in found.verdicts.items()}, found.base, found.model)
