"""Every graph that train writes is proved to compute each row by itself, and answers the same in any arrangement."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pandas as pd
import pytest
from lockgate_model import ask, load
from lockgate_model._asking import TOLERANCE
from lockgate_model._operators import STANDARD, name_of
from lockgate_train.rows import Problem, Training

from tests.steps.train.test_train import written

Read = Callable[[pd.DataFrame], Training]

HONEST: list[tuple[str, dict[str, Any]]] = [
    ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 20}),
    ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 5, "max_leaf_nodes": 4, "l2_regularization": 1.0}),
    ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 60, "learning_rate": 0.3}),
    ("sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 20}),
    ("sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 5, "max_depth": 6, "subsample": 0.5}),
    ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 15}),
    ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 5, "max_depth": 3, "class_weight": "balanced"}),
    ("sklearn.ensemble.ExtraTreesClassifier", {"n_estimators": 10}),
    ("sklearn.ensemble.AdaBoostClassifier", {"n_estimators": 5}),
    ("sklearn.tree.DecisionTreeClassifier", {"max_depth": 6}),
    ("sklearn.tree.DecisionTreeClassifier", {}),
    ("sklearn.tree.ExtraTreeClassifier", {"max_depth": 8}),
    ("sklearn.linear_model.LogisticRegression", {}),
    ("sklearn.linear_model.LogisticRegression", {"C": 0.01, "class_weight": "balanced"}),
    ("sklearn.linear_model.LogisticRegressionCV", {"cv": 3}),
    ("sklearn.linear_model.SGDClassifier", {"loss": "log_loss"}),
    ("sklearn.linear_model.SGDClassifier", {"loss": "modified_huber"}),
    ("sklearn.naive_bayes.GaussianNB", {}),
    ("sklearn.naive_bayes.BernoulliNB", {}),
    ("sklearn.neural_network.MLPClassifier", {"max_iter": 20}),
    ("sklearn.neural_network.MLPClassifier", {"hidden_layer_sizes": [32, 8], "activation": "tanh", "max_iter": 20}),
    ("sklearn.neural_network.MLPClassifier", {"activation": "logistic", "max_iter": 20}),
    ("sklearn.neighbors.KNeighborsClassifier", {}),
    ("sklearn.neighbors.KNeighborsClassifier", {"n_neighbors": 9, "p": 2}),
    ("sklearn.calibration.CalibratedClassifierCV", {"cv": 3}),
    ("sklearn.svm.SVC", {"probability": True}),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "parameters"), HONEST)
def test_an_honest_model_is_not_refused(
    tmp_path: Path, read: Read, problem: Problem, data: pd.DataFrame, name: str, parameters: dict[str, Any]
) -> None:
    training = read(data.head(600))
    written(tmp_path / "model", training, problem, name, parameters, "onnx")
    used = {name_of(node) for node in onnx.load(tmp_path / "model" / "model.onnx").graph.node}
    assert used <= STANDARD
    predictor = load(tmp_path / "model")
    assert predictor.at_once is None  # proved, so it is served in runs of several rows
    rows = {column: [None if v != v or v == "" else v for v in training.inputs[column]] for column in training.inputs}
    asked = ask(predictor, rows)
    assert asked.rows == len(training.inputs)
    assert asked.largest <= TOLERANCE


def test_the_corpus_is_large() -> None:
    assert len(HONEST) >= 20
