"""The programs `deploy`, `promote` and `conclude`: the only ones that move a pointer of the store; and `pull`."""

from lockgate_step import Bundle, In, Out, Policy, SmokeVerdict, Spec, Staged, main, program


@program(uses=["store", "platform"])
def deploy(bundle: In[Bundle], spec: In[Spec], policy: In[Policy], staged: Out[Staged], *, wait: int = 300) -> None:
    """Make a proven bundle reachable at its own address; no user's request goes there.

    wait: seconds for another run's candidate to go, and again for this one's server to be ready.
    """
    from lockgate_step import canonical

    from lockgate_deploy.deploy import stage
    from lockgate_deploy.shell import here, prove

    place = here()
    proven = prove(bundle.path, spec.path, policy.path)
    said = stage(place.pointers(proven.model), place.platform, proven, run=place.run, wait=wait)
    staged.path.write_bytes(canonical(said))


@program(uses=["store", "platform"])
def promote(
    staged: In[Staged],
    smoke: In[SmokeVerdict],
    bundle: In[Bundle],
    spec: In[Spec],
    policy: In[Policy],
    *,
    wait: int = 120,
) -> None:
    """Make the bundle that smoke-test passed the one that answers users, if live is still what it was compared with.

    wait: seconds for the platform to answer with it.
    """
    from lockgate_deploy.promote import go_live
    from lockgate_deploy.shell import here, prove, prove_smoke

    place = here()
    proven = prove(bundle.path, spec.path, policy.path)
    verdict = prove_smoke(staged.path, smoke.path, proven)
    go_live(place.pointers(proven.model), place.platform, proven, verdict, run=place.run, wait=wait)


@program(uses=["store", "platform"])
def conclude(*, model: str, status: str = "", wait: int = 120) -> None:
    """Give back what the run still holds, and write its summary.

    model: whose run it was.
    status: how the run ended, as the workflow says it.
    wait: seconds for the platform to serve what the pointers name, and no more.
    """
    from lockgate_step import OutsideFailed, log

    from lockgate_deploy.conclude import tidy
    from lockgate_deploy.shell import here

    place = here()
    try:
        tidy(place.pointers(model), place.platform, run=place.run, status=status, wait=wait)
    except OutsideFailed as error:
        if status != "Succeeded":
            raise
        # A run that succeeded has given back its candidate already: what is missing now must not make it look failed.
        log("not-concluded", problem=error.message, fix=error.fix)


@program(uses=["store"])
def pull(bundle: Out[Bundle], *, model: str, digest: str) -> None:
    """Bring a bundle from the store to the pod that serves it.

    model: whose bundle it is.
    digest: which one.
    """
    from lockgate_deploy import pull as pulling
    from lockgate_deploy.shell import stored

    pulling.pull(stored(), model, digest, bundle.path)


if __name__ == "__main__":
    main(deploy, promote, conclude, pull)
