"""The first page of a run: how it ended, what was judged against which limit, and what that means for users."""

from collections.abc import Iterator, Mapping, Sequence

from lockgate_proof import CANARY
from lockgate_report import (
    Html,
    Tone,
    banner,
    el,
    excepted,
    facts,
    finding,
    join,
    page,
    pill,
    say,
    section,
    sentence,
    table,
)

from lockgate.records.evidence import Evidence, Figure, moment
from lockgate.records.runs import UNREACHED, Step
from lockgate.report.figures import interval_of, limit_of, name_of, value_of
from lockgate.report.lines import SUBJECTS, again, duration, exit_code, failure_message, open_lines, rule_place, short

OWN = "own-"  # begins the name of a page that a model's own step wrote
TONES: dict[str, Tone] = {
    "done": "good",
    "passed": "good",
    "passed by waiver": "unsure",
    "inconclusive": "unsure",
    "not judged": "unsure",
    "not reached": "plain",
}
STANDINGS: dict[str, Tone] = {
    "within": "good",
    "beyond": "bad",
    "undecided": "unsure",
    "too few": "unsure",
    "left out": "unsure",
}


def index(evidence: Evidence, pages: Mapping[str, Step], withheld: Sequence[str] = ()) -> str:
    """The first page; pages: the name of each other page -> the step that wrote it. withheld: why one is not shown."""
    record, about = evidence.record, evidence.record.about
    body = join(
        [
            _banner(evidence),
            _withheld(withheld) if withheld else None,
            el("p", evidence.description, class_="lead") if evidence.description else None,
            facts(_facts(evidence)),
            section(say("run.judged"), *_judged(evidence, pages)),
            section(say("run.next"), _next(evidence)) if record.refused else None,
            section(say("run.steps"), _steps(evidence, pages)),
            section(say("exactly"), el("p", say("exactly.lead"), class_="soft"), facts(_digests(evidence))),
        ]
    )
    return page(f"{about.model}: run {record.id}", body, about=f"{about.workflow} · {about.model} · run {record.id}")


def _banner(evidence: Evidence) -> Html:
    """How the run ended, with the finding: a reader of this page alone must not think that everything passed."""
    record = evidence.record
    if exit_code(record) == 0:
        if unproven := [*evidence.unproven, *evidence.without_verdict]:
            return banner("unsure", say("run.released"), say("run.released.unproven", gates=", ".join(unproven)))
        beside = [el("p", el("strong", sentence(line.strip()))) for line in open_lines(record)]
        if not record.waived:
            model, gates = record.about.model, ", ".join(SUBJECTS.get(s.name, s.name) for s in record.unjudged)
            headline = say("run.passed.unjudged", model=model, gates=gates) if gates else say("run.passed", model=model)
            return banner("unsure" if beside else "good", say("run.released"), headline, *beside)
        headline, *more = [reason["message"] for reason in record.waived]
        blocks = [
            finding(reason["lines"], why=reason["why"], excepted=excepted(reason["waiver"]), title=title)
            for reason, title in zip(record.waived, ["", *more], strict=True)
        ]
        return banner("unsure", say("run.waived"), sentence(headline), *blocks, *beside)
    refusing = [(step, r) for step in record.refused for r in (step.verdict or {})["reasons"] if not r["waived_by"]]
    if not refusing:
        failed = record.failed[:1]
        ended = say("run.under_way" if record.run.alive else "run.ended")
        headline = f"{failed[0].name}: {failure_message(failed[0])}" if failed else ended
        tone: Tone = "bad" if exit_code(record) == 3 else "unsure"
        return banner(tone, say("run.refused") if tone == "bad" else record.phase, headline)
    step, first = refusing[0]
    result = (step.verdict or {})["result"]
    blocks = [
        finding(r["lines"], why=r["why"], title="" if r is first else f"{s.name}: {r['message']}") for s, r in refusing
    ]
    blocks += [el("p", sentence(note)) for note in evidence.unused]
    word = say(f"run.{result}.by", gate=step.name)
    return banner("bad" if result == "refused" else "unsure", word, sentence(first["message"]), *blocks)


