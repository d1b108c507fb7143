"""Entry point of validate-data and validate-model: both read files, and write a signed verdict and a report."""

from lockgate_proof import main
from lockgate_step import (
    Answers,
    DataRecord,
    DataVerdict,
    Expectations,
    In,
    Inconclusive,
    Out,
    Passed,
    Policy,
    QualityVerdict,
    Refused,
    Report,
    Spec,
    Table,
    Waivers,
    program,
)


@program(signs=True, gate=True)
def validate_data(
    rows: In[Table],
    test: In[Table],
    truth: In[Table],
    sensitive: In[Table] | None,
    train_sensitive: In[Table] | None,
    data: In[DataRecord],
    spec: In[Spec],
    expectations: In[Expectations],
    policy: In[Policy],
    waivers: In[Waivers] | None,
    verdict: Out[DataVerdict],
    report: Out[Report],
) -> Passed | Refused | Inconclusive:
    """Check the frozen data against the model's spec and expectations.json."""
    import logging
    import warnings

    from lockgate_evidence import frozen, waived
    from lockgate_proof import Trust
    from lockgate_step import file_digest, log

    # Great Expectations and pandas write values of rows to the log and to stderr.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    from lockgate_validate.data import judgement, validate
    from lockgate_validate.data_report import render

    trust = Trust.read()
    given = {"rows": rows, "test": test, "truth": truth, "sensitive": sensitive, "train_sensitive": train_sensitive}
    paths = {name: file.path for name, file in given.items() if file is not None}
    evidence = frozen(data.path, spec.path, policy.path, paths, trust)
    checked = validate(evidence, paths, expectations.path)
    log("checked", expectations=len(checked), met=sum(each.met for each in checked))
    outcome = judgement(evidence, checked, file_digest(expectations.path))
    excepted = waived(outcome, "validate-data", waivers.path if waivers else None, trust)
    report.path.write_text(render(checked, outcome, evidence, waivers=excepted), encoding="utf-8")
    return outcome


@program(signs=True, gate=True)
def validate_model(
    answers: In[Answers],
    truth: In[Table],
    data: In[DataRecord],
    spec: In[Spec],
    policy: In[Policy],
    waivers: In[Waivers] | None,
    verdict: Out[QualityVerdict],
    report: Out[Report],
    *,
    seed: int = 0,
) -> Passed | Refused | Inconclusive:
    """Compare the model's answers with the truth, and with the live version's answers to the same rows.

    seed: seed of the random resampling.
    """
    from lockgate_evidence import answered, frozen, waived
    from lockgate_proof import Trust
    from lockgate_step import log

    from lockgate_validate.model import judge, judgement
    from lockgate_validate.model_report import render

    trust = Trust.read()
    evidence = answered(frozen(data.path, spec.path, policy.path, {"truth": truth.path}, trust), answers.path, trust)
    quality = judge(evidence, answers.path, truth.path, seed=seed)
    log("measured", rows=quality.rows, compared=bool(quality.gains))
    outcome = judgement(quality, evidence)
    excepted = waived(outcome, "validate-model", waivers.path if waivers else None, trust)
    report.path.write_text(render(quality, outcome, evidence, seed=seed, waivers=excepted), encoding="utf-8")
    return outcome


if __name__ == "__main__":
    main(validate_data, validate_model)
