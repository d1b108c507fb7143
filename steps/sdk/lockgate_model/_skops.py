"""scikit-learn pipelines as skops files: writes them canonically, and checks their types before loading.

skops trusts scikit-learn's own types whatever their content. That is not enough here: compiled code uses numbers from
the file as array indices. So we list the allowed types, one family per estimator, and check them before anything is
built. Every number that compiled code uses as an index is checked afterwards (`_trees`).
"""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lockgate_model._card import BadModel, ModelCard
from lockgate_model._trees import check_trees

_LARGEST = 2**29  # bytes unpacked; a larger file is refused before it is read

_TREE = "sklearn.tree._tree.Tree"
_PREDICTOR = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
_BOOSTING_LOSS = frozenset(
    {
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.Interval",
    }
)
_EVERYWHERE = frozenset(
    {
        *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "slice", "str", "tuple")),
        *(f"numpy.{name}" for name in ("bool", "dtype", "float32", "float64", "int32", "int64", "ndarray", "uint64")),
        "sklearn.pipeline.Pipeline",
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._data.MinMaxScaler",
        "sklearn.preprocessing._data.RobustScaler",
        "sklearn.preprocessing._encoders.OneHotEncoder",
        "sklearn.preprocessing._encoders.OrdinalEncoder",
        "sklearn.preprocessing._function_transformer.FunctionTransformer",
        "sklearn.preprocessing._label.LabelEncoder",
        "numpy.random.mtrand.RandomState",
        "numpy.random._generator.Generator",
    }
)
# FunctionNode, MethodNode, PartialNode, OperatorFuncNode and the like would let the file choose what is called.
_LOADERS = frozenset(
    f"{name}Node"
    for name in (
        *("Cached", "DType", "Dict", "Json", "List", "Loss", "NdArray", "Object"),
        *("RandomGenerator", "RandomState", "Slice", "Tree", "Tuple", "Type"),
    )
)


@dataclass(frozen=True)
class Family:
    """The types that an estimator's file may contain besides `_EVERYWHERE`; `trusted` is an argument of skops."""

    types: frozenset[str] = frozenset()
    trusted: tuple[str, ...] = ()


_FOREST = Family(frozenset({"sklearn.tree._classes.DecisionTreeClassifier"}), (_TREE,))
_EXTRA = Family(frozenset({"sklearn.tree._classes.ExtraTreeClassifier"}), (_TREE,))
FAMILIES: Mapping[str, Family] = {
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier": Family(
        _BOOSTING_LOSS | {"sklearn.ensemble._hist_gradient_boosting.binning._BinMapper"}, (_PREDICTOR,)
    ),
    "sklearn.ensemble._gb.GradientBoostingClassifier": Family(
        _BOOSTING_LOSS | {"sklearn.dummy.DummyClassifier", "sklearn.tree._classes.DecisionTreeRegressor"}, (_TREE,)
    ),
    "sklearn.ensemble._forest.RandomForestClassifier": _FOREST,
    "sklearn.ensemble._forest.ExtraTreesClassifier": _EXTRA,
    "sklearn.tree._classes.DecisionTreeClassifier": Family(trusted=(_TREE,)),
    "sklearn.tree._classes.ExtraTreeClassifier": Family(trusted=(_TREE,)),
    "sklearn.linear_model._logistic.LogisticRegression": Family(),
    "sklearn.naive_bayes.BernoulliNB": Family(),
    "sklearn.naive_bayes.GaussianNB": Family(),
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": Family(),
    "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis": Family(),
}


def family_of(pipeline: Any) -> tuple[str, ...] | None:
    """Return the types that model.json lists as trusted for this pipeline, or None if it cannot be a skops file."""
    kind = type(pipeline[-1])
    family = FAMILIES.get(f"{kind.__module__}.{kind.__qualname__}")
    return None if family is None else ("numpy.dtype", *family.trusted)


