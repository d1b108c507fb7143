"""Checks every number of an ONNX tree ensemble that onnxruntime uses as an index without a check.

Otherwise a hostile file could read the next row's columns or other memory, or never end.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockgate_model._card import UnsafeModel

_DEEPEST = 10_000  # levels; scikit-learn's deepest trees have some hundred


def check_trees(op: str, said: Mapping[str, Any], columns: int) -> None:
    """Check the attributes of a TreeEnsembleClassifier or TreeEnsembleRegressor that reads `columns` columns.

    Errors: UnsafeModel, with the first check that fails.
    """
    weighed, outputs = _outputs(op, said)
    nodes = {name: _ints(said, f"nodes_{name}") for name in ("treeids", "nodeids", "truenodeids", "falsenodeids")}
    features, modes = _ints(said, "nodes_featureids"), said.get("nodes_modes", [])
    count = len(modes)
    _require(
        count > 0 and all(len(each) == count for each in (*nodes.values(), features)), "its lists differ in length"
    )
    _require(len(_values(said, "nodes_values")) == count, "its thresholds are not one for each node")
    tracked = len(said.get("nodes_missing_value_tracks_true", ()))
    _require(tracked in (0, count), "its answers to missing values are not one for each node")
    inner = np.array([mode != b"LEAF" for mode in modes])
    _require(bool(np.all((features[inner] >= 0) & (features[inner] < columns))), f"it reads beyond {columns} columns")

    keys = _keys(nodes["treeids"], nodes["nodeids"])
    order = np.argsort(keys, kind="stable")
    _require(bool(np.all(np.diff(keys[order]) > 0)), "two of its nodes have the same number")
    children = np.concatenate(
        [
            _find(keys, order, _keys(nodes["treeids"][inner], nodes[side][inner]))
            for side in ("truenodeids", "falsenodeids")
        ]
    )
    _require(len(np.unique(children)) == len(children), "a node has two parents")
    _require(_levels(inner, children, nodes["treeids"]), "its trees have a cycle, or more than one root")

    leaves = _find(keys, order, _keys(_ints(said, f"{weighed}_treeids"), _ints(said, f"{weighed}_nodeids")))
    _require(not np.any(inner[leaves]), "a node that is not a leaf has a weight")
    chosen = _ints(said, f"{weighed}_ids")
    _require(bool(np.all((chosen >= 0) & (chosen < outputs))), "a leaf adds to an output that does not exist")
    lengths = {len(leaves), len(chosen), len(_values(said, f"{weighed}_weights"))}
    _require(len(lengths) == 1, "the lists of its leaves differ in length")


def _outputs(op: str, said: Mapping[str, Any]) -> tuple[str, int]:
    if op == "TreeEnsembleRegressor":
        return "target", int(said.get("n_targets", 1))
    return "class", len(said.get("classlabels_strings") or said.get("classlabels_int64s") or ())


def _ints(said: Mapping[str, Any], name: str) -> NDArray[np.int64]:
    return np.asarray(said.get(name, ()), dtype=np.int64)


def _values(said: Mapping[str, Any], name: str) -> NDArray[Any]:
    from onnx import numpy_helper

    tensor = said.get(f"{name}_as_tensor")
    return np.asarray(said.get(name, ())) if tensor is None else np.ravel(numpy_helper.to_array(tensor))


def _keys(trees: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number for each pair of a tree and a node."""
    _require(len(trees) == len(numbers), "its lists differ in length")
    both = np.concatenate([trees, numbers])
    _require(not len(both) or bool(both.min() >= 0 and both.max() < 2**31), "its numbers are out of range")
    return trees * 2**31 + numbers


def _find(keys: NDArray[np.int64], order: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each wanted key."""
    places = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
    _require(bool(np.all(keys[places] == wanted)), "it names a node that does not exist")
    return places


def _levels(inner: NDArray[np.bool_], children: NDArray[np.int64], trees: NDArray[np.int64]) -> bool:
    """Return whether every node is reached from the one root of its tree; each has at most one parent already."""
    is_child = np.zeros(len(inner), dtype=bool)
    is_child[children] = True
    roots = np.flatnonzero(~is_child)
    if len(roots) != len(np.unique(trees)) or len(np.unique(trees[roots])) != len(roots):
        return False
    below = np.full((len(inner), 2), -1)
    below[inner] = children.reshape(2, -1).T
    seen, level = 0, roots
    for _ in range(_DEEPEST):
        seen += len(level)
        level = below[level[inner[level]]].ravel()
        if not len(level):
            break
    return bool(seen == len(inner))


def _require(holds: bool, problem: str) -> None:
    if not holds:
        msg = f"a tree ensemble of the graph is damaged: {problem}"
        raise UnsafeModel(msg, fix="convert the model to ONNX again")