def _withheld(lines: Sequence[str]) -> Html:
    lead = el("p", say("run.withheld"), class_="verdict")
    return el("div", lead, *(el("p", line) for line in lines), class_="banner bad")


def _facts(evidence: Evidence) -> dict[str, str]:
    record, subjects = evidence.record, evidence.subjects
    data = evidence.data
    rows = say("run.data.rows", **{k: f"{v:,}" for k, v in data["rows"].items()}) if data else ""
    source = str(data.get("uri", "")).removeprefix("file:")
    signers = ["; ".join(_signer(*each) for each in evidence.signers.items())] if evidence.signers else []
    signers += [say("run.unproven", steps=", ".join(evidence.unproven))] if evidence.unproven else []
    signers += [say("run.untrusted")] if evidence.trust.untrusted_elsewhere and evidence.signers else []
    return {
        say("run.users"): _users(evidence),
        say("run.when"): join([moment(record.started), f", {duration(record.seconds)}" if record.seconds else ""]),
        say("run.run"): record.id,
        say("run.model"): record.about.model,
        say("run.workflow"): record.about.workflow,
        say("run.bundle"): _digest(subjects["bundle"]) if "bundle" in subjects else say("run.bundle.none"),
        say("run.data"): join([f"{source}, {rows}, ", _digest(subjects["data"])]) if data else say("run.data.none"),
        say("run.signed"): join(el("div", line) for line in signers) or say("run.unproven.nobody"),
    }


def _signer(owner: str, steps: list[str]) -> str:
    """The owner of a key, with its steps unless the name has them: a machine has one key for each step."""
    return owner if all(step in owner for step in steps) else say("run.signer", owner=owner, steps=", ".join(steps))


def _users(evidence: Evidence) -> Html:
    """Which version answered users before this run, and which does now."""
    live, before, mine = evidence.live, evidence.record.about.before, evidence.subjects.get("bundle")
    now = (
        [_digest(live["bundle"]), f" {say('run.users.since', at=moment(live['at']))}"] if live else [say("run.nothing")]
    )
    was = _digest(before["bundle"]) if before else say("run.nothing")
    if evidence.record.phase == "Succeeded":
        word = "run.users.get" if live and live["bundle"] == mine else "run.users.got"
        got = [say("run.users.got.mine"), " ", _digest(mine), "; "] if word == "run.users.got" and mine else []
        return join([*got, say(word), " ", *now, "; ", say("run.users.before"), " ", was])
    if evidence.record.run.alive:
        return join([say("run.users.get"), " ", *now])
    unchanged = (live or {}).get("bundle") == (before or {}).get("bundle")
    return join([say("run.users.still" if unchanged else "run.users.later"), " ", *now])


def _judged(evidence: Evidence, pages: Mapping[str, Step]) -> Iterator[Html]:
    """Each figure with its limit; then what has no limit, what was not judged, and what was excepted."""
    head = [say(f"head.{key}") for key in ("measure", "result", "measured", "limit", "gate")]
    links = {
        step.name: el("a", step.name, href=name, class_="nowrap")
        for name, step in pages.items()
        if name == f"{step.name}.html"
    }
    rows = [[*_figure(each), links.get(each.gate, el("span", each.gate, class_="nowrap"))] for each in evidence.judged]
    if rows:
        yield table(say("run.judged.caption"), head, rows)
    for step in evidence.record.unjudged:
        why = "run.unjudged.first" if step.name == CANARY else "run.unjudged.none"
        yield el("p", el("strong", say(why, gate=step.name)))
    if evidence.left_out:
        yield el("p", el("strong", say("run.left", groups="; ".join(evidence.left_out))))
    if evidence.reported:
        key = "run.reported.one" if len(evidence.reported) == 1 else "run.reported"
        lead = say(key, count=len(evidence.reported))
        yield el("p", lead, " ", links.get("bias-audit", "bias-audit"), ":")
        yield el("ul", *(el("li", f"{name_of(each)}: ", *_measured(each)) for each in evidence.reported))
    if evidence.unaudited:
        yield el("p", say("run.unaudited", columns=", ".join(evidence.unaudited)))
    if evidence.without_verdict and not evidence.record.run.alive:
        yield el("p", say("run.unjudged", gates=", ".join(evidence.without_verdict)))
    used = [el("li", f"{each['id']}: ", excepted(each["waiver"])) for each in evidence.record.waived if each["waiver"]]
    yield join([el("p", say("run.waivers.used")), el("ul", *used)]) if used else el("p", say("run.waivers.none"))


