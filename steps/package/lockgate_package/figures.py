"""Text of the figures in signed records, for the model card."""

from collections.abc import Mapping, Sequence


def figure(name: str, value: object) -> str:
    """Return a figure of a verdict as text; None means that it may not be shown, or is too small to judge."""
    match value:
        case None:
            return "not shown"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value * 100:.1f} %" if name.endswith("rate") or name == "accuracy" else f"{value:g}"
        case _:
            return text(value)


def text(value: object) -> str:
    """Return a value of a record as text."""
    match value:
        case Mapping():
            return ", ".join(f"{words(str(key))}: {text(each)}" for key, each in value.items())
        case str():
            return value
        case Sequence():
            return ", ".join(text(each) for each in value) or "none"
        case None:
            return "none"
        case _:
            return figure("", value)


def words(name: str) -> str:
    """Return a name of a record as words."""
    return name.replace("_", " ")
