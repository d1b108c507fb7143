"""Entry point of `smoke-test`: reads the staged version's address, writes a signed verdict."""

from lockgate_proof import main
from lockgate_step import (
    Bundle,
    In,
    Inconclusive,
    Out,
    Passed,
    Policy,
    RecallVerdict,
    Refused,
    SmokeVerdict,
    Staged,
    program,
)


@program(gate=True, signs=True)
def smoke_test(
    staged: In[Staged],
    bundle: In[Bundle],
    policy: In[Policy],
    recalled: In[RecallVerdict] | None,
    verdict: Out[SmokeVerdict],
    *,
    requests: int = 200,
    patience: int = 30,
) -> Passed | Refused | Inconclusive:
    """Call the staged version at its own address; check its answers, its error responses and its latency.

    requests: number of single-row requests for measuring the latency.
    patience: seconds to wait until the version is ready.
    """
    from lockgate_smoke_test.gate import run

    return run(
        staged.path,
        bundle.path,
        policy.path,
        recalled.path if recalled else None,
        requests=requests,
        patience=patience,
    )


if __name__ == "__main__":
    main(smoke_test)
