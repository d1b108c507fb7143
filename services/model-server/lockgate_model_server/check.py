"""Checks a request against the inputs of a model.

An error names the column and the fault, never the value that was sent: errors may be written to a log.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import ne
from types import NoneType
from typing import Any, NamedTuple, assert_never

from lockgate_step import Category, Column, Number

Value = float | str | None

_WHOLE = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_NUMERIC = _WHOLE | {"FP16", "FP32", "FP64"}
MISSHAPEN = "has a shape that does not fit its data; send one value per row, shape [rows]"
_LARGEST = 3.4028234663852886e38  # of a float32, which a graph takes
_SHOWN = 5  # the maximum number of faults in one message


class Tensor(NamedTuple):
    """One input of a request, as the Open Inference Protocol defines it."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: object


@dataclass(frozen=True)
class Fault:
    """A fault of one column, and how many of its rows have it; `rows` is None if the whole column is wrong."""

    column: str
    problem: str
    rows: int | None = None
    of: int | None = None

    def __str__(self) -> str:
        if self.rows is None:
            return f"column {self.column!r} {self.problem}"
        return f"column {self.column!r}: {self.rows} of {self.of} values are {self.problem}"


@dataclass(frozen=True)
class Accepted:
    """Every column in the model's order, with numbers as float and a missing value as None."""

    columns: Mapping[str, list[Value]]


@dataclass(frozen=True)
class Rejected:
    """A request that the model must not answer."""

    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        more = len(self.faults) - _SHOWN
        shown = "; ".join(str(fault) for fault in self.faults[:_SHOWN])
        return shown + (f"; and {more} more" if more > 0 else "")


def check(columns: Sequence[Column], tensors: Sequence[Tensor]) -> Accepted | Rejected:
    """Check the tensors of one request against the columns of a model."""
    faults = names(columns, [tensor.name for tensor in tensors])
    if faults:
        return Rejected(tuple(faults))
    sent = {tensor.name: tensor for tensor in tensors}
    data = {column.name: _flat(sent[column.name]) for column in columns}
    faults = [fault for column in columns for fault in _form(column, sent[column.name], data[column.name])]
    rows = max(map(len, data.values()))
    if not faults:
        faults = [fault for column in columns for fault in _values(column, data[column.name], rows)]
    if faults:
        return Rejected(tuple(faults))
    return Accepted({column.name: _native(column, data[column.name]) for column in columns})


def names(columns: Sequence[Column], sent: Sequence[str]) -> list[Fault]:
    """Return the faults in the names of a request's tensors."""
    known = {column.name for column in columns}
    counts = Counter(sent)
    faults = [Fault(name[:64], "is not an input of this model") for name in counts if name not in known]
    faults += [Fault(column.name, "is missing") for column in columns if column.name not in counts]
    faults += [Fault(name, "is given twice") for name, count in counts.items() if count > 1 and name in known]
    return faults


def _form(column: Column, tensor: Tensor, data: list[Any]) -> Iterator[Fault]:
    """Yield the faults of the whole column, before the values are checked."""
    match column:
        case Number() if tensor.datatype not in _NUMERIC:
            yield Fault(column.name, f"must be sent as FP64, not {tensor.datatype}")
        case Category() if tensor.datatype != "BYTES":
            yield Fault(column.name, f"must be sent as BYTES, not {tensor.datatype}")
    if list(tensor.shape) not in ([len(data)], [len(data), 1]):
        yield Fault(column.name, MISSHAPEN)
    elif not data:
        yield Fault(column.name, "is empty; send at least one row")
    elif tensor.datatype in _WHOLE and any(type(value) is float for value in data):
        yield Fault(column.name, f"has fractions but was sent as {tensor.datatype}")


def _values(column: Column, data: list[Any], rows: int) -> Iterator[Fault]:
    if len(data) != rows:
        yield Fault(column.name, f"has {len(data)} rows where another column has {rows}")
    if _fits(column, data):  # the same for the whole list, twenty times as fast
        return
    rule = _rule(column)
    problems = Counter(problem for value in data if (problem := rule(value)) is not None)
    for problem, count in problems.items():
        yield Fault(column.name, problem, count, len(data))


def _fits(column: Column, data: list[Any]) -> bool:
    """Return whether no value of a column has a fault, by functions that look at whole lists."""
    kinds = set(map(type, data))
    if NoneType in kinds:
        if not column.missing:
            return False
        data = [value for value in data if value is not None]
        kinds.discard(NoneType)
    match column:
        case _ if not data:
            return True
        case Number():
            # min and max may pass over NaN, which is unequal to itself.
            low, high = max(column.low, -_LARGEST), min(column.high, _LARGEST)
            within = kinds <= {float, int} and low <= min(data) and max(data) <= high and not any(map(ne, data, data))
            return within and not (column.whole and any(value % 1 for value in data))
        case Category(values=values):
            return kinds <= {str} and set(data) <= set(values)
        case never:
            assert_never(never)


def _rule(column: Column) -> Callable[[object], str | None]:
    """Return the function that names the fault of one value of a column, or returns None."""
    match column:
        case Number():
            judge = partial(_number, column)
        case Category(values=values):
            judge = partial(_category, frozenset(values))
        case never:
            assert_never(never)
    absent = None if column.missing else "missing, which this column does not allow"
    return lambda value: absent if value is None else judge(value)


def _number(column: Number, value: object) -> str | None:
    if type(value) is not float and type(value) is not int:  # a bool is an int to isinstance
        return "not numbers"
    if abs(value) > _LARGEST or value != value:
        return "not finite"
    if value < column.low:
        return f"below {column.low:g}"
    if value > column.high:
        return f"above {column.high:g}"
    if column.whole and value != math.floor(value):
        return "not whole"
    return None


def _category(values: frozenset[str], value: object) -> str | None:
    if not isinstance(value, str):
        return "not strings"
    return None if value in values else f"not among its {len(values)} categories"


def _flat(tensor: Tensor) -> list[Any]:
    """Return the values by row; shape [rows, 1] may be flat or nested. Data that are not a list have no rows."""
    data = tensor.data
    if not isinstance(data, list):
        return []
    if len(tensor.shape) == 2 and all(isinstance(row, list) and len(row) == 1 for row in data):
        return [row[0] for row in data]
    return data


def _native(column: Column, data: list[Any]) -> list[Value]:
    match column:
        case Number() if None in data:
            return [None if value is None else float(value) for value in data]
        case Number():
            return list(map(float, data))
        case Category():
            return data
        case never:
            assert_never(never)
