"""A policy is read strictly, and every rule and every fault names its line."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lockgate_policy import (
    AtLeast,
    AtMost,
    BiasRule,
    CanaryRule,
    Interval,
    NoWorseThanLive,
    PolicyError,
    QualityRule,
    ReportedOnly,
    Settings,
    SmokeRule,
    check,
    read,
)

FLOOR = '[[quality]]\nmeasure = "accuracy"\nat_least = 0.8\nwhy = "It must be of use."\n'
WHOLE = """\
# What every model of this programme must keep.
[[quality]]
measure  = "accuracy"
at_least = 0.84
why      = "As good as today's form."

[[quality]]
measure = "accuracy"
no_worse_than_live_by = 0.01
why     = '''Users must not be served worse.
[[bias]] is another matter.
at_most = 1
'''

[[bias]]
between = [
  "sex",   # one
  "race",
]
measure = "selection_rate_difference"
at_most = 0.15
why     = "Men and women must be selected at rates the programme can defend."

[[bias]]
between = ["race"]
measure = "selection_rate_ratio"
reported_only = true
why     = "Too few rows."

[[unaudited]]
column = "marital_status"
why    = "Not used."

[[smoke]]
measure = "p99_ms"
at_most = 250
why     = "Officers wait."

[[canary]]
measure = "error_rate"
no_worse_than_live_by = 0.005
why     = "Users must not be served worse."

[[canary]]
measure = "error_rate"
at_most = 0.02
why     = "Whatever live does."

