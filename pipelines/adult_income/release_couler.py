"""The release workflow of adult-income, written in Couler.

`python pipelines/adult_income/release_couler.py` prints its manifest, identical to the one in workflows/adult-income.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import couler.argo as couler
from lockgate_step import Answers, Bundle, ModelFile, SmokeVerdict, Staged

from lockgate import Candidate, brought, steps, tuned
from lockgate.couler import couler_steps, finish
from lockgate.definition.graph import Artifact, Setting, nested
from lockgate.definition.project import Model, Project


@dataclass(frozen=True)
class Sealed:
    """What the rollout takes."""

    bundle: Artifact[Bundle]


def release(model: Model) -> bytes:
    """Define the workflow and return its manifest. Couler loses the types of step results, so each is annotated."""
    spec = model.spec
    with couler_steps(model):
        couler.config_workflow(name="release")
        data: steps.Ingest = couler.set_dependencies(lambda: steps.ingest(data=Setting("workflow.parameters.data")))
        checked: steps.ValidateData = couler.set_dependencies(
            lambda: steps.validate_data(
                data.rows,
                data.test,
                data.truth,
                data.record,
                sensitive=data.sensitive,
                train_sensitive=data.train_sensitive,
            )
        )
        fitted: Artifact[ModelFile] = couler.set_dependencies(
            lambda: steps.train(
                data.rows,
                data.train_sensitive,
                **{setting: tuned(spec, setting) for setting in spec.train},  # type: ignore[arg-type]
            ),
            dependencies="validate-data.Succeeded",  # train does not read the verdict, so this edge is explicit
        )
        with nested("gates", brought(fitted, data, checked)) as inside:
            gates(spec.name, inside)
        return finish(model)


def gates(name: str, c: Candidate) -> None:
    """Define the gates and the rollout of a candidate; each verdict is an argument of a later step."""
    answers: Artifact[Answers] = couler.set_dependencies(lambda: steps.predict(c.model, c.test, c.data, c.base))
    quality: steps.ValidateModel = couler.set_dependencies(lambda: steps.validate_model(answers, c.truth, c.data))
    bias: steps.BiasAudit = couler.set_dependencies(
        lambda: steps.bias_audit(answers, c.truth, c.data, c.sensitive, c.train_sensitive)
    )
    sealed: steps.Package = couler.set_dependencies(
        lambda: steps.package(c.model, c.data, answers, c.data_verdict, quality.verdict, bias.verdict)
    )
    with nested("rollout", Sealed(sealed.bundle), mutex=f"lockgate-{name}") as inside:
        staged: Artifact[Staged] = couler.set_dependencies(lambda: steps.deploy(inside.bundle))
        smoke: Artifact[SmokeVerdict] = couler.set_dependencies(lambda: steps.smoke_test(staged, inside.bundle))
        couler.set_dependencies(lambda: steps.promote(staged, smoke, inside.bundle))


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.stdout.buffer.write(release(Project.find(here).model(here.name)))
