"""Model files: reads, loads and writes the folder of a model.

Reading needs only the standard library; loading needs onnxruntime, or skops with scikit-learn and pandas; writing needs
the packages of training. Each is imported where it is used, so that a server of ONNX models never loads scikit-learn.
"""

from lockgate_model._card import BadModel, Category, Column, Differences, Labels, ModelCard, Number, columns_of, read
from lockgate_model._predict import Predictor, decide, load
from lockgate_model._write import Form, write

__all__ = [
    "BadModel",
    "Category",
    "Column",
    "Differences",
    "Form",
    "Labels",
    "ModelCard",
    "Number",
    "Predictor",
    "columns_of",
    "decide",
    "load",
    "read",
    "write",
]