def dump_pipeline(pipeline: Any, path: Path) -> None:
    """Write a pipeline so that equal pipelines give equal bytes.

    skops names its parts after memory addresses, and numpy leaves old memory between a record's fields.
    """
    import skops.io

    raw = zipfile.ZipFile(io.BytesIO(skops.io.dumps(pipeline)))
    schema = json.loads(raw.read("schema.json"))
    ids: dict[int, int] = {}
    files: dict[str, str] = {}
    for node in _nodes(schema):
        if "__id__" in node:
            node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
        if isinstance(node.get("file"), str):
            node["file"] = files.setdefault(node["file"], f"{len(files) + 1}.npy")
    with zipfile.ZipFile(path, "w") as canonical:
        _add(canonical, "schema.json", json.dumps(schema, sort_keys=True).encode())
        for name, number in files.items():
            _add(canonical, number, _canonical_array(raw.read(name)))


def load_pipeline(path: Path, card: ModelCard) -> Any:
    """Build the pipeline of a skops file after checking everything that compiled code relies on.

    Errors: BadModel if the file is damaged or contains a type that its estimator's family does not need.
    """
    import skops.io

    try:
        schema = _schema(path)
        family = _check_types(schema)
        pipeline = skops.io.load(path, trusted=["numpy.dtype", *family.trusted])
        check_trees(pipeline[-1])
        names = list(pipeline.feature_names_in_)
    except BadModel:
        raise
    except Exception as error:  # a damaged file can raise any error
        msg = f"{path.name} is not a complete skops file of a scikit-learn pipeline ({type(error).__name__})"
        raise BadModel(msg, fix="write the model again with train or fetch") from error
    if names != [column.name for column in card.inputs]:
        msg = "the inputs of the pipeline and of model.json differ"
        raise BadModel(msg, fix="write the model again with train or fetch")
    return pipeline


def _schema(path: Path) -> Mapping[str, Any]:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
            msg = f"{path.name} unpacks to more than {_LARGEST >> 20} MiB"
            raise BadModel(msg, fix="train a smaller model, or convert it to ONNX")
        schema: Mapping[str, Any] = json.loads(archive.read("schema.json"))
    return schema


def _check_types(schema: Mapping[str, Any]) -> Family:
    """Find the one estimator of a known family, and refuse every type that family does not need."""
    if _type(schema) != "sklearn.pipeline.Pipeline":
        msg = "the skops file does not contain a scikit-learn Pipeline"
        raise BadModel(msg, fix="wrap the estimator in a Pipeline that takes the columns by name")
    found = {_type(node) for node in _nodes(schema) if "__module__" in node}
    loaders = {str(node["__loader__"]) for node in _nodes(schema) if "__loader__" in node}
    # A forest contains trees, so several families can match; the estimator's own family allows all types.
    fitting = [family for name, family in FAMILIES.items() if name in found]
    for family in fitting:
        allowed = _EVERYWHERE | family.types | set(family.trusted) | _names(family)
        if found <= allowed and loaders <= _LOADERS:
            return family
    unexpected = (
        found
        - _EVERYWHERE
        - {name for family in fitting for name in family.types | set(family.trusted)}
        - set(FAMILIES)
    )
    culprits = sorted(unexpected | (loaders - _LOADERS)) or ["no supported estimator, or several"]
    msg = f"the skops file contains types that no supported model needs: {', '.join(culprits)}"
    raise BadModel(
        msg,
        fix="convert the model to ONNX, or use one of: "
        + ", ".join(sorted(name.rpartition(".")[2] for name in FAMILIES)),
    )


def _names(family: Family) -> set[str]:
    return {name for name, known in FAMILIES.items() if known is family}


def _type(node: Mapping[str, Any]) -> str:
    return f"{node['__module__']}.{node['__class__']}"


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Yield each JSON object of the schema, in the order of the file."""
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _nodes(child)
    elif isinstance(value, list):
        for child in value:
            yield from _nodes(child)


def _canonical_array(data: bytes) -> bytes:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.fields:
        clean = np.zeros(array.shape, dtype=array.dtype)
        for name in array.dtype.names:
            clean[name] = array[name]
        array = clean
    target = io.BytesIO()
    np.save(target, array, allow_pickle=False)
    return target.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)
