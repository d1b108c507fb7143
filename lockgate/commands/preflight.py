"""Checks before the first step: the header of a local file, the name of an estimator.

The programs check both again; here a typing error is found at once, with the nearest names.
"""

import csv
import io
import zlib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lockgate_step import Data, Records, unpacked

from lockgate.definition.catalog import Catalog
from lockgate.definition.model import ModelSpec
from lockgate.errors import BadCall

PARQUET = b"PAR1"


def check_columns(spec: ModelSpec, uri: str) -> None:
    """Check that the header of a local CSV has each column of the spec. Errors: BadCall.

    A file that cannot be read is left to ingest, which reports why.
    """
    names = spec.source.columns or _header(uri, spec.source)
    if names is None:
        return
    wanted = dict.fromkeys([*spec.inputs, spec.target.name, *spec.sensitive, *spec.split.key])
    absent = [name for name in wanted if name not in names]
    if not absent:
        return
    msg = f"{Path(_path(uri) or uri).name} has no column {', '.join(absent)} among its {len(names)}"
    # If no name fits, the file may have no header; then its first line is data about a person and is not shown.
    near = near_names(absent, names, 3, 0.6) if len(absent) < len(wanted) else {}
    if len(names) == 1:
        raise BadCall(msg, fix=f"set the delimiter in pipeline.py; it is {spec.source.delimiter!r} now")
    meant = [f"for {name} did you mean {', '.join(found)}?" for name, found in near.items()]
    raise BadCall(
        msg,
        fix="; ".join(["correct pipeline.py or the file", *meant])
        if meant
        else "correct the names, the delimiter, or `columns` (for a file without a header)",
    )


def check_estimator(name: object, catalog: Catalog) -> None:
    """Check that an estimator is one that train accepts. Errors: BadCall."""
    known = (catalog.root / "steps/train/lockgate_train/classifiers.txt").read_text(encoding="utf-8").split()
    if name in known:
        return
    last = {each.rpartition(".")[2]: each for each in known}
    near = [last[found] for found in get_close_matches(str(name).rpartition(".")[2], last, 3, 0.5)]
    msg = f"{name!r} is not the public name of a scikit-learn classifier"
    raise BadCall(msg, fix=f"did you mean {', '.join(near)}?" if near else "write e.g. " + known[0])


def near_names(absent: Iterable[str], names: Iterable[str], most: int, cutoff: float) -> dict[str, list[str]]:
    """For each absent column, the columns with the nearest names, if there are any; case and spaces do not count."""
    spelt = {plain(name): name for name in names}
    found = {name: get_close_matches(plain(name), spelt, most, cutoff) for name in absent}
    return {name: [spelt[each] for each in near] for name, near in found.items() if near}


def plain(name: str) -> str:
    """A column's name in lower case, without spaces."""
    return "".join(name.casefold().split())


def _path(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _header(uri: str, source: Data) -> list[str] | None:
    """The names in the first line of a local CSV, by the rules of ingest."""
    path = _path(uri)
    if path is None or source.format != "csv":
        return None
    try:
        with path.open("rb") as raw:
            begins = raw.read(4)
        if begins == PARQUET:
            return None
        with (
            path.open("rb") as raw,
            unpacked(raw, path.name, source.limits) as plain,
            io.TextIOWrapper(plain, _encoding(source), newline="") as text,
        ):
            records = Records(text, path.name, source.delimiter, source.limits, comment=source.comment)
            found = next(iter(records), None)
    except (BadCall, OSError, EOFError, zlib.error, ValueError, LookupError, csv.Error, TypeError):
        return None
    return [name.strip() for name in found] if found else None


def _encoding(source: Data) -> str:
    return "utf-8-sig" if source.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else source.encoding
