"""The files of a program: `In[Table]` is read, `Out[Table]` is written; both are path-like."""

import os
from pathlib import Path
from typing import ClassVar, Generic, TypeVar


class Kind:
    """The kind of a file, written in `In[...]` and `Out[...]`; `folder` is true if it is a folder."""

    folder: ClassVar[bool] = False


class Table(Kind):
    """Rows as Parquet."""


class Answers(Kind):
    """The answers of a model, and of the base, to the test rows, with their signed record."""

    folder = True


class ModelFile(Kind):
    """A model in the form that will be served: model.json, the file itself, golden.json."""

    folder = True


class DataRecord(Kind):
    """The signed record of the data: the snapshot and how it was split."""


class Base(Kind):
    """The live bundle as it was when the run began, and its generation."""

    folder = True


class Spec(Kind):
    """The model spec as JSON."""


class Policy(Kind):
    """The rules of the gates as TOML."""


class Expectations(Kind):
    """Great Expectations entries as JSON."""


class Waivers(Kind):
    """Signed waivers as a JSON list, each with the name of its file."""


class Bundle(Kind):
    """The folder that is served, named by its digest."""

    folder = True


class Staged(Kind):
    """The signed record of a deployed version that gets no requests of users yet, with its address."""


class PromotionRecord(Kind):
    """The signed record that made a bundle live."""


class Report(Kind):
    """A static HTML page."""


class DataVerdict(Kind):
    """The signed verdict of validate-data."""


class QualityVerdict(Kind):
    """The signed verdict of validate-model."""


class BiasVerdict(Kind):
    """The signed verdict of bias-audit."""


class SmokeVerdict(Kind):
    """The signed verdict of smoke-test."""


class CanaryVerdict(Kind):
    """The signed verdict of canary, on a version that some of the users' requests reached."""


class RecallVerdict(Kind):
    """The signed verdict of recall, which brings back a version that was live before."""


class AdditionalVerdict(Kind):
    """The signed verdict of an additional gate, which a model has beside Lockgate's own."""


class AdditionalVerdicts(Kind):
    """The verdicts of all additional gates of a model, each in a file with the gate's name."""

    folder = True


K = TypeVar("K", bound=Kind, covariant=True)


class _File(Generic[K]):
    """A file or folder of one kind; usable as a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


class In(_File[K]):
    """An input; read it, never write it."""


class Out(_File[K]):
    """An output; if its kind is a folder, the folder already exists."""
