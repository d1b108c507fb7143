"""The rules of the gates: `policy.toml`, read strictly; each rule keeps its line and its reason.

- `read(path)` returns a `Policy`; every fault is a `PolicyError` with the line and the next action.
- `read_given(path)` does the same for a program: every fault is an invalid call.
- `check(policy, sensitive)` requires a rule for every sensitive column, or a reason for having none.
- `rule.limit.judge(interval)` judges an interval, never a point estimate.
- `chance_to_pass(group_sizes, rate, limit, measure)` states how often a fair model would pass a rule.
"""

from lockgate_policy._gaps import Gap, certain_gap
from lockgate_policy._given import read_given
from lockgate_policy._power import LIKELY, chance_to_pass, limit_to_decide, rows_to_decide
from lockgate_policy._read import check, read
from lockgate_policy._rules import (
    AcceptedOperator,
    AcceptedSmallGroup,
    AtLeast,
    AtMost,
    BiasRule,
    CanaryRule,
    Finding,
    Interval,
    NoWorseThanLive,
    Policy,
    PolicyError,
    QualityRule,
    ReportedOnly,
    Settings,
    SmokeRule,
    Unaudited,
    asked,
)

__all__ = [
    "LIKELY",
    "AcceptedOperator",
    "AcceptedSmallGroup",
    "AtLeast",
    "AtMost",
    "BiasRule",
    "CanaryRule",
    "Finding",
    "Gap",
    "Interval",
    "NoWorseThanLive",
    "Policy",
    "PolicyError",
    "QualityRule",
    "ReportedOnly",
    "Settings",
    "SmokeRule",
    "Unaudited",
    "asked",
    "certain_gap",
    "chance_to_pass",
    "check",
    "limit_to_decide",
    "read",
    "read_given",
    "rows_to_decide",
]
