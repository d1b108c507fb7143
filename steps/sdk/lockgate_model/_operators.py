"""The ONNX operators that a graph may use, and what no graph may contain.

An operator on the list computes its outputs from its inputs alone: no randomness, no state, no clock, no control flow,
no sequences, no text functions, no code outside ONNX's own two domains, and no output whose size a value of a row
decides. A policy may accept another operator with a reason; such a graph answers one row at a time.
Source of the names: https://onnx.ai/onnx/operators/.
"""

from collections.abc import Collection, Iterator
from math import prod
from typing import Any

from lockgate_model._card import BadModel, UnsafeModel

ML = "ai.onnx.ml"
UNARY = frozenset(
    ["Abs", "Cast", "Ceil", "Celu", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
     "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round",
     "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu"]
)  # fmt: skip
BROADCAST = frozenset(
    ["Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min",
     "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor"]
)  # fmt: skip
REDUCING = frozenset(
    ["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
     "ReduceProd", "ReduceSum", "ReduceSumSquare"]
)  # fmt: skip
_OTHER = frozenset(
    ["ArgMax", "ArgMin", "BatchNormalization", "Clip", "Concat", "Constant", "ConstantOfShape", "Flatten",
     "Gather", "Gemm", "LayerNormalization", "LogSoftmax", "MatMul", "Reshape", "Shape", "Slice", "Softmax",
     "Split", "Squeeze", "TopK", "Transpose", "Unsqueeze"]
)  # fmt: skip
TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_LEARNED = frozenset(
    ["ArrayFeatureExtractor", "Binarizer", "Imputer", "LabelEncoder", "LinearClassifier", "LinearRegressor",
     "Normalizer", "OneHotEncoder", "SVMClassifier", "SVMRegressor", "Scaler"]
) | {*TREES}  # fmt: skip
STANDARD = UNARY | BROADCAST | REDUCING | _OTHER | {f"{ML}.{name}" for name in _LEARNED}

_LARGEST = 2**26  # elements of one tensor, in the file or while it computes
_MOST_NODES = 20_000
_CONVERT = "convert the model to ONNX again, with operators that compute each row by itself"


def name_of(node: Any) -> str:
    """Return an operator's name as a policy writes it: with its domain, if that is not ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def parse(data: bytes, accepted: Collection[str] = ()) -> Any:
    """Read a graph and check what it contains; return the ModelProto without anything that was not checked.

    accepted: names of further operators, which the policy accepts.
    Errors: UnsafeModel for what no graph may contain; BadModel if it is not a valid graph.
    """
    import onnx

    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's own errors
        msg = "the file is not a graph that onnxruntime can run (it cannot be decoded)"
        raise BadModel(msg, fix=_CONVERT) from error
    model.DiscardUnknownFields()  # what this reader does not know, another reader must not see
    if model.functions:
        _refuse("defines functions of its own", "convert it without functions")
    if model.training_info:
        _refuse("contains training information", "export it for inference")
    opsets = {("" if opset.domain == "ai.onnx" else opset.domain, opset.version) for opset in model.opset_import}
    if len(opsets) != len({domain for domain, _ in opsets}):  # skl2onnx may write the same version twice
        _refuse("states two versions of the same operators", _CONVERT)
    if {tensor.name for tensor in model.graph.initializer} & {value.name for value in model.graph.input}:
        _refuse("has an input with a value of its own", _CONVERT)
    _check_graph(model.graph, accepted, depth=0)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        msg = f"the file is not a valid graph, so not one that onnxruntime can run ({type(error).__name__})"
        raise BadModel(msg, fix=_CONVERT) from error
    return model


def check_sizes(model: Any) -> None:
    """Check that no tensor that the graph computes is larger than the limit, as far as its shape is known.

    model: with the shapes of its inputs set. Errors: UnsafeModel.
    """
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        _refuse(f"has shapes that contradict each other ({type(error).__name__})", _CONVERT)
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.HasField("dim_value")]
        _check_count("a tensor", dims)


def _refuse(what: str, fix: str) -> Any:
    msg = f"the graph {what}"
    raise UnsafeModel(msg, fix=fix)


def _check_graph(graph: Any, accepted: Collection[str], depth: int) -> None:
    if len(graph.node) > _MOST_NODES or depth > 4:
        _refuse(f"has more than {_MOST_NODES:,} nodes, or graphs inside graphs", _CONVERT)
    if graph.sparse_initializer:
        _refuse("has sparse constants", "write its constants as dense tensors")
    sized = {tensor.name for tensor in graph.initializer}
    for tensor in graph.initializer:
        _check_tensor(tensor)
    for node in graph.node:
        name = name_of(node)
        if name not in STANDARD and name not in accepted:
            instead = "convert it with zipmap off" if node.op_type == "ZipMap" else _CONVERT
            _refuse(
                f"uses the operator {name}, which is not on the list of operators that compute each row by itself",
                f'{instead}; or accept it in policy.toml: [[accepted_operator]] operator = "{name}", why = "…"',
            )
        if name in ("Constant", "Shape"):
            sized.add(node.output[0])
        if name == "ConstantOfShape" and node.input[0] not in sized:
            _refuse("computes the size of a tensor from values", _CONVERT)
        if name == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute):
            _refuse("normalises over the rows of a request (BatchNormalization in training mode)", _CONVERT)
        for attribute in node.attribute:
            _check_attribute(attribute, accepted, depth)


def _check_attribute(attribute: Any, accepted: Collection[str], depth: int) -> None:
    if attribute.ref_attr_name or attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
        _refuse(f"has an attribute {attribute.name!r} that refers elsewhere or is sparse", _CONVERT)
    for tensor in (*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])):
        _check_tensor(tensor)
    for graph in _graphs(attribute):  # only an operator that the policy accepts can have one
        _check_graph(graph, accepted, depth + 1)


def _graphs(attribute: Any) -> Iterator[Any]:
    yield from attribute.graphs
    if attribute.HasField("g"):
        yield attribute.g


def _check_tensor(tensor: Any) -> None:
    from onnx import TensorProto, helper

    if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL or tensor.HasField("segment"):
        _refuse("reads constants from other files", "save it as one file, without external data")
    _check_count("a constant", list(tensor.dims))
    wanted = prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        found = len(tensor.string_data)
    elif tensor.raw_data:
        size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        found = len(tensor.raw_data) // size if len(tensor.raw_data) % size == 0 else -1
    else:
        found = len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type)))
    if found != wanted:
        _refuse(f"has a constant of {wanted:,} elements with data for {max(found, 0):,}", _CONVERT)


def _check_count(what: str, dims: list[int]) -> None:
    if any(dim < 0 for dim in dims) or prod(dims) > _LARGEST:
        _refuse(f"has {what} of more than {_LARGEST:,} elements", "make the model smaller")
