"""Argo's template tags and expressions, evaluated as the controller evaluates them."""

from lockgate.engine.expressions.evaluation import (
    RESULTS,
    continues,
    decide,
    decide_depends,
    decide_when,
    depends_logic,
    expand,
)
from lockgate.engine.expressions.kinds import check
from lockgate.engine.expressions.parser import ExpressionError, parse
from lockgate.engine.expressions.tags import ABSENT, TagError, Values, find_tags, reference, replace

__all__ = [
    "ABSENT",
    "RESULTS",
    "ExpressionError",
    "TagError",
    "Values",
    "check",
    "continues",
    "decide",
    "decide_depends",
    "decide_when",
    "depends_logic",
    "expand",
    "find_tags",
    "parse",
    "reference",
    "replace",
]
