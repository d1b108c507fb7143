"""Measures the bytes of each image in a registry, and the bytes that a node pulls when the code of a step changes.

Not part of `make bench`: it needs the tests' cluster with its registry, so Linux and root.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, AtMost, Benchmark, Figure, Measured, main
from tests.cluster.cluster import here
from tests.cluster.images import CHANGED, manifest, push_changed, push_images
from tests.cluster.place import CA, REGISTRY

FOLDER = f"{REGISTRY}/lockgate"
MB = 1_000_000


def measure(repeats: int) -> Measured:
    """Read the sizes from the registry; they do not vary, so they are read once."""
    del repeats
    here().up()
    with tempfile.TemporaryDirectory() as name:
        project = Path(name, "project")
        project.mkdir()
        (project / "pipelines").symlink_to(ROOT / "pipelines")
        references = push_images(project, FOLDER, CA)
        made = {name: manifest(reference, CA) for name, reference in sorted(references.items())}
        pulled = _pulled_anew(made[CHANGED], manifest(push_changed(Path(name, "changed")), CA))
    common = made[CHANGED]["layers"][0]
    figures = [Figure("the base that all images share", "MB", [_size([common])])]
    figures += [Figure(f"{name}, without its base", "MB", [_size(own[1:])]) for name, own in _layers(made)]
    figures += [
        Figure("all images, each layer once", "MB", [_size(_once(made).values())]),
        Figure("the last layer (the code) of each image", "MB", [_size(own[-1:]) for _, own in _layers(made)]),
        Figure(f"pulled by a node when the code of {CHANGED} changes", "MB", [pulled], AtMost(1)),
        Figure(
            "the largest pull when the code of one image changes: code, configuration and manifest", "MB",
            [max(_size([own["layers"][-1], own["config"]]) + _length(own) for own in made.values())], AtMost(1),
        ),
    ]  # fmt: skip
    notes = ["Compressed sizes, as pulled. The base is made from Debian packages here; another base has another size."]
    return Measured(figures, notes=notes)


def _pulled_anew(known: Mapping[str, Any], new: Mapping[str, Any]) -> float:
    """Return the size of what a node with the known image must pull for the new one, including its manifest."""
    there = {part["digest"] for part in (*known["layers"], known["config"])}
    return _size(part for part in (*new["layers"], new["config"]) if part["digest"] not in there) + _length(new)


def _layers(made: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(name, found["layers"]) for name, found in made.items()]


def _once(made: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {layer["digest"]: layer for _, layers in _layers(made) for layer in layers}


def _size(parts: Any) -> float:
    return float(sum(part["size"] for part in parts)) / MB


def _length(found: Mapping[str, Any]) -> float:
    return len(json.dumps(found)) / MB


BENCHMARK = Benchmark("image_bytes", "images.py", 1, measure)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
