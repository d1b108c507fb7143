"""The target of the verbs on a cluster."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lockgate_step import layout
from lockgate_store import Missing, Store, TooLarge

from lockgate.cluster.api import NotAllowed
from lockgate.cluster.manifests.settings import Cluster
from lockgate.cluster.watch import WHO_WRITES, fetch_log, is_ours, live_on, output_keys, raw_input, record_of
from lockgate.cluster.workflows import Argo, Where, reach
from lockgate.definition.project import Project
from lockgate.errors import BadCall
from lockgate.records.environment import Environment
from lockgate.records.evidence import signed_file, signs
from lockgate.records.live import Live
from lockgate.records.runs import Found, RunRecord, Step
from lockgate.records.schedule import Schedule
from lockgate.records.store import bucket_of, live_at
from lockgate.rendering.labels import NAME, PART_OF
from lockgate.report.pages import LARGEST


@dataclass(frozen=True)
class OnCluster:
    """The runs and the live versions in one namespace of a cluster."""

    project: Project
    argo: Argo
    where: Where

    @classmethod
    @contextmanager
    def reached(cls, project: Project, where: Where) -> Iterator["OnCluster"]:
        """A connection to a cluster, while it is needed. Errors: BadCall."""
        with reach(where) as argo:
            yield cls(project, argo, where)

    @property
    def options(self) -> str:
        """The options that name the cluster; never a token."""
        return self.where.options

    @property
    def place(self) -> str:
        """Its namespace."""
        return f"in namespace {self.argo.namespace}"

    @property
    def environment(self) -> Environment:
        """The environment in kubernetes/. Errors: BadCall if it is another namespace's."""
        if self.argo.namespace != (own := Cluster(self.project).settings.namespace):
            msg = f"kubernetes/ has the store and the keys of namespace {own}, not of {self.argo.namespace}"
            raise BadCall(msg, fix=f"give -n {own}, or use the project of {self.argo.namespace}")
        return Cluster(self.project).as_environment

    @property
    def fetched(self) -> Path:
        """The folder for what is fetched of the runs of this namespace."""
        return self.project.state / "cluster" / self.argo.namespace

    def found(self, model: str | None = None) -> Found:
        """The Workflows of Lockgate, or those of one model: whoever may submit can write one that nobody can read.

        They are not selected by their own labels, by which an operator could hide one.
        """
        records, unread = [], {}
        for workflow in self.argo.workflows():
            if not is_ours(workflow, model):
                continue
            try:
                records.append(record_of(workflow, self.fetched))
            except BadCall as error:
                unread[str(workflow["metadata"]["name"])] = error
        return Found(sorted(records, key=lambda record: record.started, reverse=True), unread)

    def live(self, model: str) -> Live:
        """The version that the users' Service names."""
        return live_on(self.argo, model)

    def schedules(self, model: str) -> list[Schedule] | None:
        """The CronWorkflows of a model."""
        try:
            return [Schedule.of(found) for found in self.argo.crons({PART_OF: "lockgate", NAME: model})]
        except NotAllowed:
            return None

    def fetch_logs(self, run: RunRecord, steps: Sequence[Step]) -> list[str]:
        """Fetch each log from its pod, or from where the controller archives logs."""
        gone = [step for step in steps if not fetch_log(self.argo, run, step)]
        return [step.name for step in gone if not (step.folder / "log").exists()]

    def fetch_evidence(self, run: RunRecord) -> tuple[RunRecord, list[str]]:
        """Fetch what the steps signed, and their pages, from the store."""
        environment, gone = self.environment, list[str]()
        store, nodes = bucket_of(environment), {node.id: node for node in run.run.nodes}
        spec = raw_input(self.argo.workflow(run.id), "spec")
        for step in run.steps:
            node = nodes.get(step.folder.name)
            if node is None:
                continue
            _keep(step.folder / layout.IN / "spec", spec)
            written = output_keys(node)
            signed = [signed_file(step.name)] if signs(step.name, run.about) else []
            for name in (*signed, *run.about.pages_of(step.name)):
                output, _, inside = name.partition("/")
                if key := written.get(output):
                    content = _read(store, f"{key}/{inside}" if inside else key)
                    if content is None:
                        gone.append(f"{output} of {step.name}")
                    else:
                        _keep(step.folder / layout.OUT / name, content)
        before = live_at(environment, run.about.model, run.started)
        return replace(run, about=replace(run.about, before=before)), gone  # a new record reads what was fetched

    def stop(self, run: RunRecord) -> None:
        """Ask the controller to stop a Workflow."""
        self.argo.stop(run.id)

    def link(self, page: Path, run: RunRecord) -> str:
        """A file's address."""
        del run
        return page.as_uri()

    def after_waiver(self, model: str) -> list[str]:
        """Apply the policy that admits the new manifests, then the manifests, which carry the waivers."""
        apply = ("apply", "--server-side")
        return [self.argo.kubectl(*apply, "-k", "kubernetes"), self.argo.kubectl(*apply, "-f", f"workflows/{model}")]


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _read(store: Store, key: str) -> bytes | None:
    try:
        return store.read(key, at_most=LARGEST).data
    except Missing:
        return None
    except (TooLarge, ValueError) as error:
        msg = f"the run names an invalid artifact: {error}"
        raise BadCall(msg, fix=WHO_WRITES) from error
