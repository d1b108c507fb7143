"""The hostile graphs by name, each with the words of its refusal."""

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, TensorProto

from tests.steps.predict.hostile import (
    across,
    batch_size,
    branch,
    constant,
    cyclic,
    declared_huge,
    duplicated,
    external,
    flip_if,
    graph,
    linear,
    loop,
    node,
    overlapping,
    reduced,
    scan,
    sparse,
    squash,
    support,
    too_little_data,
    training,
    trees,
    twice_versioned,
    with_function,
)

LIST = "not on the list of operators"
ASKED = "answers change when the same rows are asked"
SHAPE = "two probabilities for each"

HOSTILE: dict[str, tuple[Callable[[], ModelProto], str]] = {
    # the number of rows
    "batch size": (batch_size, ASKED),
    "batch size by Shape's attributes": (
        lambda: flip_if([node("Shape", ["age"], ["n"], start=0, end=1), node("Less", ["n", "few"], ["flip"])]),
        ASKED,
    ),
    "batch size by a constant of that shape": (
        lambda: flip_if(
            [
                node("Shape", ["age"], ["shape"]),
                node("ConstantOfShape", ["shape"], ["ones"], value=constant("v", [1])),
                node("ReduceSum", ["ones"], ["n"]),
                node("Less", ["n", "bound"], ["flip"]),
            ],
            [constant("bound", [[200]])],
        ),
        ASKED,
    ),
    "batch size by Size": (lambda: flip_if([node("Size", ["age"], ["n"]), node("Less", ["n", "few"], ["flip"])]), LIST),
    "batch size by NonZero": (
        lambda: flip_if(
            [node("NonZero", ["age"], ["at"]), node("ReduceMax", ["at"], ["n"]), node("Less", ["n", "few"], ["flip"])]
        ),
        LIST,
    ),
    # the other rows
    "mean of the rows": (lambda: reduced("ReduceMean", "zero_i"), ASKED),
    "mean by a negative axis": (
        lambda: squash(
            [node("ReduceMean", ["logit", "axis"], ["all"]), node("Sub", ["logit", "all"], ["mixed"])],
            [constant("axis", [-2], np.int64)],
        ),
        ASKED,
    ),
    "sum of everything": (lambda: across("ReduceSum"), ASKED),
    "largest row": (lambda: reduced("ReduceMax", "zero_i"), ASKED),
    "smallest row, an old opset": (
        lambda: squash(
            [node("ReduceMin", ["logit"], ["all"], axes=[0]), node("Sub", ["logit", "all"], ["mixed"])], opset=11
        ),
        ASKED,
    ),
    "softmax over the rows": (lambda: graph([node("Softmax", ["logit"], ["score"], axis=0)]), ASKED),
    "softmax over the rows, an old opset": (
        lambda: graph([node("Softmax", ["logit"], ["score"], axis=0)], opset=11),
        ASKED,
    ),
    "running sum": (
        lambda: squash([node("CumSum", ["logit", "zero"], ["mixed"])], [constant("zero", 0, np.int32)]),
        LIST,
    ),
    "best of the rows": (
        lambda: squash(
            [node("TopK", ["logit", "one_i"], ["best", "at"], axis=0), node("Sub", ["logit", "best"], ["mixed"])]
        ),
        ASKED,
    ),
    "index of the largest row": (
        lambda: squash(
            [
                node("ArgMax", ["logit"], ["at"], axis=0, keepdims=1),
                node("Cast", ["at"], ["place"], to=TensorProto.FLOAT),
                node("Add", ["logit", "place"], ["mixed"]),
            ]
        ),
        ASKED,
    ),
    "first row for all": (
        lambda: squash(
            [node("Gather", ["logit", "zero_i"], ["first"], axis=0), node("Sub", ["logit", "first"], ["mixed"])]
        ),
        ASKED,
    ),
    "rows reversed": (
        lambda: squash(
            [node("Slice", ["logit", "last", "stop", "zero_i", "minus_i"], ["mixed"])],
            [constant("last", [-1], np.int64), constant("stop", [-(2**62)], np.int64)],
        ),
        ASKED,
    ),
    "rows multiplied with each other": (
        lambda: squash(
            [
                node("Transpose", ["logit"], ["across"], perm=[1, 0]),
                node("MatMul", ["across", "logit"], ["square"]),
                node("Sub", ["logit", "square"], ["mixed"]),
            ]
        ),
        ASKED,
    ),
    "every pair of rows": (
        lambda: squash(
            [
                node("Transpose", ["logit"], ["across"], perm=[1, 0]),
                node("Sub", ["logit", "across"], ["gaps"]),
                node("ReduceMax", ["gaps", "one_i"], ["mixed"]),
            ]
        ),
        ASKED,
    ),
    "rows as columns": (
        lambda: squash(
            [
                node("Reshape", ["logit", "flat"], ["line"]),
                node("ReduceMean", ["line", "one_i"], ["all"]),
                node("Sub", ["logit", "all"], ["mixed"]),
            ],
            [constant("flat", [1, -1], np.int64)],
        ),
        ASKED,
    ),
    "rows flattened": (
        lambda: squash(
            [
                node("Flatten", ["logit"], ["line"], axis=0),
                node("ReduceMean", ["line", "one_i"], ["all"]),
                node("Sub", ["logit", "all"], ["mixed"]),
            ]
        ),
        ASKED,
    ),
    "position in a run of eight": (
        lambda: flip_if(
            [node("Greater", ["age", "places"], ["flip"])], [constant("places", [[0], [99], [0], [99]] * 2)]
        ),
        SHAPE,
    ),
    "sums of rows by Gemm": (
        lambda: squash(
            [
                node("Gemm", ["logit", "logit"], ["square"], transA=1),
                node("Sub", ["logit", "square"], ["mixed"]),
            ]
        ),
        ASKED,
    ),
    "normalised over the rows": (
        lambda: squash(
            [node("BatchNormalization", ["logit", "one", "nil", "nil", "one"], ["mixed", "m", "v"], training_mode=1)],
            [constant("nil", [0])],
        ),
        "BatchNormalization in training mode",
    ),
    "sum by Einsum": (
        lambda: squash(
            [node("Einsum", ["logit"], ["all"], equation="ij->j"), node("Sub", ["logit", "all"], ["mixed"])]
        ),
        LIST,
    ),
    "variance over the rows": (
        lambda: squash([node("MeanVarianceNormalization", ["logit"], ["mixed"], axes=[0])]),
        LIST,
    ),
    # chance, order, time
    "RandomUniformLike": (lambda: graph([node("RandomUniformLike", ["s"], ["score"])]), LIST),
    "RandomNormal": (lambda: squash([node("RandomNormal", [], ["mixed"], shape=[1, 1])]), LIST),
    "Bernoulli": (lambda: graph([node("Bernoulli", ["s"], ["score"])]), LIST),
    "Dropout": (
        lambda: squash(
            [node("Dropout", ["logit", "half", "yes"], ["mixed"])],
            [constant("half", 0.5), constant("yes", True, np.bool_)],
        ),
        LIST,
    ),
    "endless loop": (loop, LIST),
    "branch on the batch size": (branch, LIST),
    "state from row to row": (scan, LIST),
    "recurrent over the rows": (
        lambda: graph([node("RNN", ["logit", "w", "w"], ["score"], hidden_size=1)], [constant("w", [[[1]]])]),
        LIST,
    ),
    "sequence": (
        lambda: graph(
            [node("SequenceConstruct", ["s", "f"], ["q"]), node("SequenceAt", ["q", "zero"], ["score"])],
            [constant("zero", 0, np.int64)],
        ),
        LIST,
    ),
    "text function": (
        lambda: flip_if([node("RegexFullMatch", ["occupation"], ["flip"], pattern="(a+)+b")], opset=20),
        LIST,
    ),
    # code and memory
    "custom domain": (lambda: graph([node("Trick", ["s"], ["score"], domain="mine")], more=[("mine", 1)]), LIST),
    "onnxruntime's own domain": (
        lambda: graph([node("QuickGelu", ["s"], ["score"], domain="com.microsoft")], more=[("com.microsoft", 1)]),
        LIST,
    ),
    "function": (with_function, "functions of its own"),
    "external data": (external, "constants from other files"),
    "a constant of 4 TiB": (declared_huge, "more than 67,108,864 elements"),
    "a constant with too little data": (too_little_data, "with data for 1"),
    "a computed constant of 4 TiB": (
        lambda: graph(
            [
                node("ConstantOfShape", ["dims"], ["big"]),
                node("ReduceSum", ["big"], ["n"]),
                node("Add", ["s", "n"], ["score"]),
            ],
            [constant("dims", [2**20, 2**20], np.int64)],
        ),
        "more than 67,108,864 elements",
    ),
    "a size from a row's value": (
        lambda: graph(
            [
                node("Cast", ["age"], ["many"], to=TensorProto.INT64),
                node("Reshape", ["many", "minus_i"], ["dims"]),
                node("ConstantOfShape", ["dims"], ["big"]),
                node("ReduceSum", ["big"], ["n"]),
                node("Add", ["s", "n"], ["score"]),
            ]
        ),
        "size of a tensor from values",
    ),
    "a broadcast of 4 TiB": (
        lambda: graph(
            [
                node("Add", ["tall", "wide"], ["big"]),
                node("ReduceSum", ["big"], ["n"]),
                node("Add", ["s", "n"], ["score"]),
            ],
            [constant("tall", np.zeros((2**14, 1))), constant("wide", np.zeros((1, 2**14)))],
        ),
        "more than 67,108,864 elements",
    ),
    "Expand": (lambda: graph([node("Expand", ["s", "zero_i"], ["score"])]), LIST),
    "Tile": (lambda: graph([node("Tile", ["s", "two_i"], ["score"])]), LIST),
    "Unique": (lambda: squash([node("Unique", ["logit"], ["mixed"])]), LIST),
    "sparse constant": (sparse, "sparse constants"),
    "training information": (training, "training information"),
    "a constant in place of an input": (overlapping, "an input with a value of its own"),
    "two versions of the operators": (twice_versioned, "two versions of the same operators"),
    "duplicated names": (duplicated, "not a valid graph"),
    "a cycle": (cyclic, "not a valid graph"),
    "more rows than asked": (lambda: graph([node("Concat", ["s", "f"], ["score"], axis=0)]), SHAPE),
    "three probabilities": (
        lambda: graph(
            [node("Identity", ["s"], ["score"])],
            ending=[node("Concat", ["s", "f", "score"], ["probabilities"], axis=1)],
        ),
        SHAPE,
    ),
    # numbers that onnxruntime uses as indices
    "a tree that reads the next row": (lambda: trees(nodes_featureids=[2, 0, 0]), "reads beyond 2 columns"),
    "a tree that reads other memory": (lambda: trees(nodes_featureids=[-(2**20), 0, 0]), "reads beyond 2 columns"),
    "a tree that never ends": (
        lambda: trees(
            nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF"],
            nodes_nodeids=[0, 1, 2, 3],
            nodes_treeids=[0] * 4,
            nodes_featureids=[0] * 4,
            nodes_truenodeids=[1, 0, 0, 0],
            nodes_falsenodeids=[2, 3, 0, 0],
            nodes_values=[40.0, 40.0, 0.0, 0.0],
            class_nodeids=[2, 3],
        ),
        "a cycle, or more than one root",
    ),
    "a tree that shares a node": (lambda: trees(nodes_falsenodeids=[1, 0, 0]), "a node has two parents"),
    "a tree without its leaf": (lambda: trees(nodes_falsenodeids=[7, 0, 0]), "a node that does not exist"),
    "a tree that writes elsewhere": (lambda: trees(class_ids=[1, 9]), "an output that does not exist"),
    "coefficients beyond the row": (lambda: linear(400), "do not fit its 2 columns"),
    "support vectors wider than the row": (lambda: support(2000), "do not fit its 2 columns"),
}
