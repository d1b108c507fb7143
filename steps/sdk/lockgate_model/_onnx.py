"""Converts a fitted scikit-learn pipeline to ONNX, including the histogram boosting that skl2onnx cannot convert."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from lockgate_step import Column, Number
from numpy.typing import NDArray

# Fixed, so that a newer operator set does not change a model's bytes; old enough for other runtimes.
_OPSETS = {"": 18, "ai.onnx.ml": 3}


def convert(pipeline: Any, inputs: Sequence[Column]) -> bytes:
    """Return the graph of a pipeline with one input tensor per column; equal pipelines give equal bytes."""
    from skl2onnx import convert_sklearn, update_registered_converter
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
    from sklearn.ensemble import HistGradientBoostingClassifier

    update_registered_converter(
        HistGradientBoostingClassifier,
        "SklearnHistGradientBoostingClassifier",
        calculate_linear_classifier_output_shapes,
        _histogram_boosting,
        options={"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]},
    )
    types = [
        (column.name, FloatTensorType([None, 1]) if isinstance(column, Number) else StringTensorType([None, 1]))
        for column in inputs
    ]
    graph = convert_sklearn(
        pipeline, name="model", initial_types=types, target_opset=_OPSETS, options={id(pipeline[-1]): {"zipmap": False}}
    )
    for output, name in zip(graph.graph.output, ("label", "probabilities"), strict=True):
        _rename(graph.graph, output, name)
    _without_scan(graph.graph)
    graph.opset_import.sort(key=lambda opset: opset.domain)  # skl2onnx writes them in the order of a set, which varies
    data: bytes = graph.SerializeToString(deterministic=True)
    return data


def _rename(graph: Any, output: Any, name: str) -> None:
    for node in graph.node:
        node.output[:] = [name if each == output.name else each for each in node.output]
        node.input[:] = [name if each == output.name else each for each in node.input]
    output.name = name


def _without_scan(graph: Any) -> None:
    """Replace the loop with which skl2onnx computes the distances of nearest neighbours by operators for each row.

    A graph with control flow is not served. `x` is [N,F], the fitted rows are [M,F], the squared distances [N,M].
    """
    from onnx import helper, numpy_helper

    def constant(name: str, value: int) -> str:
        if all(tensor.name != name for tensor in graph.initializer):
            graph.initializer.append(numpy_helper.from_array(np.array([value], dtype=np.int64), name))
        return name

    constants = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    scans = {node.output[1]: node for node in graph.node if node.op_type == "Scan"}
    steps = [["Identity", "Sub", "ReduceSumSquare", "Identity"]] * len(scans)
    if not scans or [[n.op_type for n in s.attribute[0].g.node] for s in scans.values()] != steps:
        return  # of another form: the check of the graph names it
    nodes = []
    for node in graph.node:
        if node.op_type == "Scan":
            continue
        if node.op_type == "Transpose" and node.input[0] in scans:
            scan = scans[node.input[0]]
            apart, gaps = f"{scan.name}_rows", f"{scan.name}_gaps"
            nodes += [
                helper.make_node("Unsqueeze", [scan.input[0], constant("axis_1", 1)], [apart]),
                helper.make_node("Sub", [apart, scan.input[1]], [gaps]),
                helper.make_node("ReduceSumSquare", [gaps, constant("axis_2", 2)], node.output, keepdims=0),
            ]
        elif node.op_type == "ArrayFeatureExtractor" and len(constants.get(node.input[0], ())) == 1:
            nodes.append(helper.make_node("Gather", node.input, node.output, axis=0))  # keeps the rows' axis
        else:
            nodes.append(node)
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _histogram_boosting(scope: Any, operator: Any, container: Any) -> None:
    """Add one TreeEnsembleClassifier for all trees; its logistic transform gives both probabilities."""
    model = operator.raw_operator
    trees = [predictor.nodes for (predictor,) in model._predictors]
    sizes = [len(nodes) for nodes in trees]
    nodes = np.concatenate(trees)
    leaf = nodes["is_leaf"].astype(bool)
    tree = np.repeat(np.arange(len(trees)), sizes)
    number = np.concatenate([np.arange(size) for size in sizes])
    container.add_node(
        "TreeEnsembleClassifier",
        operator.inputs[0].full_name,
        [output.full_name for output in operator.outputs],
        op_domain="ai.onnx.ml",
        op_version=3,
        name=scope.get_unique_operator_name("TreeEnsembleClassifier"),
        base_values=[float(model._baseline_prediction.item())],
        class_ids=[0] * int(leaf.sum()),
        class_nodeids=number[leaf].tolist(),
        class_treeids=tree[leaf].tolist(),
        class_weights=nodes["value"][leaf].astype(np.float32).tolist(),
        classlabels_int64s=[int(label) for label in model.classes_],
        nodes_falsenodeids=np.where(leaf, 0, nodes["right"]).tolist(),
        nodes_featureids=np.where(leaf, 0, nodes["feature_idx"]).tolist(),
        nodes_missing_value_tracks_true=np.where(leaf, 0, nodes["missing_go_to_left"]).tolist(),
        nodes_modes=["LEAF" if end else "BRANCH_LEQ" for end in leaf],
        nodes_nodeids=number.tolist(),
        nodes_treeids=tree.tolist(),
        nodes_truenodeids=np.where(leaf, 0, nodes["left"]).tolist(),
        nodes_values=_floor32(np.where(leaf, 0.0, nodes["num_threshold"])).tolist(),
        post_transform="LOGISTIC",
    )


def _floor32(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 not above each threshold, so that x <= t holds for the same float32 values x."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
