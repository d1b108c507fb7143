"""Proves that a graph computes each row by itself, whatever its neighbours are.

Every value gets a shape in which the axis of the rows is named. Each rule below either keeps that axis apart from
every other, or gives no shape. If the probabilities get a shape, row i of them depends on row i of the inputs and on
constants only. A graph without such a proof is not refused: it is run one row at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from lockgate_model._card import UnsafeModel
from lockgate_model._ensembles import check_trees
from lockgate_model._operators import BROADCAST, ML, REDUCING, TREES, UNARY, name_of

ROWS = -1  # the dimension of the axis of the rows, of which a shape has at most one; every other dimension is known
Shape = tuple[int, ...]
_OPSETS = range(11, 24)  # where the axes below mean what they mean here, except Softmax's before 13
_SMALL = 64  # elements of a constant that may be a shape or axes


class _Unproven(Exception):
    """No rule keeps the rows apart here."""


@dataclass(frozen=True)
class _Call:
    """One node with the shapes and the constants that it takes."""

    op: str
    shapes: Sequence[Shape | None]
    arrays: Sequence[Any]
    of: Sequence[Shape | None]
    attributes: Mapping[str, Any]
    outputs: int
    opset: int = 0  # of ONNX's own operators

    def shape(self, number: int = 0) -> Shape:
        """The shape of an input."""
        found = self.shapes[number] if number < len(self.shapes) else None
        if found is None:
            raise _Unproven
        return found

    def ints(self, number: int, name: str = "") -> list[int] | None:
        """Whole numbers from a constant input, or from the attribute of that name; None if there are none."""
        if name in self.attributes:
            return [int(value) for value in np.ravel(self.attributes[name])]
        if number >= len(self.shapes) or (self.shapes[number] is None and self.of[number] is None):
            return None
        if self.arrays[number] is None:
            raise _Unproven
        return [int(value) for value in np.ravel(self.arrays[number])]

    def axis(self, default: int, rank: int) -> int:
        """The attribute `axis`, from 0."""
        return _from_zero(int(self.attributes.get("axis", default)), rank)


def rows_apart(model: Any, inputs: Sequence[str], output: str) -> bool:
    """Return whether the rules prove that each row of the output depends on that row of the inputs only.

    Errors: UnsafeModel if an operator would read beyond a row.
    """
    from onnx import helper, numpy_helper

    shapes: dict[str, Shape] = dict.fromkeys(inputs, (ROWS, 1))
    arrays: dict[str, Any] = {}
    of: dict[str, Shape] = {}

    def keep(name: str, tensor: Any) -> None:
        shapes[name] = tuple(tensor.dims)
        if prod(tensor.dims) <= _SMALL and tensor.data_type in (6, 7):
            arrays[name] = numpy_helper.to_array(tensor)

    version = {opset.domain: opset.version for opset in model.opset_import}.get("", 0)
    for tensor in model.graph.initializer:
        keep(tensor.name, tensor)
    for node in model.graph.node:
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        name = name_of(node)
        call = _Call(
            name,
            [shapes.get(each) for each in node.input],
            [arrays.get(each) for each in node.input],
            [of.get(each) for each in node.input],
            attributes,
            len(node.output),
            version,
        )
        if name.startswith(ML):
            _check_features(call)
        if name == "Constant" and "value" in attributes:
            keep(node.output[0], attributes["value"])
        elif name == "Shape" and not attributes and call.shapes[0] is not None:
            of[node.output[0]] = call.shapes[0]
        elif rule := _RULES.get(name):
            try:
                found = rule(call)
            except _Unproven:
                continue
            shapes |= {each: shape for each, shape in zip(node.output, found, strict=False) if shape.count(ROWS) < 2}
    return version in _OPSETS and shapes.get(output) == (ROWS, 2)


def _from_zero(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise _Unproven
    return axis % rank


def _broadcast(*shapes: Shape) -> Shape:
    """Return the shape of an operation by element; the rows meet only rows, or one value for all of them."""
    rank = max(map(len, shapes))
    result = []
    for place in range(-rank, 0):
        dims = {shape[place] for shape in shapes if -place <= len(shape)} - {1}
        if len(dims) > 1:
            raise _Unproven
        result.append(dims.pop() if dims else 1)
    return tuple(result)


def _without(shape: Shape, axes: Sequence[int] | None, keep: bool) -> Shape:
    """Return the shape after the axes are reduced, never that of the rows."""
    if not axes:  # over everything
        axes = range(len(shape))
    gone = {_from_zero(axis, len(shape)) for axis in axes}
    if any(shape[axis] == ROWS for axis in gone):
        raise _Unproven
    return tuple(1 if i in gone else dim for i, dim in enumerate(shape) if keep or i not in gone)


def _along(call: _Call, default: int) -> int:
    """Return the axis along which an operator works, never that of the rows."""
    axis = call.axis(default, len(call.shape()))
    if call.shape()[axis] == ROWS:
        raise _Unproven
    return axis


def _replaced(shape: Shape, axis: int, dims: Shape) -> Shape:
    return (*shape[:axis], *dims, *shape[axis + 1 :])


def _reduce(call: _Call) -> list[Shape]:
    axes = call.ints(1, "axes")
    if not axes and call.attributes.get("noop_with_empty_axes"):
        return [call.shape()]
    return [_without(call.shape(), axes, bool(call.attributes.get("keepdims", 1)))]


def _arg(call: _Call) -> list[Shape]:
    return [_without(call.shape(), [_along(call, 0)], bool(call.attributes.get("keepdims", 1)))]


def _softmax(call: _Call) -> list[Shape]:
    if call.opset < 13:  # it works along its axis and all after it
        if ROWS in call.shape()[call.axis(1, len(call.shape())) :]:
            raise _Unproven
    else:
        _along(call, -1)
    return [call.shape()]


def _topk(call: _Call) -> list[Shape]:
    axis, count = _along(call, -1), call.ints(1)
    if not count:
        raise _Unproven
    return [_replaced(call.shape(), axis, (count[0],))] * 2


def _concat(call: _Call) -> list[Shape]:
    axis = _along(call, 0)
    every = [call.shape(i) for i in range(len(call.shapes))]
    if len({_replaced(shape, axis, (0,)) for shape in every}) > 1:
        raise _Unproven
    return [_replaced(every[0], axis, (sum(shape[axis] for shape in every),))]


def _reshape(call: _Call) -> list[Shape]:
    shape, wanted = call.shape(), call.ints(1)
    if not wanted or call.attributes.get("allowzero"):
        raise _Unproven
    if ROWS not in shape:
        return [_reshaped(shape, wanted)]
    place = shape.index(ROWS)
    before, after = shape[:place], shape[place + 1 :]
    if (
        place < len(wanted)
        and wanted[place] == 0
        and all(w in (0, dim) for w, dim in zip(wanted, before, strict=False))
    ):
        return [(*before, ROWS, *_reshaped(after, wanted[place + 1 :]))]
    if -1 not in wanted or 0 in wanted or prod(before) != 1:
        raise _Unproven
    # The rest has the size of a row, so -1 is the number of rows; only ones may stand before it.
    place = wanted.index(-1)
    if prod(wanted[:place]) != 1:
        raise _Unproven
    return [(*wanted[:place], ROWS, *_reshaped(after, wanted[place + 1 :]))]


def _reshaped(shape: Shape, wanted: list[int]) -> Shape:
    dims = [shape[i] if dim == 0 and i < len(shape) else dim for i, dim in enumerate(wanted)]
    rest, size = prod(dim for dim in dims if dim != -1), prod(shape)
    if dims.count(-1) == 1 and rest > 0 and size % rest == 0:
        dims[dims.index(-1)] = size // rest
    if min(dims, default=1) < 1 or prod(dims) != size:
        raise _Unproven
    return tuple(dims)


def _flatten(call: _Call) -> list[Shape]:
    shape, axis = call.shape(), int(call.attributes.get("axis", 1))
    if axis != 1 or not shape or ROWS in shape[1:]:
        raise _Unproven
    return [(shape[0], prod(shape[1:]))]


def _unsqueeze(call: _Call) -> list[Shape]:
    axes, shape = call.ints(1, "axes"), list(call.shape())
    if not axes:
        raise _Unproven
    for axis in sorted(_from_zero(axis, len(shape) + len(axes)) for axis in axes):
        shape.insert(axis, 1)
    return [tuple(shape)]


def _squeeze(call: _Call) -> list[Shape]:
    axes = call.ints(1, "axes")
    if not axes or any(call.shape()[_from_zero(axis, len(call.shape()))] != 1 for axis in axes):
        raise _Unproven
    return [_without(call.shape(), axes, keep=False)]


def _transpose(call: _Call) -> list[Shape]:
    shape = call.shape()
    return [tuple(shape[i] for i in call.attributes.get("perm", range(len(shape))[::-1]))]


def _gather(call: _Call) -> list[Shape]:
    data, chosen = call.shape(0), call.shape(1)
    axis = call.axis(0, len(data))
    if data[axis] == ROWS or (ROWS in data and ROWS in chosen):
        raise _Unproven
    return [_replaced(data, axis, chosen)]


def _slice(call: _Call) -> list[Shape]:
    shape = call.shape()
    starts, ends = call.ints(1), call.ints(2)
    if starts is None or ends is None:
        raise _Unproven
    axes = call.ints(3) or list(range(len(starts)))
    for axis, start, end, step in zip(axes, starts, ends, call.ints(4) or [1] * len(starts), strict=True):
        place = _from_zero(axis, len(shape))
        if shape[place] == ROWS or step < 1:
            raise _Unproven
        shape = _replaced(shape, place, (len(range(shape[place])[start:end:step]),))
    return [shape]


def _split(call: _Call) -> list[Shape]:
    axis, shape = _along(call, 0), call.shape()
    sizes = call.ints(1, "split")
    if sizes is None:
        if shape[axis] % call.outputs:
            raise _Unproven
        sizes = [shape[axis] // call.outputs] * call.outputs
    return [_replaced(shape, axis, (size,)) for size in sizes]


def _matmul(call: _Call) -> list[Shape]:
    left, right = call.shape(0), call.shape(1)
    if len(left) < 2 or len(right) != 2 or ROWS in right or left[-1] != right[0]:
        raise _Unproven
    return [(*left[:-1], right[1])]


def _gemm(call: _Call) -> list[Shape]:
    left, right = call.shape(0), call.shape(1)
    if call.attributes.get("transA") or len(left) != 2 or len(right) != 2 or ROWS in right:
        raise _Unproven
    inner, outer = right[::-1] if call.attributes.get("transB") else right
    if left[1] != inner:
        raise _Unproven
    return [_broadcast((left[0], outer), *([call.shape(2)] if len(call.shapes) > 2 else []))]


def _constant_of_shape(call: _Call) -> list[Shape]:
    if call.of[0] is not None:
        return [call.of[0]]
    return [tuple(call.ints(0) or ())]


def _table(call: _Call) -> Shape:
    """Return the shape of a table, which the operators of learned models take; of other ranks they make one row."""
    if len(call.shape()) != 2 or call.shape()[1] == ROWS:
        raise _Unproven
    return call.shape()


def _one_hot(call: _Call) -> list[Shape]:
    labels = call.attributes.get("cats_strings") or call.attributes.get("cats_int64s") or ()
    return [(*call.shape(), len(labels))]


def _extract(call: _Call) -> list[Shape]:
    if ROWS in call.shape(1):
        raise _Unproven
    return [(_table(call)[0], prod(call.shape(1)))]


def _classes(call: _Call) -> int:
    labels = call.attributes.get("classlabels_strings") or call.attributes.get("classlabels_int64s")
    return len(labels or call.attributes.get("classlabels_ints") or ())


def _classifier(call: _Call) -> list[Shape]:
    rows = _table(call)[0]
    if _classes(call) != 2 or (call.op == f"{ML}.SVMClassifier" and not call.attributes.get("prob_a")):
        raise _Unproven
    return [(rows,), (rows, 2)]


def _regressor(call: _Call) -> list[Shape]:
    wanted = call.attributes.get("n_targets", call.attributes.get("targets", 1))
    return [(_table(call)[0], int(wanted))]


def _check_features(call: _Call) -> None:
    """Check that a learned model reads inside its row: onnxruntime indexes without a check.

    Errors: UnsafeModel. A column beyond the last one would be the next row's, or other memory.
    """
    said = call.attributes
    op = call.op.removeprefix(f"{ML}.")
    if op not in (*TREES, "LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor"):
        return
    shape = call.shapes[0]
    if shape is None or len(shape) != 2 or shape[1] == ROWS:
        msg = f"the graph gives {op} a table whose number of columns is not known"
        raise UnsafeModel(msg, fix="convert the model to ONNX again, with one [N,1] input for each column")
    columns = shape[1]
    if op in TREES:
        check_trees(op, said, columns)
        return
    if op.startswith("Linear"):
        most = _classes(call) if op == "LinearClassifier" else int(said.get("targets", 1))
        outputs = len(said.get("intercepts", ())) or most
        fits = outputs in (1, most) and len(said.get("coefficients", ())) == columns * outputs
    else:
        vectors = sum(said.get("vectors_per_class", ())) or int(said.get("n_supports", 0))
        found = len(said.get("support_vectors", said.get("coefficients", ())))
        fits = found == columns * max(vectors, 1)
    if not fits:
        msg = f"the numbers of {op} in the graph do not fit its {columns} columns"
        raise UnsafeModel(msg, fix="convert the model to ONNX again")


_RULES: Mapping[str, Callable[[_Call], list[Shape]]] = {
    **dict.fromkeys(UNARY, lambda call: [call.shape()]),
    **dict.fromkeys(BROADCAST, lambda call: [_broadcast(*(call.shape(i) for i in range(len(call.shapes))))]),
    **dict.fromkeys(REDUCING, _reduce),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    "TopK": _topk,
    "Concat": _concat,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "ConstantOfShape": _constant_of_shape,
    "Clip": lambda call: [call.shape()],
    f"{ML}.LabelEncoder": lambda call: [call.shape()],
    **dict.fromkeys((f"{ML}.{op}" for op in ("Binarizer", "Imputer", "Normalizer", "Scaler")), lambda c: [_table(c)]),
    f"{ML}.OneHotEncoder": _one_hot,
    f"{ML}.ArrayFeatureExtractor": _extract,
    **dict.fromkeys((f"{ML}.{op}Classifier" for op in ("Linear", "SVM", "TreeEnsemble")), _classifier),
    **dict.fromkeys((f"{ML}.{op}Regressor" for op in ("Linear", "SVM", "TreeEnsemble")), _regressor),
}
