"""The program `fetch`."""

from lockgate_step import In, ModelFile, Out, Policy, Spec, main, program


@program(uses=["registry"])
def fetch(spec: In[Spec], policy: In[Policy], model: Out[ModelFile], *, version: str) -> None:
    """Fetch a registered model version in the form that is judged and served: ONNX, or skops with its model.json.

    version: the version's number in the registry, e.g. 7.
    """
    from lockgate_fetch.fetch import fetch_version

    fetch_version(spec.path, policy.path, model.path, version=version)


if __name__ == "__main__":
    main(fetch)
