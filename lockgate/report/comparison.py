"""Two runs side by side: settings, what they judged, each measure with its interval, verdicts."""

from collections.abc import Callable
from dataclasses import dataclass

from lockgate_report import Html, el, join, page, pill, say, section, table

from lockgate.records.evidence import Evidence, Figure, moment
from lockgate.records.runs import Step
from lockgate.report.figures import interval_of, limit_of, name_of, value_of
from lockgate.report.index import STANDINGS, TONES
from lockgate.report.lines import run_word, short

_SUBJECTS = ("data", "spec", "policy", "base", "model", "bundle")  # in the order in which a run gets them


@dataclass(frozen=True)
class Fact:
    """One thing that each run may have; None in a run that does not have it."""

    name: str
    values: tuple[str | None, str | None]

    @property
    def differs(self) -> bool:
        """Whether the runs differ in it."""
        return self.values[0] != self.values[1]


@dataclass(frozen=True)
class Comparison:
    """Two runs, of one model or of two."""

    sides: tuple[Evidence, Evidence]

    @property
    def ids(self) -> tuple[str, str]:
        """The ids of the runs."""
        return self.sides[0].record.id, self.sides[1].record.id

    @property
    def facts(self) -> list[Fact]:
        """What each run is, what it was given, and the digests of what it judged."""
        one, other = self.sides
        given = sorted({*one.record.about.given, *other.record.about.given})
        subjects = [name for name in _SUBJECTS if name in {*one.subjects, *other.subjects}]
        return [
            self._fact(say("run.model"), lambda side: side.record.about.model),
            self._fact(say("run.workflow"), lambda side: side.record.about.workflow),
            self._fact(say("run.when"), lambda side: moment(side.record.started)),
            self._fact(say("head.result"), lambda side: run_word(side.record)),
            *(Fact(f"--set {n}", (one.record.about.given.get(n), other.record.about.given.get(n))) for n in given),
            *(Fact(name, (one.subjects.get(name), other.subjects.get(name))) for name in subjects),
        ]

    @property
    def verdicts(self) -> list[Fact]:
        """The result of each gate."""
        gates = list(dict.fromkeys(step.name for side in self.sides for step in side.record.steps if step.gate))
        return [Fact(gate, (_outcome(self.sides[0], gate), _outcome(self.sides[1], gate))) for gate in gates]

    @property
    def figures(self) -> dict[str, tuple[Figure | None, Figure | None]]:
        """Each measure that a signed verdict of either run has, by its gate and rule."""
        one, other = ({f"{f.gate} {f.rule}": f for f in (*side.judged, *side.reported)} for side in self.sides)
        return {key: (one.get(key), other.get(key)) for key in dict.fromkeys((*one, *other))}

    @property
    def measures(self) -> list[Fact]:
        """The value, interval and outcome of each measure, as text."""
        return [Fact(_title(pair), (_measured(pair[0]), _measured(pair[1]))) for pair in self.figures.values()]

    def lines(self, width: int | None = None) -> list[str]:
        """Both runs as people read them; `*` marks what differs.

        width: of the terminal, if there is one; a wider table is shown as one line for each value.
        """
        facts = [*self.facts, *self.verdicts, *self.measures]
        rows = [["", "", *self.ids]]
        rows += [["*" if each.differs else "", each.name, *map(_brief, each.values)] for each in facts]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        if width is None or sum(widths) + 2 * (len(widths) - 1) <= width:
            padded = [[f"{text:<{size}}" for text, size in zip(row, widths, strict=True)] for row in rows]
            return ["  ".join(row).rstrip() for row in padded]
        return [line for row in rows[1:] for line in self._stacked(*row)]

    def _stacked(self, mark: str, name: str, one: str, other: str) -> list[str]:
        values = {"both": one} if one == other else dict(zip(self.ids, (one, other), strict=True))
        return [f"{mark:<1} {name}", *(f"    {run:<6}  {value}" for run, value in values.items())]

    def html(self) -> str:
        """The page."""
        ids = list(self.ids)
        body = join(
            [
                el("p", say("compare.lead"), class_="lead"),
                section(say("compare.facts"), table(say("compare.facts.caption"), ["", *ids], _rows(self.facts))),
                section(say("compare.verdicts"), table(say("compare.verdicts.caption"), ["", *ids], self._results())),
                section(
                    say("run.judged"),
                    table(
                        say("compare.measures.caption"), [say("head.measure"), *ids, say("head.limit")], self._rows()
                    ),
                ),
            ]
        )
        title = say("compare.title", one=ids[0], other=ids[1])
        return page(title, body, about=title)

    def _fact(self, name: str, value: Callable[[Evidence], str | None]) -> Fact:
        return Fact(name, (value(self.sides[0]), value(self.sides[1])))

    def _results(self) -> list[list[str]]:
        return [
            [
                _marked(fact.name, fact.differs),
                *(pill(TONES.get(value, "bad"), value) if value else "–" for value in fact.values),
            ]
            for fact in self.verdicts
        ]

    def _rows(self) -> list[list[str]]:
        found = []
        for pair in self.figures.values():
            limits = list(dict.fromkeys(limit_of(each) for each in pair if each))
            differs = _measured(pair[0]) != _measured(pair[1])
            found.append([_marked(_title(pair), differs), *map(_cell, pair), " / ".join(limits)])
        return found


def _outcome(side: Evidence, gate: str) -> str | None:
    step = next((each for each in side.record.steps if each.name == gate), None)
    return _proven(side, step) if step else None


def _proven(side: Evidence, step: Step) -> str:
    """The outcome of a gate; said so if it has ended without a verdict that a trusted key signed."""
    ended = step.phase in ("Succeeded", "Failed")
    return f"{step.outcome} ({say('compare.unproven')})" if ended and step.name not in side.statements else step.outcome


def _title(pair: tuple[Figure | None, Figure | None]) -> str:
    (figure, *_) = [each for each in pair if each]
    return name_of(figure)


def _measured(figure: Figure | None) -> str | None:
    if figure is None:
        return None
    interval = interval_of(figure)
    return f"{value_of(figure)}{f' ({interval})' if interval else ''}, {_standing(figure)}"


def _standing(figure: Figure) -> str:
    return say("run.excepted") if figure.waiver else say(f"standing.{figure.said['standing']}")


def _cell(figure: Figure | None) -> Html:
    if figure is None:
        return el("span", "–")
    tone = "unsure" if figure.waiver else STANDINGS.get(figure.said["standing"], "plain")
    interval = interval_of(figure)
    return join(
        [
            el("div", value_of(figure)),
            el("div", interval, class_="soft small nowrap") if interval else None,
            pill(tone, _standing(figure)),
        ]
    )


def _rows(facts: list[Fact]) -> list[list[str]]:
    return [[_marked(fact.name, fact.differs), *(_whole(value) for value in fact.values)] for fact in facts]


def _marked(name: str, differs: bool) -> Html:
    return join([name, el("div", say("compare.differs"), class_="soft small") if differs else None])


def _whole(value: str | None) -> str:
    """A value for the page: a digest is short, and whole in its title."""
    if value and value.startswith("sha256:"):
        return el("span", short(value), title=value, class_="mono")
    return value or "–"


def _brief(value: str | None) -> str:
    """A value for the terminal."""
    if value is None:
        return "–"
    return short(value) if value.startswith("sha256:") else value