def _figure(figure: Figure) -> list[str]:
    said, tone = figure.said, STANDINGS.get(figure.said["standing"], "plain")
    standing: list[Html | None] = [pill(tone, say(f"standing.{said['standing']}"))]
    if figure.waiver:
        standing = [
            pill("unsure", say("run.excepted")),
            _small(say("run.excepted.until", at=figure.waiver["expires"][:10], by=figure.waiver["approver"])),
        ]
    source = el("div", said["source"], class_="soft small mono") if "source" in said else None
    return [name_of(figure), join(standing), join(_measured(figure)), join([limit_of(figure), source])]


def _measured(figure: Figure) -> list[str | None]:
    """The value, if it may be shown, and its interval, if it has one."""
    interval = interval_of(figure)
    return [value_of(figure), el("div", interval, class_="soft small nowrap") if interval else None]


def _next(evidence: Evidence) -> Html:
    record, waiting = evidence.record, [r for s in evidence.record.refused for r in (s.verdict or {})["reasons"]]
    waive = [
        f"lockgate waive {record.id} {reason['id']} {evidence.options}".rstrip()
        for reason in waiting
        if not reason["waived_by"]
    ]
    open_ = any((step.verdict or {})["result"] == "inconclusive" for step in record.refused)
    more = again(record, evidence.options, {**record.about.given, "data": "FILE"})
    return el(
        "ul",
        el("li", say("run.next.rows"), " ", el("code", more)) if open_ else None,
        el("li", say("run.next.model"), " ", el("code", again(record, evidence.options))),
        *(el("li", say("run.next.rule", place=place)) for place in dict.fromkeys(map(rule_place, record.refused))),
        el("li", say("run.next.waive"), join(el("div", el("code", command)) for command in waive)),
    )


def _steps(evidence: Evidence, pages: Mapping[str, Step]) -> Html:
    rows = []
    for step in evidence.record.steps:
        links = [el("a", _word(name), href=name) for name, each in pages.items() if each is step]
        notes = [reason["message"] for reason in (step.verdict or {"reasons": []})["reasons"]]
        notes += [failure_message(step)] if step in evidence.record.failed else []
        rows.append(
            [
                step.name,
                duration(step.seconds) if step.phase not in UNREACHED else "",
                pill(TONES.get(step.outcome, "bad"), step.outcome),
                " ".join(notes),
                join(links),
            ]
        )
    head = [say(f"head.{key}") for key in ("step", "time", "result", "finding", "page")]
    return table(say("run.steps.caption"), head, rows, numbers=(1,))


def _word(name: str) -> str:
    """What a page is, in the table of the steps."""
    return say("run.own.page") if name.startswith(OWN) else "model card" if name.endswith("-card.html") else "report"


def _digests(evidence: Evidence) -> dict[str, str]:
    signed = {say("run.record", step=name): statement.digest for name, statement in evidence.statements.items()}
    return {**evidence.subjects, **signed}


def _digest(digest: str) -> Html:
    """A short digest; the whole one is in its title, and at the end of the page."""
    return el("span", short(digest), title=digest, class_="mono")


def _small(text: str) -> Html | None:
    return el("div", text, class_="soft small") if text else None
