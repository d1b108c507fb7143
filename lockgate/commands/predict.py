"""Asking a live model, and asking what is live."""

import csv
import json
import math
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from lockgate.commands.preflight import near_names, plain
from lockgate.definition.model import Category, Column, ModelSpec, Number
from lockgate.errors import BadCall, OutsideFailed
from lockgate.records.environment import Environment
from lockgate.records.store import live_of

BATCH = 1000
SECONDS = 60
SHOWN, ROWS, CATEGORIES = 3, 5, 12  # problems of one refusal, rows of a problem, categories of a column, in words
SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}


def predict_csv(environment: Environment, spec: ModelSpec, rows: Path, out: TextIO) -> None:
    """Send the rows of a CSV to the live model; write them back with `label` and `score` added.

    Errors: BadCall when a column is missing, a row does not fit the spec, or the model refuses the rows; OutsideFailed
    when no version is live or nothing answers.
    """
    with _answered(environment, spec, rows) as (header, batches):
        writer = csv.writer(out)
        head = [[*header, "label", "score"]]  # goes out with the first answers, so that a refusal leaves no output
        for batch in batches:
            writer.writerows([*head, *([*(row[name] for name in header), lab, f"{p:.6g}"] for row, lab, p in batch)])
            head = []
        writer.writerows(head)


def predict_json(environment: Environment, spec: ModelSpec, rows: Path) -> dict[str, Any]:
    """The same as JSON values: each row as the file has it, with its label and score. Errors: as `predict_csv`."""
    with _answered(environment, spec, rows) as (header, batches):
        answers = [
            {"row": {name: row[name] for name in header}, "label": label, "score": score}
            for batch in batches
            for row, label, score in batch
        ]
    return {"model": spec.name, "answers": answers}


@contextmanager
def _answered(
    environment: Environment, spec: ModelSpec, rows: Path
) -> Iterator[tuple[list[str], Iterator[list[tuple[dict[str, str], str, float]]]]]:
    """The header of a CSV, and its rows with label and score, batch by batch as the model answers."""
    if live_of(environment, spec.name) is None:
        msg = f"{spec.name} has no live version"
        raise OutsideFailed(msg, fix=f"lockgate run {spec.name}")
    with _opened(rows) as stream:
        reader = csv.DictReader(stream)
        header = list(reader.fieldnames or [])
        check_header(spec, header, "standard input" if str(rows) == "-" else str(rows))
        yield (
            header,
            (
                list(zip(batch, *ask(environment, spec, checked_rows(spec, batch, first), first), strict=True))
                for first, batch in _batches(reader)
            ),
        )


def check_header(spec: ModelSpec, header: Sequence[str], file: str) -> None:
    """Hold the header of a CSV against the inputs. Errors: BadCall, naming what the file has in a column's place."""
    missing = [name for name in spec.inputs if name not in header]
    if not missing:
        return
    whole = ",".join(header)
    inputs = {plain(name) for name in spec.inputs}
    for separator, spelt in SEPARATORS.items():
        if separator in whole and inputs & {plain(name.strip('"')) for name in whole.split(separator)}:
            msg = f"{file}: the file seems to be separated by {spelt}"
            raise BadCall(msg, fix="save it separated by commas, with a point in decimal numbers")
    others = [name for name in header if name not in spec.inputs]
    near = {name: found for name, (found,) in near_names(missing, others, 1, 0.8).items()}
    renames = ", ".join(f"{found!r} to {name!r}" for name, found in near.items())
    has = f"; it has {near[missing[0]]!r}" if missing[0] in near else ""
    takes = f"{spec.name} takes: {', '.join(spec.inputs)}"
    msg = f"{file} has no column {missing[0]!r}{has}"
    raise BadCall(msg, fix=f"rename {renames}; {takes}" if renames else takes)


