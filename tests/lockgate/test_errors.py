"""The tree that is drawn in `lockgate.errors` is the tree that the code has."""

import importlib
import pkgutil
import re

import lockgate.errors
from lockgate.errors import LockgateError, UnknownName

PACKAGES = ("lockgate", "lockgate_step", "lockgate_proof", "lockgate_store", "lockgate_policy", "lockgate_report")
NEEDS_COULER = "lockgate.couler.frontend"
LINE = re.compile(r"(?m)^(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+) +(?P<code>\d)  (?P<what>.+)$")


def drawn() -> list[tuple[str, str, int]]:
    """Parent, name and exit code of each error in the drawing."""
    found, above = [], dict[int, str]()
    for line in LINE.finditer(lockgate.errors.__doc__ or ""):
        depth = len(line["branch"]) // 4
        above[depth] = line["name"]
        found.append((above.get(depth - 1, ""), line["name"], int(line["code"])))
    return found


def defined(error: type[LockgateError] = LockgateError, parent: str = "") -> list[tuple[str, str, int]]:
    """The same of each class in the code."""
    found = [(parent, error.__name__, error.exit_code)]
    for each in error.__subclasses__():
        found += defined(each, error.__name__) if each.__module__.startswith(PACKAGES) else []
    return found


def test_the_drawing_is_the_tree() -> None:
    for name in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if module.name != NEEDS_COULER and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    assert len(drawn()) > 12
    assert sorted(drawn()) == sorted(defined())


def test_an_unknown_name_suggests_the_nearest() -> None:
    assert UnknownName("model", "adlut", ["adult", "credit"]).fix == "did you mean adult?"
    assert UnknownName("model", "x", ["adult", "credit"]).fix == "choose one of adult, credit"
    assert UnknownName("run", "x", []).message == "unknown run 'x'"
