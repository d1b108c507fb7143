"""The programs `deploy`, `promote` and `conclude`, the only ones that move a pointer in the store; `recall`; `pull`."""

from lockgate_proof import main
from lockgate_step import (
    Bundle,
    CanaryVerdict,
    In,
    Out,
    Passed,
    Policy,
    PromotionRecord,
    RecallVerdict,
    Record,
    Refused,
    SmokeVerdict,
    Spec,
    Staged,
    Waivers,
    program,
)


@program(uses=["store"], gate=True, signs=True)
def recall(
    spec: In[Spec],
    policy: In[Policy],
    waivers: In[Waivers] | None,
    bundle: Out[Bundle],
    verdict: Out[RecallVerdict],
    *,
    to: str = "previous",
) -> Passed | Refused:
    """Bring back a version that was live before: verify its bundle, and say by which rules it was judged.

    to: previous, a generation of the history, or the digest of a bundle.
    """
    from lockgate_delivery.place import stored

    from lockgate_deploy.recall import bring_back

    return bring_back(stored(), spec.path, policy.path, bundle.path, to)


@program(uses=["store", "platform"], signs=True)
def deploy(
    bundle: In[Bundle],
    spec: In[Spec],
    policy: In[Policy],
    recalled: In[RecallVerdict] | None,
    staged: Out[Staged],
    *,
    wait: int = 300,
) -> Record:
    """Deploy a verified bundle at its own address; it receives no user requests.

    wait: seconds to wait for another run's candidate to be released, then again for this run's server to be ready.
    """
    from lockgate_delivery.place import here
    from lockgate_delivery.proving import prove

    from lockgate_deploy.deploy import stage

    place = here()
    proven = prove(bundle.path, spec.path, policy.path, recalled.path if recalled else None)
    return stage(place.pointers(proven.model), place.platform, proven, run=place.run, wait=wait)


@program(uses=["store", "platform"], signs=True)
def promote(
    staged: In[Staged],
    smoke: In[SmokeVerdict],
    canary: In[CanaryVerdict] | None,
    bundle: In[Bundle],
    spec: In[Spec],
    policy: In[Policy],
    recalled: In[RecallVerdict] | None,
    record: Out[PromotionRecord],
    *,
    wait: int = 120,
) -> Record:
    """Make the bundle that passed every gate of its spec live, unless live has moved since they compared with it.

    wait: seconds to wait for the platform to serve it.
    """
    from lockgate_delivery.place import here
    from lockgate_delivery.proving import prove, signing

    from lockgate_deploy.promote import go_live, prove_rollout

    place = here()
    proven = prove(bundle.path, spec.path, policy.path, recalled.path if recalled else None)
    verdicts = prove_rollout(staged.path, smoke.path, canary.path if canary else None, proven)
    pointers, signed = place.pointers(proven.model), signing("promote")
    return go_live(pointers, place.platform, proven, verdicts, run=place.run, wait=wait, signed=signed)


@program(uses=["store", "platform"])
def conclude(*, model: str, status: str = "", wait: int = 120) -> None:
    """Release the candidate if the run still holds it, and write the run's summary.

    model: the model's name.
    status: the status with which the workflow ended, e.g. Succeeded.
    wait: seconds to wait for the platform to serve only what the pointers name.
    """
    from lockgate_delivery.place import here
    from lockgate_step import OutsideFailed, log

    from lockgate_deploy.conclude import tidy

    place = here()
    try:
        tidy(place.pointers(model), place.platform, run=place.run, status=status, wait=wait)
    except OutsideFailed as error:
        if status != "Succeeded":
            raise
        # A run that succeeded has already released its candidate: a failure here must not make the run look failed.
        log("not-concluded", problem=error.message, fix=error.fix)


@program(uses=["store"])
def pull(bundle: Out[Bundle], *, model: str, digest: str) -> None:
    """Download a bundle from the store into the pod that serves it.

    model: the model's name.
    digest: the bundle's digest, sha256: with 64 digits.
    """
    from lockgate_delivery.place import stored
    from lockgate_delivery.pull import pull as download

    download(stored(), model, digest, bundle.path)


if __name__ == "__main__":
    main(recall, deploy, promote, conclude, pull)
