"""Check a workflow before its first step."""

from lockgate.engine.checks.scope import reached_in
from lockgate.engine.checks.workflow_checks import verify

__all__ = ["reached_in", "verify"]