[settings]
resamples = 500
"""


def test_a_whole_policy() -> None:
    policy = read(WHOLE.encode())
    rules: list[QualityRule | BiasRule | SmokeRule | CanaryRule] = [
        *(*policy.quality, *policy.bias),
        *(*policy.smoke, *policy.canary),
    ]
    found = [(rule.key, rule.limit, rule.source) for rule in rules]
    assert found == [
        ("quality:accuracy:at_least", AtLeast(0.84), "policy.toml:4"),
        ("quality:accuracy:no_worse_than_live", NoWorseThanLive(0.01), "policy.toml:9"),
        ("bias:sex+race:selection_rate_difference", AtMost(0.15), "policy.toml:21"),
        ("bias:race:selection_rate_ratio", ReportedOnly(), "policy.toml:27"),
        ("smoke:p99_ms", AtMost(250.0), "policy.toml:36"),
        ("canary:error_rate:no_worse_than_live", NoWorseThanLive(0.005), "policy.toml:41"),
        ("canary:error_rate:at_most", AtMost(0.02), "policy.toml:46"),
    ]
    assert policy.settings == Settings(confidence=0.95, minimum_support=30, resamples=500)
    assert [(entry.column, entry.source) for entry in policy.unaudited] == [("marital_status", "policy.toml:31")]
    assert policy.quality[0].why == "As good as today's form."


def test_a_path_reads_like_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "anything"
    path.write_text(WHOLE)
    assert read(path) == read(WHOLE.encode())


@pytest.mark.parametrize(
    ("text", "where", "problem", "fix"),
    [
        ("", "policy.toml", "no [[quality]] rule has at_least or at_most", "add one"),
        ("x = \n", "policy.toml:1", "not valid TOML: Invalid value", "correct that line"),
        (FLOOR.replace("0.8", "0,8"), "policy.toml:3", "not valid TOML: Expected newline", "correct that line"),
        (FLOOR.replace("use.", 'use."""')[:-2] + "\n\n", "policy.toml:4", "not valid TOML", "or the one before it"),
        (FLOOR + 'x = """\n\n\n', "policy.toml:5", "not valid TOML: Unterminated string", "or the one before it"),
        ("[[rules]]\n", "policy.toml:1", "unknown table `rules`", "use one of: quality"),
        ("[[qualty]]\n", "policy.toml:1", "unknown table `qualty`", "did you mean `quality`?"),
        ("[quality]\n", "policy.toml:1", "wrong shape", "[[quality]]"),
        ("[[settings]]\n", "policy.toml:1", "wrong shape", "[settings]"),
        (FLOOR.replace("at_least", "atleast"), "policy.toml:3", "`atleast` is not a setting", "`at_least`"),
        (FLOOR.replace("0.8", '"0.8"'), "policy.toml:3", "not a number", "above 0, up to 1"),
        (FLOOR.replace("0.8", "true"), "policy.toml:3", "not a number", "above 0, up to 1"),
        (FLOOR.replace("0.8", "nan"), "policy.toml:3", "not a number", "above 0, up to 1"),
        (FLOOR.replace("0.8", "84"), "policy.toml:3", "= 84 is out of range", "above 0, up to 1"),
        (FLOOR.replace("0.8", "0"), "policy.toml:3", "out of range", "above 0, up to 1"),
        (FLOOR.replace("at_least = 0.8\n", ""), "policy.toml:1", "sets no limit", "at_least"),
        (FLOOR + "at_most = 0.9\n", "policy.toml:5", "more than one limit", "set one of: at_least"),
        (FLOOR.replace("at_least", "at_most"), "policy.toml:3", "`accuracy` cannot have `at_most`", "at_least"),
        (FLOOR.replace("accuracy", "brier"), "policy.toml:3", "`brier` cannot have `at_least`", "at_most"),
        (
            FLOOR.replace("accuracy", "acuracy"),
            "policy.toml:2",
            "`acuracy` is not a measure",
            "did you mean `accuracy`?",
        ),
        (FLOOR.replace('why = "It must be of use."', ""), "policy.toml:1", "has no `why`", "state the reason"),
        (FLOOR.replace("It must be of use.", " "), "policy.toml:4", "`why` is empty or not", "state the reason"),
        (FLOOR + FLOOR, "policy.toml:5", "`quality:accuracy:at_least` is already set", "keep one"),
        (FLOOR + "[settings]\nconfidence = 95\n", "policy.toml:6", "= 95 is out of range", "0.8 to 0.999"),
        (FLOOR + "[settings]\nminimum_support = 5\n", "policy.toml:6", "out of range", "10 to 100,000"),
        (FLOOR + "[settings]\nresamples = 500.5\n", "policy.toml:6", "not a whole number", "200"),
        (FLOOR.replace("0.8", "9" * 400), "policy.toml:3", "too large", "above 0, up to 1"),
        (FLOOR.replace("0.8", "9" * 5000), "policy.toml", "a number is too long", "correct it"),
        (FLOOR.replace("0.8", "[" * 5000), "policy.toml", "nested too deeply", "correct it"),
        (
            FLOOR.replace("It must", '""It\n' + 4000 * "\n").replace('use."', 'use."""'),
            "policy.toml:4",
            "100 lines",
            "",
        ),
        (FLOOR + "#" * 300_000, "policy.toml", "larger than 262,144 bytes", "shorten"),
        (FLOOR + "[settings]\nseed = 5\n", "policy.toml:6", "`seed` is not a setting", "confidence"),
    ],
)
def test_every_fault_names_its_place_and_the_next_action(text: str, where: str, problem: str, fix: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read(text.encode())
    assert (caught.value.where, problem in caught.value.problem, fix in caught.value.fix) == (where, True, True), str(
        caught.value
    )


BIAS = FLOOR + '[[bias]]\nbetween = ["sex"]\nmeasure = "selection_rate_difference"\nat_most = 0.15\nwhy = "x"\n'


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ('["sex"]', '"sex"', 6, "has no list of columns"),
        ('["sex"]', "[]", 6, "has no list of columns"),
        ('["sex"]', '["sex", "sex"]', 6, "names a column twice"),
        ("at_most = 0.15", "at_most = 1", 8, "out of range"),
        ("at_most = 0.15", "at_most = -0.1", 8, "out of range"),
        ("at_most = 0.15", "at_least = 0.15", 8, "cannot have `at_least`"),
        ("at_most = 0.15", "reported_only = false", 8, "can only be true"),
        ("at_most = 0.15", "reported_only = true\nat_most = 0.15", 9, "more than one limit"),
        ("selection_rate_difference", "selection_rate_ratio", 8, "cannot have `at_most`"),
    ],
)
def test_faults_of_a_bias_rule(old: str, new: str, line: int, problem: str) -> None:
    with pytest.raises(PolicyError, match=r"policy.toml") as caught:
        read(BIAS.replace(old, new).encode())
    assert caught.value.where == f"policy.toml:{line}"
    assert problem in caught.value.problem


CANARY = FLOOR + '[[canary]]\nmeasure = "error_rate"\nno_worse_than_live_by = 0.01\nwhy = "x"\n'


@pytest.mark.parametrize(
    ("measure", "limit", "found"),
    [
        ("error_rate", "at_most = 0.02", AtMost(0.02)),
        ("error_rate", "no_worse_than_live_by = 0.5", NoWorseThanLive(0.5)),
        ("refused_inputs_rate", "no_worse_than_live_by = 0.02", NoWorseThanLive(0.02)),
        ("p99_ms", "at_most = 250", AtMost(250)),
        ("p99_ms", "no_worse_than_live_by = 25", NoWorseThanLive(25)),
        ("answer_shift", "at_most = 0.05", AtMost(0.05)),
        ("disagreement_rate", "at_most = 0.02", AtMost(0.02)),
    ],
)
def test_each_canary_rule(measure: str, limit: str, found: AtMost | NoWorseThanLive) -> None:
    text = CANARY.replace("error_rate", measure).replace("no_worse_than_live_by = 0.01", limit)
    (rule,) = read(text.encode()).canary
    assert (rule.measure, rule.limit, rule.why, rule.source) == (measure, found, "x", "policy.toml:7")
    assert rule.key == f"canary:{measure}:{found.asks}"


