"""The program `predict`."""

from lockgate_proof import main
from lockgate_step import Answers, Base, DataRecord, In, ModelFile, Out, Record, Spec, Table, program


@program(signs=True, image="model-server")
def predict(
    model: In[ModelFile],
    test: In[Table],
    data: In[DataRecord],
    spec: In[Spec],
    base: In[Base] | None,
    answers: Out[Answers],
    *,
    batch: int = 4096,
) -> Record:
    """Predict the test rows with the candidate, and with the live version if there is one.

    batch: rows per request.
    """
    from lockgate_predict.predict import run

    return run(model.path, test.path, data.path, spec.path, base.path if base else None, answers.path, batch=batch)


if __name__ == "__main__":
    main(predict)
