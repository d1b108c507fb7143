"""Model files: reads, loads and writes the folder of a model.

Reading needs only the standard library; loading needs onnx and onnxruntime, or skops with scikit-learn and pandas;
writing needs the packages of training. Each is imported where it is used, so that a server of ONNX models never loads
scikit-learn.
"""

from lockgate_model._asking import SAMPLE, Asked, ask, ask_in_other_sizes
from lockgate_model._card import BadModel, Differences, Labels, ModelCard, UnsafeModel, input_entry, read
from lockgate_model._predict import Predictor, accepted_operators, decide, load, open_session
from lockgate_model._write import Form, write

__all__ = [
    "SAMPLE",
    "Asked",
    "BadModel",
    "Differences",
    "Form",
    "Labels",
    "ModelCard",
    "Predictor",
    "UnsafeModel",
    "accepted_operators",
    "ask",
    "ask_in_other_sizes",
    "decide",
    "input_entry",
    "load",
    "open_session",
    "read",
    "write",
]