@pytest.mark.parametrize(
    ("old", "new", "line", "problem", "fix"),
    [
        ("error_rate", "errors", 6, "`errors` is not a measure of [[canary]]", "error_rate"),
        ("by = 0.01", "by = 0", 7, "out of range", "above 0, up to 0.5"),
        ("by = 0.01", "by = 0.6", 7, "out of range", "above 0, up to 0.5"),
        ("by = 0.01", 'by = "1 %"', 7, "not a number", "above 0, up to 0.5"),
        ("no_worse_than_live_by = 0.01", "at_most = 0", 7, "out of range", "above 0 and below 1"),
        ("no_worse_than_live_by = 0.01", "at_most = 1", 7, "out of range", "above 0 and below 1"),
        ("no_worse_than_live_by = 0.01", "at_least = 0.1", 7, "cannot have `at_least`", "at_most, no_worse"),
        ("no_worse_than_live_by = 0.01", "reported_only = true", 7, "is not a setting of [[canary]]", "at_most"),
        ("no_worse_than_live_by = 0.01\n", "", 5, "[[canary]] sets no limit", "at_most, no_worse_than_live_by"),
        ("by = 0.01", "by = 0.01\nat_most = 0.1", 8, "more than one limit", "at_most, no_worse_than_live_by"),
        ("error_rate", "answer_shift", 7, "cannot have `no_worse_than_live_by`", "set one of: at_most"),
        ("error_rate", "disagreement_rate", 7, "cannot have `no_worse_than_live_by`", "set one of: at_most"),
        ("error_rate", "p99_ms", 7, "= 0.01 is out of range", "milliseconds from 1 to 600,000"),
        ('why = "x"\n', "", 5, "has no `why`", "state the reason"),
        ("[[canary]]", "[canary]", 5, "wrong shape", "[[canary]]"),
    ],
)
def test_faults_of_a_canary_rule(old: str, new: str, line: int, problem: str, fix: str) -> None:
    # Only in the canary rule: the rule before it has a `why` too.
    text = FLOOR + CANARY.removeprefix(FLOOR).replace(old, new)
    with pytest.raises(PolicyError) as caught:
        read(text.encode())
    assert caught.value.where == f"policy.toml:{line}"
    assert problem in caught.value.problem
    assert fix in caught.value.fix


def test_two_canary_rules_with_one_limit_are_refused() -> None:
    with pytest.raises(PolicyError, match="`canary:error_rate:no_worse_than_live` is already set above"):
        read((CANARY + CANARY.removeprefix(FLOOR)).encode())


def test_not_utf8() -> None:
    with pytest.raises(PolicyError, match="not valid UTF-8"):
        read(b"# caf\xe9\n")


def test_the_sensitive_columns_and_the_policy_account_for_each_other() -> None:
    policy = read((BIAS + '[[unaudited]]\ncolumn = "marital"\nwhy = "Not used."\n').encode())
    check(policy, ["sex", "marital"])
    with pytest.raises(PolicyError, match=r"sensitive column `race` has neither a rule nor an \[\[unaudited\]\]"):
        check(policy, ["sex", "marital", "race"])
    with pytest.raises(
        PolicyError, match=r"policy.toml:8: `sex` is not a sensitive column of this model; did you mean"
    ):
        check(policy, ["sexe", "marital"])
    with pytest.raises(PolicyError, match=r"policy.toml:11: `marital` is not a sensitive column"):
        check(policy, ["sex"])
    both = read((BIAS + '[[unaudited]]\ncolumn = "sex"\nwhy = "Not used."\n').encode())
    with pytest.raises(PolicyError, match=r"`sex` is \[\[unaudited\]\] here, but has a rule at policy.toml:8"):
        check(both, ["sex"])


FILLERS = st.lists(st.sampled_from(["", "# [[bias]]", "   ", "# at_most = 3", "\t"]), max_size=4)
NOTES = st.sampled_from(
    ['"""a\n[[quality]]\nat_least = 9\n"""', "'''\n[[\n'''", '"plain"', '"[[bias]] \\" at_most = 2"']
)
MEASURES = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc")


