"""Graphs that try to be served otherwise than they were judged, or to do more than answer; each is a few nodes.

Each takes the inputs of the tiny model. `corpus.py` lists them, with the words of their refusals.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

node = helper.make_node
ML = "ai.onnx.ml"


def constant(name: str, value: object, dtype: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.array(value, dtype=dtype), name)


# s = sigmoid(0.08 (age - 40)), which depends on the row alone; f = 1 - s
HONEST = [
    node("Sub", ["age", "forty"], ["age_0"]),
    node("Mul", ["age_0", "weight"], ["logit"]),
    node("Sigmoid", ["logit"], ["s"]),
    node("Sub", ["one", "s"], ["f"]),
]
CONSTANTS = [
    constant("forty", [40]),
    constant("weight", [0.08]),
    constant("one", [1]),
    constant("zero_i", [0], np.int64),
    constant("one_i", [1], np.int64),
    constant("two_i", [2], np.int64),
    constant("minus_i", [-1], np.int64),
    constant("few", [200], np.int64),
]
ENDING = [
    node("Sub", ["one", "score"], ["rest"]),
    node("Concat", ["rest", "score"], ["probabilities"], axis=1),
]


def graph(
    nodes: Sequence[NodeProto],
    constants: Sequence[TensorProto] = (),
    *,
    ending: Sequence[NodeProto] = ENDING,
    opset: int = 18,
    more: Sequence[tuple[str, int]] = (),
    **parts: Any,
) -> ModelProto:
    """Make a model that computes `score` [N,1] from s, f and the inputs."""
    texts = {"occupation": TensorProto.STRING}
    made = helper.make_graph(
        [*HONEST, *nodes, *ending],
        "hostile",
        [
            helper.make_tensor_value_info(name, texts.get(name, TensorProto.FLOAT), ["rows", 1])
            for name in ("age", "hours", "occupation")
        ],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", "two"])],
        [*CONSTANTS, *constants],
        **parts,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in (("", opset), (ML, 3), *more)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def flip_if(condition: Sequence[NodeProto], constants: Sequence[TensorProto] = (), **more: Any) -> ModelProto:
    """Make a graph that answers the opposite where `flip` is true."""
    return graph([*condition, node("Where", ["flip", "f", "s"], ["score"])], constants, **more)


def squash(nodes: Sequence[NodeProto], constants: Sequence[TensorProto] = (), **more: Any) -> ModelProto:
    """Make a graph whose score is a logistic function of `mixed`."""
    return graph([*nodes, node("Sigmoid", ["mixed"], ["score"])], constants, **more)


def batch_size() -> ModelProto:
    """Make the graph of the first attack: it answers honestly only in requests of at least 200 rows."""
    return flip_if(
        [
            node("Shape", ["age"], ["shape"]),
            node("Gather", ["shape", "zero_i"], ["count"], axis=0),
            node("Less", ["count", "few"], ["flip"]),
        ]
    )


def body(nodes: Sequence[NodeProto], inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    return helper.make_graph(nodes, "body", inputs, outputs)


def value(name: str, kind: int = TensorProto.FLOAT, shape: Sequence[int | str] | None = None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def loop() -> ModelProto:
    inner = body(
        [node("Identity", ["go"], ["go_on"]), node("Mul", ["state", "one"], ["next"])],
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("state")],
        [value("go_on", TensorProto.BOOL, []), value("next")],
    )
    big = [constant("many", 2**62, np.int64), constant("yes", True, np.bool_)]
    return graph([node("Loop", ["many", "yes", "s"], ["score"], body=inner)], big)


def branch() -> ModelProto:
    yes = body([node("Identity", ["f"], ["a"])], [], [value("a")])
    no = body([node("Identity", ["s"], ["b"])], [], [value("b")])
    return graph(
        [
            node("Size", ["age"], ["size"]),
            node("Less", ["size", "few"], ["flip"]),
            node("If", ["flip"], ["score"], then_branch=yes, else_branch=no),
        ]
    )


def scan() -> ModelProto:
    inner = body(
        [node("Add", ["sum", "x"], ["sum_out"]), node("Identity", ["sum_out"], ["y"])],
        [value("sum", shape=[1]), value("x", shape=[1])],
        [value("sum_out", shape=[1]), value("y", shape=[1])],
    )
    start = [constant("start", [0])]
    return squash([node("Scan", ["start", "logit"], ["end", "mixed"], body=inner, num_scan_inputs=1)], start)


def trees(**changes: Any) -> ModelProto:
    """Make a graph of one tree over age and hours."""
    said = {
        "class_ids": [1, 1],
        "class_nodeids": [1, 2],
        "class_treeids": [0, 0],
        "class_weights": [0.2, 0.9],
        "classlabels_int64s": [0, 1],
        "nodes_falsenodeids": [2, 0, 0],
        "nodes_featureids": [0, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_nodeids": [0, 1, 2],
        "nodes_treeids": [0, 0, 0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_values": [40.0, 0.0, 0.0],
        "post_transform": "NONE",
        **changes,
    }
    return graph(
        [
            node("Concat", ["age", "hours"], ["table"], axis=1),
            node("TreeEnsembleClassifier", ["table"], ["label", "raw"], domain=ML, **said),
            node("Gather", ["raw", "one_i"], ["score"], axis=1),
        ]
    )


def linear(count: int) -> ModelProto:
    said: dict[str, Any] = {"coefficients": [0.1] * count, "intercepts": [0.0, 0.0], "classlabels_ints": [0, 1]}
    return graph(
        [
            node("Concat", ["age", "hours"], ["table"], axis=1),
            node(
                "LinearClassifier", ["table"], ["label", "probabilities"], domain=ML, post_transform="SOFTMAX", **said
            ),
        ],
        ending=[],
    )


def support(vectors: int) -> ModelProto:
    said: dict[str, Any] = {"coefficients": [1.0, -1.0], "classlabels_ints": [0, 1], "kernel_type": "RBF"}
    said |= {"kernel_params": [0.1, 0.0, 3.0], "prob_a": [-1.0], "prob_b": [0.0], "rho": [0.0]}
    said |= {"support_vectors": [0.5] * vectors, "vectors_per_class": [1, 1]}
    return graph(
        [
            node("Concat", ["age", "hours"], ["table"], axis=1),
            node("SVMClassifier", ["table"], ["label", "probabilities"], domain=ML, **said),
        ],
        ending=[],
    )


def with_function() -> ModelProto:
    made = graph([node("Trick", ["s"], ["score"], domain="mine")], more=[("mine", 1)])
    opsets = [helper.make_opsetid("", 18)]
    made.functions.append(helper.make_function("mine", "Trick", ["x"], ["y"], [node("Abs", ["x"], ["y"])], opsets))
    return made


def external() -> ModelProto:
    made = graph([node("Add", ["s", "secret"], ["score"])], [constant("secret", [0])])
    tensor = made.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return made


def declared_huge() -> ModelProto:
    made = graph([node("Add", ["s", "big"], ["score"])], [constant("big", [0])])
    made.graph.initializer[-1].dims[:] = [2**20, 2**20]
    return made


def too_little_data() -> ModelProto:
    made = graph([node("Add", ["s", "big"], ["score"])], [constant("big", [0])])
    made.graph.initializer[-1].dims[:] = [1000]
    return made


def overlapping() -> ModelProto:
    made = graph([node("Identity", ["s"], ["score"])])
    made.graph.initializer.append(constant("age", [[50]]))
    return made


def sparse() -> ModelProto:
    made = graph([node("Add", ["s", "thin"], ["score"])])
    values = constant("thin", [1])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, constant("at", [0], np.int64), [2**40]))
    return made


def training() -> ModelProto:
    made = graph([node("Identity", ["s"], ["score"])])
    made.training_info.add()
    return made


def twice_versioned() -> ModelProto:
    return graph([node("Identity", ["s"], ["score"])], more=[("ai.onnx", 7)])


def duplicated() -> ModelProto:
    return graph([node("Identity", ["s"], ["score"]), node("Identity", ["f"], ["score"])])


def cyclic() -> ModelProto:
    return graph([node("Add", ["b", "s"], ["a"]), node("Identity", ["a"], ["b"]), node("Identity", ["a"], ["score"])])


def across(op: str, **attributes: Any) -> ModelProto:
    """Reduce over the rows by an attribute, then compare each row with the result."""
    return squash([node(op, ["logit"], ["all"], **attributes), node("Sub", ["logit", "all"], ["mixed"])])


def reduced(op: str, axes: str) -> ModelProto:
    return squash([node(op, ["logit", axes], ["all"]), node("Sub", ["logit", "all"], ["mixed"])])
