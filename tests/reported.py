"""Recorded runs with pages: the recordings leave them out."""

import base64
import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from lockgate_proof import GATES_OF_A_BUNDLE, Trust, TrustedKey, new_key, sign
from lockgate_report import page
from lockgate_step import canonical, sha256

PAGES = {gate: ("report", "verdict") for gate in GATES_OF_A_BUNDLE} | {"package": ("card", "bundle/record.json")}


def add_pages(run: Path, trust: Path) -> None:
    """Give each gate of a recorded run its page, and package its card; sign their digests with keys that are trusted.

    trust: the trust file, in which these keys replace the recorded ones.
    """
    for step, (output, signed) in PAGES.items():
        for out in run.glob(f"nodes/*{step}.0/out"):
            (out / output).write_text(page("t", "the body", about=step))
            sign_again(out / signed, step, {"pages": {output: sha256((out / output).read_bytes())}})
    known = Trust.read(trust)
    keys = [replace(key, may=tuple(name for name in key.may if name not in PAGES)) for key in known.keys]
    theirs = [TrustedKey(_key(step)[1], (step,), known.for_signer(step)[0].owner) for step in PAGES]
    trust.write_bytes(replace(known, keys=(*(key for key in keys if key.may), *theirs)).to_bytes())
    declare(run, {step: [output] for step, (output, _) in PAGES.items()})


def declare(run: Path, pages: dict[str, list[str]]) -> None:
    """Name outputs that the steps of a run declare as pages."""
    about = json.loads((run / "about.json").read_bytes())
    (run / "about.json").write_text(json.dumps({**about, "pages": {**about.get("pages", {}), **pages}}))


def sign_again(path: Path, step: str, changes: dict[str, Any]) -> None:
    """Sign a recorded statement again, with another predicate."""
    said = json.loads(base64.b64decode(json.loads(path.read_bytes())["payload"]))
    subjects = {each["name"]: f"sha256:{each['digest']['sha256']}" for each in said["subject"]}
    kind = said["predicateType"].split(":")[2]
    path.write_bytes(canonical(sign(kind, subjects, {**said["predicate"], **changes}, _key(step)[0])))


@cache
def _key(step: str) -> tuple[Path, str]:
    """The private key of a step, and its public one."""
    path = Path(tempfile.mkdtemp()) / f"{step}.pem"
    return path, new_key(path)