@given(st.lists(st.tuples(FILLERS, FILLERS, NOTES), min_size=1, max_size=len(MEASURES)), st.booleans())
def test_a_rule_is_found_on_its_line_whatever_stands_around_it(
    rules: list[tuple[list[str], list[str], str]], windows: bool
) -> None:
    lines: list[str] = []
    wanted = []
    for measure, (before, between, why) in zip(MEASURES, rules, strict=False):
        lines += [*before, "[[quality]]  # [[bias]]", f'measure = "{measure}"', *f"why = {why}".split("\n"), *between]
        lines.append("at_least = 0.5 # at_least = 0.7")
        wanted.append(f"policy.toml:{len(lines)}")
    policy = read(("\r\n" if windows else "\n").join(lines).encode())
    assert [rule.source for rule in policy.quality] == wanted


INTERVALS = st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(sorted).map(lambda v: Interval(v[1], v[0], v[2]))


@given(INTERVALS, st.floats(-1, 1))
def test_a_limit_judges_the_whole_interval(measured: Interval, bound: float) -> None:
    ceiling = AtMost(bound).judge(measured)
    assert (ceiling == "within") == (measured.high <= bound)
    assert (ceiling == "beyond") == (measured.low > bound)
    mirrored = Interval(-measured.value, -measured.high, -measured.low)
    assert AtLeast(-bound).judge(mirrored) == ceiling
    assert NoWorseThanLive(bound).judge(mirrored) == AtLeast(-bound).judge(mirrored)


OPERATOR = '[[accepted_operator]]\noperator = "{}"\n{}'


@pytest.mark.parametrize("name", ["Scan", "com.microsoft.CDist", "ai.onnx.ml.ZipMap"])
def test_an_operator_is_accepted_by_name_with_a_reason(name: str) -> None:
    (entry,) = read((FLOOR + OPERATOR.format(name, 'why = "Twelve months."')).encode()).operators
    assert (entry.operator, entry.why, entry.source) == (name, "Twelve months.", "policy.toml:6")


@pytest.mark.parametrize(
    ("name", "rest", "said"),
    [
        ("Scan", "", r"policy.toml:5: \[\[accepted_operator\]\] has no `why`"),
        ("*", 'why = "All."', "policy.toml:6: `\\*` is not the name of an ONNX operator"),
        ("Scan", 'why = "x"\nuntil = 1', "`until` is not a setting of"),
    ],
)
def test_an_operator_is_not_accepted_in_silence(name: str, rest: str, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        read((FLOOR + OPERATOR.format(name, rest)).encode())


LIMITED = '[[bias]]\nbetween = ["sex", "race"]\nmeasure = "selection_rate_difference"\nat_most = 0.2\nwhy = "Fair."\n'
DAY = datetime.now(UTC).date() + timedelta(days=30)
ACCEPTED = '[[accepted_small_group]]\ncolumn = "sex+race"\nvalue = "Female & Other"\nwhy = "New."\n'


def test_an_accepted_small_group_is_read_with_its_line() -> None:
    policy = read((FLOOR + LIMITED + ACCEPTED + f"until = {DAY}\n").encode())
    (entry,) = policy.accepted
    assert (entry.column, entry.value, entry.until, entry.source) == (
        "sex+race",
        "Female & Other",
        DAY,
        "policy.toml:12",
    )
    assert entry.covers(("sex", "race"), "Female & Other")
    assert not entry.covers(("race", "sex"), "Female & Other")
    check(policy, ["sex", "race"])
    read((FLOOR + LIMITED + ACCEPTED + "until = 2001-01-01\n").encode())  # ended: the gate ignores it


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("", "policy.toml:10: [[accepted_small_group]] has no `until`"),
        ('until = "2027-01-01"', "policy.toml:14: `until` is not a date"),
        ("until = 2027-01-01T00:00:00Z", "policy.toml:14: `until` is not a date"),
        ("until = true", "policy.toml:14: `until` is not a date"),
        ("until = 9999-12-31", "policy.toml:14: `until` = 9999-12-31 is not within the next five years"),
        (f"until = {DAY}\nuntill = 1", "policy.toml:15: `untill` is not a setting of [[accepted_small_group]]"),
        (f"until = {DAY}\n{ACCEPTED}until = {DAY}", "`Female & Other` of `sex+race` is already accepted above"),
    ],
)
def test_an_acceptance_is_read_strictly(until: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read((FLOOR + LIMITED + ACCEPTED + until + "\n").encode())
    assert said in str(caught.value)


@pytest.mark.parametrize("column", ["sex", "race+sex", "region"])
def test_an_acceptance_names_the_columns_of_a_rule_with_a_limit(column: str) -> None:
    policy = read((FLOOR + LIMITED + ACCEPTED.replace("sex+race", column) + f"until = {DAY}\n").encode())
    with pytest.raises(PolicyError, match=f"policy.toml:12: no .* rule on `{re.escape(column)}` has a limit"):
        check(policy, ["sex", "race"])
