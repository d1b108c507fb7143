"""Checks every number of a tree that scikit-learn's compiled code uses as an index without a check.

Otherwise a hostile file could make prediction read outside its arrays, or never end.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockgate_model._card import BadModel


def check_trees(estimator: Any) -> None:
    """Refuse an estimator with a tree that has an index outside its arrays, a cycle, or an unknown feature.

    Errors: BadModel, with the first check that fails.
    """
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.tree._tree import Tree

    features = int(estimator.n_features_in_)
    for part in _parts(estimator, set()):
        if isinstance(part, Tree):
            _check_tree(part, features)
        elif isinstance(part, TreePredictor):
            _check_predictor(part, features)
        # Ensembles check the number of features once, against themselves or their first member.
        _require(
            getattr(part, "n_features_in_", features) == features, "its parts expect different numbers of features"
        )
    if isinstance(estimator, GradientBoostingClassifier):
        _check_boosting(estimator, Tree)
    elif isinstance(estimator, HistGradientBoostingClassifier):
        _require(not np.any(estimator._bin_mapper.is_categorical_), "it splits categories natively")
        _require(estimator._preprocessor is None, "it transforms its features before the trees use them")


def _check_tree(tree: Any, features: int) -> None:
    # The accessors below trust node_count, so it is first compared with the arrays that were loaded.
    _require(tree.node_count == tree.capacity >= 1, "the node count of a tree is wrong")
    _require(tree.n_outputs == 1 and tree.n_features == features, "a tree does not have the shape of its estimator")
    inner = tree.children_left != -1
    _check_nodes(inner, tree.children_left, tree.children_right, tree.feature, features)


def _check_predictor(predictor: Any, features: int) -> None:
    nodes = predictor.nodes
    _require(isinstance(nodes, np.ndarray) and nodes.ndim == 1 and len(nodes) >= 1, "a tree has no nodes")
    _require(not np.any(nodes["is_categorical"]), "it splits categories natively")
    inner = nodes["is_leaf"] == 0
    _check_nodes(inner, nodes["left"], nodes["right"], nodes["feature_idx"], features)


def _check_nodes(
    inner: NDArray[Any], left: NDArray[Any], right: NDArray[Any], feature: NDArray[Any], features: int
) -> None:
    """Check the indices. Both builders number a child after its parent; requiring that excludes cycles."""
    index = np.arange(len(inner))[inner]
    for children in (left[inner].astype(np.int64), right[inner].astype(np.int64)):
        _require(
            bool(np.all((children > index) & (children < len(inner)))),
            "a tree has a child outside its nodes, or a cycle",
        )
    used = feature[inner].astype(np.int64)
    _require(bool(np.all((used >= 0) & (used < features))), "a tree uses a feature that does not exist")


def _check_boosting(estimator: Any, tree: Any) -> None:
    stages = estimator.estimators_
    _require(
        isinstance(stages, np.ndarray) and stages.ndim == 2 and stages.shape[1] == 1,
        "its stages are not for two classes",
    )
    _require(estimator.n_trees_per_iteration_ == 1, "its stages are not for two classes")
    trees = [stage.tree_ for stage in stages[:, 0]]
    _require(
        all(isinstance(each, tree) and each.max_n_classes == 1 for each in trees), "a stage is not a regression tree"
    )


def _parts(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield everything reachable from a value through attributes, containers and object arrays, each once."""
    if id(value) in seen or isinstance(value, str | bytes | int | float | bool | type | None):
        return
    seen.add(id(value))
    yield value
    match value:
        case dict():
            children: Any = list(value.values())
        case list() | tuple():
            children = value
        case np.ndarray():
            children = value.ravel() if value.dtype == object else ()
        case _:
            children = list(vars(value).values()) if hasattr(value, "__dict__") else ()
    for child in children:
        yield from _parts(child, seen)


def _require(holds: bool, problem: str) -> None:
    if not holds:
        msg = f"the model must not be used: {problem}"
        raise BadModel(msg, fix="train it again, and find out who wrote this file")
