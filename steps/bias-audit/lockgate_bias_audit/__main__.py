"""Entry point of bias-audit: reads files, writes a signed verdict and a report."""

from lockgate_proof import main
from lockgate_step import (
    Answers,
    BiasVerdict,
    DataRecord,
    In,
    Inconclusive,
    NotJudged,
    Out,
    Passed,
    Policy,
    Refused,
    Report,
    Spec,
    Table,
    Waivers,
    program,
)


@program(signs=True, gate=True)
def bias_audit(
    answers: In[Answers],
    truth: In[Table],
    data: In[DataRecord],
    sensitive: In[Table] | None,
    train_sensitive: In[Table] | None,
    spec: In[Spec],
    policy: In[Policy],
    waivers: In[Waivers] | None,
    verdict: Out[BiasVerdict],
    report: Out[Report],
    *,
    seed: int = 0,
) -> Passed | NotJudged | Refused | Inconclusive:
    """Compare the model's answers between the groups of each sensitive column; judge each gap by its interval.

    seed: seed of the random resampling.
    """
    from lockgate_evidence import answered, frozen, waived
    from lockgate_proof import Trust
    from lockgate_step import log

    from lockgate_bias_audit.audit import audit
    from lockgate_bias_audit.read import read
    from lockgate_bias_audit.report import render
    from lockgate_bias_audit.verdict import Wording, judgement

    trust = Trust.read()
    groups = {"sensitive": sensitive, "train_sensitive": train_sensitive}
    tables = {name: table.path for name, table in groups.items() if table}
    frozen_data = frozen(data.path, spec.path, policy.path, {"truth": truth.path, **tables}, trust)
    evidence = answered(frozen_data, answers.path, trust)
    rows = read(evidence, answers.path, truth.path, tables.get("sensitive"), tables.get("train_sensitive"))
    log("read", rows=evidence.rows, columns=sorted(rows.columns))
    found = audit(rows.columns, rows.truth, rows.predicted, evidence.policy, seed=seed)
    target = evidence.spec.target
    words = Wording(target.positive, target.negative, evidence.policy)
    outcome = judgement(found, words, model=evidence.model, subjects=evidence.subjects)
    waivers_found = waived(outcome, "bias-audit", waivers.path if waivers else None, trust)
    report.path.write_text(render(found, outcome, words, seed=seed, waivers=waivers_found), encoding="utf-8")
    return outcome


if __name__ == "__main__":
    main(bias_audit)
