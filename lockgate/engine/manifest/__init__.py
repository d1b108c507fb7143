"""Read manifests: which fields the engine executes, ignores or refuses, and the workflow they define."""

from lockgate.engine.manifest.fields import Note
from lockgate.engine.manifest.reading import load_manifests
from lockgate.engine.manifest.workflow import (
    TAG,
    Json,
    Template,
    Workflow,
    entries,
    groups_of,
    hooks_of,
    name_of,
    resolve,
    spec_of,
    text,
    without_tags,
)

__all__ = [
    "TAG",
    "Json",
    "Note",
    "Template",
    "Workflow",
    "entries",
    "groups_of",
    "hooks_of",
    "load_manifests",
    "name_of",
    "resolve",
    "spec_of",
    "text",
    "without_tags",
]
