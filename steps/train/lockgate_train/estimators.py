"""Look up and check the declared estimator, and build the encoder of its columns."""

import difflib
import importlib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lockgate_step import BadCall, Category, Column, Number
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

_TREES = (
    HistGradientBoostingClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
    ExtraTreesClassifier,
    DecisionTreeClassifier,
    ExtraTreeClassifier,
)


def declared(name: str, parameters: str, seed: int) -> BaseEstimator:
    """Make the estimator with this dotted scikit-learn name and these parameters, and with the seed if it takes one.

    Errors: BadCall if it is not a scikit-learn classifier, lacks a parameter, or does not predict probabilities.
    """
    kind = _classifier(name)
    settings = _settings(parameters)
    known = inspect.signature(kind).parameters
    for unknown in settings.keys() - known.keys():
        msg = f"{name} has no parameter {unknown!r}"
        raise BadCall(msg, fix=f"its parameters are: {', '.join(known)}")
    if "random_state" in known:
        settings.setdefault("random_state", seed)
    try:
        estimator: BaseEstimator = kind(**settings)
    except TypeError as error:
        msg = f"{name} needs parameters that are not given"
        raise BadCall(msg, fix=f"pass them as JSON; its parameters are: {', '.join(known)}") from error
    if not hasattr(estimator, "predict_proba"):
        msg = f"{name} does not predict probabilities, so its answers would have no score"
        raise BadCall(msg, fix="choose a classifier with predict_proba, or set the parameter that enables it")
    return estimator


def _classifier(name: str) -> type[BaseEstimator]:
    module, _, attribute = name.rpartition(".")
    public = not any(part.startswith("_") for part in name.split("."))
    found: Any = None
    if public and (module == "sklearn" or module.startswith("sklearn.")):
        try:
            found = getattr(importlib.import_module(module), attribute, None)
        except ImportError:
            found = None
    if not (inspect.isclass(found) and issubclass(found, BaseEstimator)):
        msg = f"{name!r} is not a scikit-learn estimator"
        raise BadCall(msg, fix=_near(name))
    if not issubclass(found, ClassifierMixin):
        msg = f"{name} is not a classifier"
        raise BadCall(msg, fix=_near(name))
    kind: type[BaseEstimator] = found
    return kind


def public_names() -> list[str]:
    """Return each classifier by its shortest import path; `lockgate run` checks against this list before any step."""
    return Path(__file__).with_name("classifiers.txt").read_text(encoding="utf-8").split()


def _near(name: str) -> str:
    names = {known.rpartition(".")[2]: known for known in public_names()}
    close = difflib.get_close_matches(name.rpartition(".")[2], names, n=3, cutoff=0.5)
    return (
        f"did you mean {' or '.join(names[each] for each in close)}?"
        if close
        else "choose a classifier, for example sklearn.linear_model.LogisticRegression"
    )


def _settings(parameters: str) -> dict[str, Any]:
    try:
        settings = json.loads(parameters)
    except ValueError as error:
        msg = "the setting `parameters` is not valid JSON"
        raise BadCall(msg, fix="""write for example --parameters '{"max_iter": 200}'""") from error
    if not isinstance(settings, dict):
        msg = "the setting `parameters` is not a JSON object"
        raise BadCall(msg, fix="""write for example --parameters '{"max_iter": 200}'""")
    return settings


def columns(inputs: Sequence[Column], estimator: BaseEstimator) -> ColumnTransformer:
    """Build the encoder that turns the spec's columns into the numbers that an estimator takes.

    Categories come from the spec, never from the data, so that the served graph knows all of them. Trees get ordinal
    codes and unchanged numbers; other estimators get one-hot indicators and standardised numbers.
    """
    trees = isinstance(estimator, _TREES)
    takes_gaps = isinstance(estimator, HistGradientBoostingClassifier)
    numbers = [column for column in inputs if isinstance(column, Number)]
    categories = [column for column in inputs if isinstance(column, Category)]
    known = [[*column.values, *([""] if column.missing else [])] for column in categories]
    gaps = [column.name for column in numbers if column.missing and not takes_gaps]
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    codes = OrdinalEncoder(categories=known) if trees else OneHotEncoder(categories=known, sparse_output=False)
    parts = [
        ("numbers", "passthrough" if trees else StandardScaler(), [n.name for n in numbers if n.name not in gaps]),
        ("gaps", fill if trees else make_pipeline(fill, StandardScaler()), gaps),
        ("categories", codes, [column.name for column in categories]),
    ]
    return ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0)
