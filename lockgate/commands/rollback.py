"""`lockgate rollback`: bring back a version that was live before, on this machine or on a cluster."""

from lockgate.cluster.submit import Submission, order_of
from lockgate.cluster.workflows import Where
from lockgate.commands.result import Result
from lockgate.commands.run import Request, Session
from lockgate.commands.submit import submit_and_watch
from lockgate.definition.project import Project
from lockgate.report.tree import LiveTree

WORKFLOW = "rollback"


def rollback(project: Project, model: str, to: str, where: Where, *, quiet: bool = False) -> Result | Submission:
    """Run the workflow `rollback` to its end.

    to: `previous`, a generation, or the digest of a bundle.
    Errors: a LockgateError before the first step; later failures are in the result.
    """
    given = {} if to == "previous" else {"to": to}
    if not where.elsewhere:
        return Session(project, quiet=quiet).run(Request(model, WORKFLOW, given))
    order = order_of(project, model, WORKFLOW, given)
    with LiveTree(quiet=quiet) as tree:
        return submit_and_watch(project, order, where, tree)
