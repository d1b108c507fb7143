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
    graph.opset_import.sort(key=lambda opset: opset.domain)  # skl2onnx writes them in the order of a set, which varies
    data: bytes = graph.SerializeToString(deterministic=True)
    return data


def _rename(graph: Any, output: Any, name: str) -> None:
    for node in graph.node:
        node.output[:] = [name if each == output.name else each for each in node.output]
        node.input[:] = [name if each == output.name else each for each in node.input]
    output.name = name


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
