"""The program `package`: verifies, seals, stores and registers, in this order."""

from lockgate_proof import main
from lockgate_step import (
    AdditionalVerdicts,
    Answers,
    BiasVerdict,
    Bundle,
    DataRecord,
    DataVerdict,
    In,
    ModelFile,
    Out,
    Policy,
    QualityVerdict,
    Record,
    Report,
    Spec,
    Waivers,
    program,
)


@program(uses=["store", "registry"], signs=True)
def package(
    model: In[ModelFile],
    data: In[DataRecord],
    answers: In[Answers],
    data_verdict: In[DataVerdict],
    quality_verdict: In[QualityVerdict],
    bias_verdict: In[BiasVerdict],
    additional: In[AdditionalVerdicts] | None,
    spec: In[Spec],
    policy: In[Policy],
    waivers: In[Waivers] | None,
    bundle: Out[Bundle],
    card: Out[Report],
) -> Record:
    """Make the bundle of a model that passed every gate, store it, and register it by its digest."""
    from lockgate_package.evidence import Files
    from lockgate_package.package import seal_and_publish

    files = Files(
        model=model.path,
        data=data.path,
        answers=answers.path,
        verdicts={
            "validate-data": data_verdict.path,
            "validate-model": quality_verdict.path,
            "bias-audit": bias_verdict.path,
            **({path.name: path for path in additional.path.iterdir()} if additional else {}),
        },
        spec=spec.path,
        policy=policy.path,
        waivers=waivers.path if waivers else None,
    )
    return seal_and_publish(files, bundle.path, card.path)


if __name__ == "__main__":
    main(package)
