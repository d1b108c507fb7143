"""The reference of the public names, as autodoc directives: Sphinx reads the docstrings."""

import inspect
from collections.abc import Collection, Iterable
from types import ModuleType

import lockgate_step

import lockgate


def composer() -> str:
    """The public names of `lockgate`."""
    return _directives("lockgate", lockgate, lockgate.__all__)


def steps() -> str:
    """The typed function of each program."""
    from lockgate import steps as module

    found = vars(module).items()
    names = [n for n, thing in found if inspect.isfunction(thing) and thing.__module__ == module.__name__]
    return _directives("lockgate.steps", module, names)


def sdk() -> str:
    """What a step's author imports from `lockgate_step`."""
    # Sphinx allows one indexed description of a class: the parts of a spec are indexed as names of `lockgate`.
    return _directives("lockgate_step", lockgate_step, lockgate_step.__all__, unindexed=lockgate.__all__)


def _directives(path: str, module: ModuleType, names: Iterable[str], *, unindexed: Collection[str] = ()) -> str:
    lines = []
    for name in names:
        head, *options = _directive(f"{path}.{name}", getattr(module, name))
        lines += [head, *(["   :no-index:"] if name in unindexed else []), *options]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def _directive(path: str, thing: object) -> list[str]:
    if isinstance(thing, type) and issubclass(thing, Exception):
        return [f".. autoexception:: {path}", ""]
    if isinstance(thing, type):
        return [f".. autoclass:: {path}", "   :members:", "   :no-undoc-members:", ""]
    return [f".. {'autofunction' if callable(thing) else 'autodata'}:: {path}", ""]
