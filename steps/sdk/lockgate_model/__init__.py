"""Model files: reads, loads and writes the folder of a model.

Reading needs only the standard library; loading needs onnxruntime, or skops with scikit-learn and pandas; writing needs
the packages of training. Each is imported where it is used, so that a server of ONNX models never loads scikit-learn.
"""

from lockgate_model._card import BadModel, Differences, Labels, ModelCard, input_entry, read
from lockgate_model._predict import Predictor, decide, load
from lockgate_model._write import Form, write

__all__ = [
    "BadModel",
    "Differences",
    "Form",
    "Labels",
    "ModelCard",
    "Predictor",
    "decide",
    "input_entry",
    "load",
    "read",
    "write",
]
