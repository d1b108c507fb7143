"""`lockgate predict`: check the rows of a CSV, send them to the live model, write the answers."""

import csv
import io
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lockgate_step import Category, Column, Number

from lockgate.commands.preflight import near_names, plain
from lockgate.definition.model import ModelSpec
from lockgate.errors import BadCall, OutsideFailed
from lockgate.records.address import gateway
from lockgate.records.environment import Environment
from lockgate.records.store import live_of

if TYPE_CHECKING:
    from httpx2 import Client, Response

BATCH = 1000
SECONDS = 60
SHOWN, ROWS, CATEGORIES = 3, 5, 12  # problems of one refusal, rows of a problem, categories of a column, in words
SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}


def predict_csv(environment: Environment, spec: ModelSpec, rows: Path, out: io.TextIOBase | TextIO) -> None:
    """Send the rows of a CSV to the live model; write them back with `label` and `score` added.

    Errors: BadCall if no version is live, a column is missing, a row does not fit the spec, or the model refuses the
    rows; OutsideFailed if the platform does not answer.
    """
    with _answered(environment, spec, rows) as (header, batches):
        writer = csv.writer(out)
        head = [[*header, "label", "score"]]  # written with the first answers, so that a refusal leaves no output
        for batch in batches:
            writer.writerows([*head, *([*row, lab, f"{p:.6g}"] for row, lab, p in batch)])
            head = []
        writer.writerows(head)


def predict_json(environment: Environment, spec: ModelSpec, rows: Path) -> dict[str, Any]:
    """The same as JSON values: each row as in the file, with its label and score. Errors: as `predict_csv`."""
    with _answered(environment, spec, rows) as (header, batches):
        answers = [
            {"row": dict(zip(header, row, strict=True)), "label": label, "score": score}
            for batch in batches
            for row, label, score in batch
        ]
    return {"model": spec.name, "answers": answers}


@contextmanager
def _answered(
    environment: Environment, spec: ModelSpec, rows: Path
) -> Iterator[tuple[list[str], Iterator[list[tuple[list[str], str, float]]]]]:
    """The header of a CSV, and batches of its rows with label and score, as the model answers."""
    if live_of(environment, spec.name) is None:
        msg = f"{spec.name} has no live version"
        raise BadCall(msg, fix=f"lockgate run {spec.name}")
    with _opened(rows) as stream, gateway(environment, SECONDS) as client:
        reader = csv.reader(stream)
        header = next(reader, [])
        check_header(spec, header, "standard input" if str(rows) == "-" else str(rows))
        yield (
            header,
            (
                list(zip(batch, *ask(client, spec, checked_rows(spec, named, first), first), strict=True))
                for first, batch in _batches(reader, len(header))
                for named in [_named(spec, header, batch, first)]
            ),
        )


def check_header(spec: ModelSpec, header: Sequence[str], file: str) -> None:
    """Check the header of a CSV. Errors: BadCall, naming the missing column and the nearest one in the file."""
    missing = [name for name in spec.inputs if name not in header]
    if not missing:
        return
    whole = ",".join(header)
    spelt_inputs = {plain(name) for name in spec.inputs}
    for separator, spelt in SEPARATORS.items():
        if separator in whole and spelt_inputs & {plain(name.strip('"')) for name in whole.split(separator)}:
            msg = f"{file} seems to be separated by {spelt}"
            raise BadCall(msg, fix="save it with commas as separators, and points in decimal numbers")
    others = [name for name in header if name not in spec.inputs]
    near = {name: found for name, (found,) in near_names(missing, others, 1, 0.8).items()}
    renames = ", ".join(f"{found!r} to {name!r}" for name, found in near.items())
    has = f"; it has {near[missing[0]]!r}" if missing[0] in near else ""
    inputs = f"the inputs of {spec.name}: {', '.join(spec.inputs)}"
    msg = f"{file} has no column {missing[0]!r}{has}"
    raise BadCall(msg, fix=f"rename {renames}; {inputs}" if renames else inputs)


def checked_rows(spec: ModelSpec, batch: Sequence[Mapping[str, str | None]], first: int = 1) -> list[dict[str, Any]]:
    """Convert the rows of a batch to the model's types; `first` is the number of its first row.

    The server checks them again, but it cannot name the rows of a file.
    Errors: BadCall, naming rows and columns, never a value.
    """
    rows = [{name: _value(spec, traits, row.get(name)) for name, traits in spec.inputs.items()} for row in batch]
    faults: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows, first):
        for name, traits in spec.inputs.items():
            if problem := _problem(traits, row[name]):
                faults.setdefault((name, problem), []).append(number)
    if not faults:
        return rows
    shown = dict(list(faults.items())[:SHOWN])
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    msg = "; ".join(f"{_numbered(numbers)}: {name} {problem}" for (name, problem), numbers in shown.items()) + more
    columns = dict.fromkeys(name for name, _ in shown)
    raise BadCall(msg, fix="; ".join(takes(name, spec.inputs[name]) for name in columns))


def _value(spec: ModelSpec, traits: Column, text: str | None) -> float | str | None:
    """A number if the column is numeric and the text can be read as one; otherwise the text."""
    text = (text or "").strip()
    if text == "" or text in spec.source.missing:
        return None
    try:  # as ingest: float() alone would also read 1_0 and the digits of other scripts
        return float(text) if isinstance(traits, Number) and text.isascii() and "_" not in text else text
    except ValueError:
        return text


