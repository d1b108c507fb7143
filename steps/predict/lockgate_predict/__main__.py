"""The program `predict`."""

from lockgate_proof import main
from lockgate_step import Answers, Base, DataRecord, In, ModelFile, Out, Policy, Record, Spec, Table, program


@program(signs=True, image="model-server")
def predict(
    model: In[ModelFile],
    test: In[Table],
    data: In[DataRecord],
    spec: In[Spec],
    policy: In[Policy],
    base: In[Base] | None,
    answers: Out[Answers],
    *,
    batch: int = 4096,
) -> Record:
    """Predict the test rows with the candidate, and with the live version if there is one.

    Ask a sample of them in other arrangements too; refuse a model whose answer does not depend on its row alone.

    batch: rows per request.
    """
    from lockgate_predict.predict import Inputs, run

    given = Inputs(model.path, test.path, data.path, spec.path, policy.path, base.path if base else None)
    return run(given, answers.path, batch=batch)


if __name__ == "__main__":
    main(predict)
