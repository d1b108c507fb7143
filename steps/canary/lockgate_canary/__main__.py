"""Entry point of `canary`: gives a staged version a share of the users' requests, writes a signed verdict."""

from lockgate_proof import main
from lockgate_step import (
    Bundle,
    CanaryVerdict,
    In,
    Inconclusive,
    NotJudged,
    Out,
    Passed,
    Policy,
    Refused,
    SmokeVerdict,
    Spec,
    Staged,
    program,
)


@program(uses=["store", "platform"], gate=True, signs=True)
def canary(
    staged: In[Staged],
    smoke: In[SmokeVerdict],
    bundle: In[Bundle],
    spec: In[Spec],
    policy: In[Policy],
    verdict: Out[CanaryVerdict],
    *,
    wait: int = 60,
) -> Passed | NotJudged | Refused | Inconclusive:
    """Give the staged version a share of the users' requests, and judge it beside the live one.

    wait: seconds to wait until the platform divides the requests.
    """
    from lockgate_delivery.place import here
    from lockgate_delivery.proving import prove, prove_staged, rollout_of, signing
    from lockgate_policy import read_given

    from lockgate_canary.rollout import RolledOut, judge_rollout

    place = here()
    proven = prove(bundle.path, spec.path, policy.path)
    judged = prove_staged(staged.path, proven, smoke_test=smoke.path)["smoke-test"]
    rollout = RolledOut(
        pointers=place.pointers(proven.model),
        platform=place.platform,
        proven=proven,
        rollout=rollout_of(proven),
        policy=read_given(policy.path),
        sign=signing("canary"),
        run=place.run,
        uid=place.uid,
        wait=wait,
    )
    return judge_rollout(rollout, subjects={**proven.subjects, "staged": judged.subjects["staged"]})


if __name__ == "__main__":
    main(canary)