def checked_rows(spec: ModelSpec, batch: Sequence[Mapping[str, str | None]], first: int = 1) -> list[dict[str, Any]]:
    """The rows of a batch as the model takes them; `first` is the number of its first row.

    The server decides what it answers; it counts what it refuses but cannot name rows of a file it never saw.
    Errors: BadCall, naming rows and columns and never a value.
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
    """A number where the column is one and the text reads as one; the text otherwise."""
    text = (text or "").strip()
    if text == "" or text in spec.source.missing:
        return None
    try:
        return float(text) if isinstance(traits, Number) else text
    except ValueError:
        return text


def _problem(traits: Column, value: float | str | None) -> str | None:
    if value is None:
        return None if traits.missing else "is missing"
    if isinstance(traits, Category):
        return None if value in traits.values else f"is none of its {len(traits.values)} categories"
    if isinstance(value, str) or not math.isfinite(value):
        return "is not a number"
    if not traits.low <= value <= traits.high:
        return f"is not between {_figure(traits.low)} and {_figure(traits.high)}"
    return "is not a whole number" if traits.whole and not value.is_integer() else None


def takes(name: str, traits: Column) -> str:
    """What a column takes, as the spec says it: `age takes whole numbers 17 to 90`."""
    if isinstance(traits, Category):
        more = len(traits.values) - CATEGORIES
        what = f"one of {', '.join(traits.values[:CATEGORIES])}{f' and {more} more' if more > 0 else ''}"
    else:
        what = f"{'whole ' if traits.whole else ''}numbers {_figure(traits.low)} to {_figure(traits.high)}"
    return f"{name} takes {what}{', or nothing' if traits.missing else ''}"


def _figure(number: float) -> str:
    return f"{number:.15g}"  # no exponent where a person writes none


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
        msg = f"there is no file {rows}"
        raise BadCall(msg, fix="name a CSV file with a header, or - for standard input") from error
    except UnicodeDecodeError as error:
        msg = f"{rows} is not UTF-8 text"
        raise BadCall(msg, fix=f"convert it: iconv -f latin1 -t utf-8 {rows}") from error


def _batches(rows: Iterable[dict[str, str]]) -> Iterator[tuple[int, list[dict[str, str]]]]:
    source, first = iter(rows), 1
    while batch := list(islice(source, BATCH)):
        yield first, batch
        first += len(batch)


def ask(
    environment: Environment, spec: ModelSpec, rows: Sequence[Mapping[str, Any]], first: int = 1
) -> tuple[list[str], list[float]]:
    """One request of the Open Inference Protocol: labels, and probabilities of the positive label."""
    inputs = [
        {
            "name": name,
            "datatype": "FP64" if isinstance(traits, Number) else "BYTES",
            "shape": [len(rows)],
            "data": [row[name] for row in rows],
        }
        for name, traits in spec.inputs.items()
    ]
    url = f"{environment.setting('gateway')}/v2/models/{spec.name}/infer"
    request = urllib.request.Request(url, json.dumps({"inputs": inputs}).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            outputs = {output["name"]: output["data"] for output in json.load(answer)["outputs"]}
    except urllib.error.HTTPError as error:
        raise _refusal(spec, error, first, len(rows)) from error
    except (OSError, ValueError, KeyError) as error:
        msg = f"nothing answers for {spec.name} at {environment.setting('gateway')}"
        raise OutsideFailed(msg, fix="start the local platform: lockgate serve") from error
    return outputs["label"], outputs["score"]


def _refusal(spec: ModelSpec, error: urllib.error.HTTPError, first: int, count: int) -> BadCall | OutsideFailed:
    try:
        said = str(json.load(error).get("error", error.reason))
    except ValueError:
        said = str(error.reason)
    if error.code == 503 or error.code == 404:
        return OutsideFailed(f"{spec.name} has no live version: {said}", fix=f"lockgate run {spec.name}")
    where = f"row {first}" if count == 1 else f"rows {first} to {first + count - 1}"
    if error.code < 500:
        return BadCall(
            f"{spec.name} refused {where}: {said}", fix="correct the column it names; the README lists ranges"
        )
    return OutsideFailed(f"{spec.name} failed on {where}: {said}", fix="lockgate status")
