"""`lockgate submit`: create a workflow on a cluster, and with --watch show it until it ends."""

from lockgate.cluster.submit import Order, Submission
from lockgate.cluster.watch import live_on, watch
from lockgate.cluster.workflows import Argo, Where, reach
from lockgate.commands.cluster import OnCluster
from lockgate.commands.result import Result
from lockgate.definition.project import Project
from lockgate.report.tree import LiveTree


def submit(order: Order, where: Where) -> Submission:
    """Create a workflow on a cluster, or say what must be built first. Errors: BadCall, OutsideFailed."""
    if (refusal := order.refusal(where.namespace)) is not None:
        return refusal
    with reach(where) as argo:
        return _create(order, argo, where)


def submit_and_watch(project: Project, order: Order, where: Where, tree: LiveTree) -> Submission | Result:
    """The same, and show the run in the tree until it has ended. Errors: BadCall, OutsideFailed."""
    if (refusal := order.refusal(where.namespace)) is not None:
        return refusal
    tree.doing(f"submitting {order.template}")
    with OnCluster.reached(project, where) as cluster:
        argo = cluster.argo
        submission = _create(order, argo, where)
        before = live_on(argo, order.model)
        try:
            record = watch(argo, submission.workflow, tree, cluster.fetched)
        except KeyboardInterrupt:
            for line in (f"{submission.workflow} continues; it is no longer watched.", *submission.lines()[1:]):
                tree.note(line)
            raise
        return Result(record, before.pointer, live_on(argo, order.model), order.tunable, where.options)


def _create(order: Order, argo: Argo, where: Where) -> Submission:
    order.check_template(argo)
    created = argo.create(order.workflow)
    command = order.command(argo.namespace)
    return Submission(order.model, argo.namespace, command, where.options, workflow=str(created["metadata"]["name"]))
