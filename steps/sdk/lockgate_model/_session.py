"""Runs a graph in fixed shapes only: the numbers of rows that predict judged and the server serves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lockgate_step import Column, Number

from lockgate_model._card import BadModel
from lockgate_model._operators import check_sizes, parse
from lockgate_model._rows import rows_apart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Rows of a run, if each row is proved to be computed by itself. Never one: kernels of matrix products add up one row in
# another order than several, so a score would differ in its last bits.
_BLOCKS = {8: 4, 256: 32, 512: 512}  # up to so many rows run in blocks of so many; all others in the largest
SIZES = tuple(_BLOCKS)  # requests of these sizes together use each block
_OUTPUT = "probabilities"


@dataclass(frozen=True)
class Graph:
    """A graph that was checked, and its session.

    proved: whether each row is proved to be computed by itself. If not, the session takes one row.
    """

    data: bytes
    proved: bool
    session: Any

    def run(self, feed: "Mapping[str, NDArray[Any]]") -> "NDArray[np.float64]":
        """Return the score of each row of [N,1] arrays: split into runs, the last one filled up.

        Errors: BadModel if the graph returns anything else than two probabilities for each row.
        """
        import numpy as np

        count = len(next(iter(feed.values())))
        scores = np.empty(count)
        start = 0
        while start < count:
            left = count - start
            rows = _block(left) if self.proved else 1
            part = {name: values[start : start + rows] for name, values in feed.items()}
            if left < rows:
                filled = np.minimum(np.arange(rows), left - 1)  # the last row again
                part = {name: values[filled] for name, values in part.items()}
            scores[start : start + rows] = _scores(self.session, part, rows)[:left]
            start += rows
        return scores

    def run_at_once(self, feed: "Mapping[str, NDArray[Any]]") -> "NDArray[np.float64] | None":
        """Return the scores of one run with all rows, as no server runs it; None if the graph does not allow it."""
        try:
            return _scores(self._any_shape, feed, len(next(iter(feed.values()))))
        except Exception:  # onnxruntime's errors have no common base class
            return None

    @cached_property
    def _any_shape(self) -> Any:
        return session_of(self.data)


def open_graph(data: bytes, inputs: Sequence[Column], accepted: Collection[str] = ()) -> Graph:
    """Check a graph and load it.

    accepted: operators beside those on the list, which the policy accepts.
    Errors: UnsafeModel, BadModel.
    """
    names = tuple(column.name for column in inputs)
    model = parse(data, accepted)
    checked = model.SerializeToString(deterministic=True)  # what was checked is what runs
    _expect_signature(model, inputs)
    proved = rows_apart(model, names, _OUTPUT)
    rows = [value.type.tensor_type.shape for value in model.graph.input]
    for shape in rows:
        shape.Clear()
        shape.dim.add().dim_value = max(_BLOCKS.values()) if proved else 1
        shape.dim.add().dim_value = 1
    check_sizes(model)
    for shape in rows if proved else ():
        shape.dim[0].dim_param = "rows"
    return Graph(checked, proved, session_of(model.SerializeToString()))


def _block(rows: int) -> int:
    """Return the number of rows of the next run."""
    return next((size for most, size in _BLOCKS.items() if rows <= most), max(_BLOCKS.values()))


def session_of(data: bytes) -> Any:
    """Load a graph; every session of a model has these options."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # sums have one order
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # its warnings do not go to our log, and may contain values
    try:
        # From bytes, so without a folder: the graph cannot read other files.
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base class
        msg = f"the file is not a graph that onnxruntime can run ({type(error).__name__})"
        raise BadModel(msg, fix="convert the model to ONNX again") from error


def _scores(session: Any, feed: "Mapping[str, NDArray[Any]]", rows: int) -> "NDArray[np.float64]":
    import numpy as np

    (probabilities,) = session.run([_OUTPUT], feed)
    if getattr(probabilities, "shape", None) != (rows, 2):
        msg = f"the graph does not return two probabilities for each of {rows} rows"
        raise BadModel(msg, fix="convert with zipmap off, and name the outputs `label` and `probabilities`")
    return np.asarray(probabilities, dtype=np.float64)[:, 1]


def _expect_signature(model: Any, inputs: Sequence[Column]) -> None:
    from onnx import TensorProto

    wanted = {column.name: TensorProto.FLOAT if isinstance(column, Number) else TensorProto.STRING for column in inputs}
    found = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    if found != wanted:
        differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        msg = f"the inputs of the graph and of model.json differ: {', '.join(differing)}"
        raise BadModel(
            msg, fix="give the graph one input per column: float32 [N,1] for a number, string [N,1] for a category"
        )
    if _OUTPUT not in {value.name for value in model.graph.output}:
        msg = "the graph has no output `probabilities` of shape [N,2]"
        raise BadModel(msg, fix="convert with zipmap off, and name the outputs `label` and `probabilities`")
