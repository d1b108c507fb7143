"""Bounds a request body before anything is built from it, so that memory and time stay in proportion to the body.

A list of empty objects, two bytes each, would become a hundred bytes each in Python, and thousands in the errors of a
validator. So only the outline of the request is read here, with the data of each tensor as raw bytes. Their rows are
counted by their commas and brackets, and everything beside the data has to fit into a few kilobytes.
"""

import re
from collections.abc import Sequence
from typing import assert_never

import msgspec
from lockgate_step import Category, Column, Number

from lockgate_model_server.check import Fault, Reason, Rejected, misshapen, names

ROWS_LIMIT = 32_768
BESIDE_LIMIT = 64 * 2**10  # names, shapes, parameters, outputs, and fields that the protocol does not define
_PATH = re.compile(r" - at `\$([^`]*)`$")


class BadBody(ValueError):
    """A body that is not a request to this model; `faults`: those of its columns, if they are known."""

    def __init__(self, message: str, *faults: Fault) -> None:
        super().__init__(message)
        self.faults = faults


class TooLarge(BadBody):
    """A body with more rows, or more beside its data, than one request may have."""


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: msgspec.Raw
    data: msgspec.Raw


class _Request(msgspec.Struct):
    inputs: list[_Tensor]


def check_bounds(body: bytes, columns: Sequence[Column]) -> None:
    """Check the outline of an inference request. Errors: BadBody, with a message without values; TooLarge."""
    by_name = {column.name: column for column in columns}
    tensors = _outline(body)
    faults = names(columns, [tensor.name for tensor in tensors])
    if faults:
        raise BadBody(str(Rejected(tuple(faults))), *faults)
    beside = len(body) - sum(len(memoryview(tensor.data)) for tensor in tensors)
    if beside > BESIDE_LIMIT:
        msg = f"the body has {beside} bytes beside its data; at most {BESIDE_LIMIT} are allowed"
        raise TooLarge(msg)
    for tensor in tensors:
        _check_rows(by_name[tensor.name], bytes(tensor.data))


def _outline(body: bytes) -> list[_Tensor]:
    try:
        return msgspec.json.decode(body, type=_Request).inputs
    except msgspec.ValidationError as error:
        message = str(error)
        where = _PATH.search(message)
        path = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", where[1]) if where else ""
        msg = f"body{path}: {_PATH.sub('', message)}"
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        byte = re.search(r"\(byte (\d+)\)", str(error))
        msg = f"the body is not JSON (at byte {byte[1]})" if byte else "the body is not JSON"
    raise BadBody(msg)


def _check_rows(column: Column, data: bytes) -> None:
    """Check upper limits of the values and of the lists in a tensor's data; a category may have commas and brackets."""
    match column:
        case Number():
            commas = brackets = 0
        case Category(values=values):
            commas = max((value.count(",") for value in values), default=0)
            brackets = max((value.count("[") + value.count("{") for value in values), default=0)
        case never:
            assert_never(never)
    parts = data.count(b",") + 1
    if parts > ROWS_LIMIT * (commas + 1):
        msg = f"column {column.name!r} has more than {ROWS_LIMIT} rows; send fewer rows at a time"
        raise TooLarge(msg, Fault(column.name, Reason.TOO_MANY_ROWS, "has too many rows"))
    # Shape [rows, 1] may be nested: one list for each row, and one around them.
    if data.count(b"[") + data.count(b"{") > parts * (brackets + 1) + 1:
        fault = misshapen(column)
        raise BadBody(str(fault), fault)