def _problem(traits: Column, value: float | str | None) -> str | None:
    if value is None:
        return None if traits.missing else "is missing"
    if isinstance(traits, Category):
        return None if value in traits.values else f"is not one of its {len(traits.values)} categories"
    if isinstance(value, str) or not math.isfinite(value):
        return "is not a number"
    if not traits.low <= value <= traits.high:
        return f"is not between {_figure(traits.low)} and {_figure(traits.high)}"
    return "is not a whole number" if traits.whole and not value.is_integer() else None


def takes(name: str, traits: Column) -> str:
    """The values that a column accepts: `age accepts whole numbers 17 to 90`."""
    if isinstance(traits, Category):
        more = len(traits.values) - CATEGORIES
        what = f"one of {', '.join(traits.values[:CATEGORIES])}{f' and {more} more' if more > 0 else ''}"
    else:
        what = f"{'whole ' if traits.whole else ''}numbers {_figure(traits.low)} to {_figure(traits.high)}"
    return f"{name} accepts {what}{', or nothing' if traits.missing else ''}"


def _figure(number: float) -> str:
    return f"{number:.15g}"  # without an exponent, as people write it


def _numbered(numbers: Sequence[int]) -> str:
    shown, more = [str(number) for number in numbers[:ROWS]], len(numbers) - ROWS
    if len(numbers) == 1:
        return f"row {shown[0]}"
    *init, last = [*shown, f"{more} more"] if more > 0 else shown
    return f"rows {', '.join(init)} and {last}"


@contextmanager
def _opened(rows: Path) -> Iterator[TextIO]:
    if str(rows) == "-":
        yield sys.stdin
        return
    try:
        with rows.open(encoding="utf-8-sig", newline="") as stream:
            yield stream
    except FileNotFoundError as error:
        msg = f"file {rows} not found"
        raise BadCall(msg, fix="name a CSV file with a header, or - for standard input") from error
    except (IsADirectoryError, PermissionError) as error:
        msg = f"cannot read {rows}: {error.strerror}"
        raise BadCall(msg, fix="name a CSV file with a header, or - for standard input") from error
    except UnicodeDecodeError as error:
        msg = f"{rows} is not UTF-8 text"
        raise BadCall(msg, fix=f"convert it: iconv -f latin1 -t utf-8 {rows}") from error


def _named(spec: ModelSpec, header: Sequence[str], batch: Sequence[list[str]], first: int) -> list[dict[str, str]]:
    """The inputs of each row by name. Errors: BadCall if columns of one name differ in a row."""
    places = {name: [at for at, each in enumerate(header) if each == name] for name in spec.inputs}
    for name, found in places.items():
        differ = (n for n, row in enumerate(batch, first) if len({row[at] for at in found}) > 1)
        if (row := next(differ, None)) is not None:
            msg = f"row {row}: the {len(found)} columns named {name!r} have different values"
            raise BadCall(msg, fix=f"leave only the right column {name!r} in the file")
    return [{name: row[at] for name, (at, *_) in places.items()} for row in batch]


def _batches(rows: Iterator[list[str]], width: int) -> Iterator[tuple[int, list[list[str]]]]:
    """Batches of rows, each with the number of its first row. Errors: BadCall if a row has other fields."""
    source, first = (row for row in rows if row), 1
    while True:
        try:
            batch = list(islice(source, BATCH))
        except csv.Error as error:
            msg = f"the file is not CSV after row {first - 1}: {error}"
            raise BadCall(msg, fix='close each quote, and double the quotes inside a value ("")') from error
        if not batch:
            return
        for number, row in enumerate(batch, first):
            if len(row) != width:
                msg = f"row {number} has {'more' if len(row) > width else 'fewer'} fields than the header"
                raise BadCall(msg, fix='quote a field that contains a comma: "10,500"')
        yield first, batch
        first += len(batch)


def ask(
    client: "Client", spec: ModelSpec, rows: Sequence[Mapping[str, Any]], first: int = 1
) -> tuple[list[str], list[float]]:
    """Send one request of the Open Inference Protocol.

    first: the number of the first row, for messages.
    Returns labels, and probabilities of the positive label.
    Errors: BadCall if the model refuses the rows, OutsideFailed if it does not answer.
    """
    from httpx2 import HTTPError, HTTPStatusError

    inputs = [
        {
            "name": name,
            "datatype": "FP64" if isinstance(traits, Number) else "BYTES",
            "shape": [len(rows)],
            "data": [row[name] for row in rows],
        }
        for name, traits in spec.inputs.items()
    ]
    try:
        answer = client.post(f"/v2/models/{spec.name}/infer", json={"inputs": inputs}).raise_for_status()
        outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    except HTTPStatusError as error:
        raise _refusal(spec, error.response, first, len(rows)) from error
    except (HTTPError, ValueError, KeyError) as error:
        msg = f"cannot connect to {spec.name} at {client.base_url}"
        raise OutsideFailed(msg, fix="start the local platform: lockgate serve") from error
    return outputs["label"], outputs["score"]


def _refusal(spec: ModelSpec, answer: "Response", first: int, count: int) -> BadCall | OutsideFailed:
    try:
        message = str(answer.json().get("error", answer.reason_phrase))
    except (ValueError, AttributeError):
        message = answer.reason_phrase
    if answer.status_code in (404, 503):
        return OutsideFailed(f"{spec.name} has no live version: {message}", fix=f"lockgate run {spec.name}")
    where = f"row {first}" if count == 1 else f"rows {first} to {first + count - 1}"
    if answer.status_code < 500:
        return BadCall(
            f"{spec.name} refused {where}: {message}", fix="correct the column it names; pipeline.py has the ranges"
        )
    return OutsideFailed(f"{spec.name} failed on {where}: {message}", fix="lockgate status")
