"""Read YAML as Kubernetes does, and refuse what Argo would refuse or what would grow without bound."""

from pathlib import Path
from typing import Any

import yaml

from lockgate.errors import BadCall

_MOST_BYTES = 16 << 20
_MOST_NODES = 1_000_000  # after every alias is replaced by what it stands for
_DEEPEST = 100


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the faster one if it is built
    """YAML as Kubernetes reads it: a date is a string, and no mapping has a key twice."""

    def construct_document(self, node: yaml.Node) -> Any:
        """Check a document, then make its values."""
        _size(node, {}, ())
        return super().construct_document(node)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def load_manifests(*files: Path, fix: str = "lockgate render") -> list[dict[str, Any]]:
    """Read the documents of these files.

    fix: the next action if one cannot be read.

    Errors: BadCall, if a file cannot be read as YAML mappings.
    """
    return [document for file in files for document in _documents(file, fix)]


def _documents(file: Path, fix: str) -> list[dict[str, Any]]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            message = f"{file} is larger than {_MOST_BYTES:,} bytes"
            raise BadCall(message, fix="pass a file with manifests")
        found = list(yaml.load_all(file.read_text("utf-8"), Loader=_Loader))  # a safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = f"{file} cannot be read as a manifest: {' '.join(str(error).split())}"
        raise BadCall(message, fix=fix) from error
    except RecursionError as error:
        message = f"{file} cannot be read as a manifest: it is nested too deeply"
        raise BadCall(message, fix=fix) from error
    except (ValueError, OverflowError) as error:  # of Python's own conversions
        message = f"{file} cannot be read as a manifest: it has a number that is too long"
        raise BadCall(message, fix=fix) from error
    documents = [document for document in found if document]
    if not all(isinstance(document, dict) for document in documents):
        message = f"{file} contains a document that is not a manifest"
        raise BadCall(message, fix=fix)
    return documents


def _size(node: yaml.Node, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """Return how many values a node has after its aliases are replaced. Errors: ConstructorError."""
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in above:
        raise _refused(node, "an alias stands inside of what it stands for")
    if len(above) > _DEEPEST:
        raise _refused(node, f"it is nested more than {_DEEPEST} levels deep")
    within = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        size = 1 + sum(_size(each, sizes, within) for pair in node.value for each in pair)
    elif isinstance(node, yaml.SequenceNode):
        size = 1 + sum(_size(each, sizes, within) for each in node.value)
    else:
        size = 1
    if size > _MOST_NODES:
        raise _refused(node, f"its aliases stand for more than {_MOST_NODES:,} values")
    sizes[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    seen: dict[str, yaml.Node] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and seen.setdefault(key.value, key) is not key:
            raise _refused(key, f"the key {key.value!r} is there twice")


def _refused(node: yaml.Node, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
