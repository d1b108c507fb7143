"""A measure that a gate judged, in words: its name, its value, its interval and its limit."""

from lockgate_proof import CANARY
from lockgate_report import say
from lockgate_step import ABTest, Shadow

from lockgate.records.evidence import Figure
from lockgate.records.rollout import RolloutNow
from lockgate.report.lines import duration, short

_STANDINGS = {"within": "within", "beyond": "beyond", "undecided": "not decided yet"}


def name_of(figure: Figure) -> str:
    """The measure of a rule."""
    if figure.rule == "data:expectations":
        return say("run.data.name")
    if figure.rule == "smoke:golden":
        return say("run.golden")
    kind, subject, *rest = figure.rule.split(":")
    if kind == "bias":
        return say("bias.between", measure=say(f"bias.measure.{rest[0]}"), columns=subject.replace("+", " and "))
    name = say(f"{kind}.measure.{subject}")
    return say("quality.gain", measure=name) if rest == ["no_worse_than_live"] else name


def value_of(figure: Figure) -> str:
    """The measured value; without one that may be shown, the reason if there is an interval, else a dash."""
    said = figure.said
    if figure.rule == "data:expectations":
        return say("run.data.met", **said)
    if figure.rule == "smoke:golden":
        return say("run.golden.right", right=said["rows"] - said["wrong"], rows=said["rows"])
    if said.get("value") is None:
        return say("value.hidden") if interval_of(figure) else "–"
    return _number(figure, "value", 3)


def interval_of(figure: Figure) -> str:
    """The interval of the value; empty if it has none."""
    said = figure.said
    if said.get("low") is None or said.get("high") is None:
        return ""
    places = 2 if said.get("value") is None else 3  # the value would reveal a small count
    return say("interval", low=_number(figure, "low", places), high=_number(figure, "high", places))


def limit_of(figure: Figure) -> str:
    """The limit of the rule."""
    said = figure.said
    if figure.rule == "data:expectations":
        return say("run.data.limit", **said)
    if figure.rule == "smoke:golden":
        return say("run.golden.limit")
    return say(f"limit.{said['asks']}", value=f"{said['limit']:g}" if said.get("limit") is not None else "")


def rollout_lines(now: RolloutNow) -> list[str]:
    """A rollout in progress: the share, its time, the requests so far, and each rule with its interval."""
    traffic, figures = now.traffic, now.figures or {}
    of = "callers" if isinstance(traffic.rollout, ABTest) else "requests"
    copied = " as copies" if isinstance(traffic.rollout, Shadow) else ""
    shares = [each for each in figures.get("shares", ()) if each["share"] == traffic.share]
    held = f" for {duration(shares[0]['seconds'])} of {traffic.rollout.hold}" if shares else ""
    lines = [f"  {short(traffic.bundle)} has {traffic.share} % of the {of}{copied}{held} (run {traffic.run})"]
    if shares:
        counted = figures["requests"], sum(each["requests_of_live"] for each in figures["shares"])
        lines.append("    {:,} requests reached it so far, {:,} reached live".format(*counted))
    for rule, said in figures.get("rules", {}).items():
        figure = Figure(CANARY, rule, said)
        measured = f"{value_of(figure)} ({interval_of(figure)})" if interval_of(figure) else "not measured yet"
        lines.append(f"    {name_of(figure)}: {measured}; {limit_of(figure)}: {_STANDINGS[said['standing']]}")
    return lines


def _number(figure: Figure, name: str, places: int) -> str:
    sign = "+" if figure.said["asks"] == "no_worse_than_live" else ""
    return f"{figure.said[name]:{sign}.{places}f}"
