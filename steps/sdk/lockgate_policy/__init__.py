"""The rules of the gates: `policy.toml`, read strictly, each rule with the line it stands on and the reason it has.

- `read(path)` gives a `Policy`; every fault is a `PolicyError` that names the line and the next action.
- `check(policy, sensitive)` demands a rule for every sensitive column, or a stated reason for having none.
- `rule.limit.judge(interval)`: a verdict is given on an interval, never on a point.
"""

from lockgate_policy._read import check, read
from lockgate_policy._rules import (
    AtLeast,
    AtMost,
    BiasRule,
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
    "AtLeast",
    "AtMost",
    "BiasRule",
    "Finding",
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
    "check",
    "read",
]
