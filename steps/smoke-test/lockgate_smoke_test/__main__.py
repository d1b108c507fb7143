"""`smoke-test`: the staged version's address in, a signed verdict out."""

from lockgate_step import (
    Bundle,
    In,
    Inconclusive,
    Out,
    Passed,
    Policy,
    Refused,
    SmokeVerdict,
    Staged,
    main,
    program,
)


@program(gate=True, signs=True)
def smoke_test(
    staged: In[Staged], bundle: In[Bundle], policy: In[Policy], verdict: Out[SmokeVerdict], *, requests: int = 200
) -> Passed | Refused | Inconclusive:
    """Call the staged version at its own address: right answers, right refusals, in time.

    requests: single-row requests over which the latency is measured.
    """
    from lockgate_smoke_test.gate import run

    return run(staged.path, bundle.path, policy.path, requests=requests)


if __name__ == "__main__":
    main(smoke_test)
