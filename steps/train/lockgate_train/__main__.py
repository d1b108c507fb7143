"""The shell of `train`: files and settings in, a model folder out."""

from typing import Literal

from lockgate_step import BadCall, In, ModelFile, Out, Spec, Table, main, program, read_spec


@program()
def train(
    rows: In[Table],
    spec: In[Spec],
    sensitive: In[Table] | None,
    model: Out[ModelFile],
    *,
    estimator: str = "sklearn.ensemble.HistGradientBoostingClassifier",
    parameters: str = "{}",
    mitigation: Literal["none", "grid-search", "exponentiated-gradient"] = "none",
    mitigate: str = "",
    constraint: Literal["demographic-parity", "equalized-odds"] = "demographic-parity",
    difference_bound: float = 0.1,
    fits: int = 20,
    threshold: float = 0.5,
    seed: int = 0,
    form: Literal["auto", "onnx", "skops"] = "auto",
) -> None:
    """Fit a declared scikit-learn classifier, mitigate bias if told, and write the form that will serve.

    estimator: dotted name of a scikit-learn classifier that gives probabilities.
    parameters: the estimator's parameters as a JSON object.
    mitigation: how differences between groups are reduced; what is left is always one deterministic model.
    mitigate: the sensitive columns to mitigate, separated by commas; empty for the first one of the spec.
    constraint: what is held equal: the rates of selection, or of errors in both directions.
    difference_bound: the largest difference between groups in the training rows that a mitigation aims at.
    fits: the most models that a mitigation fits.
    threshold: the score from which the answer is the positive label.
    seed: of everything random; the same seed gives the same bytes.
    form: how the model is kept; auto takes ONNX where it answers like the native model, else skops.
    """
    if not 0 < threshold < 1:
        msg = f"the threshold {threshold} does not lie between 0 and 1"
        raise BadCall(msg, fix="choose one such as 0.5")
    from lockgate_model import write

    from lockgate_train.estimators import declared
    from lockgate_train.mitigation import Mitigation
    from lockgate_train.rows import Problem, groups, table
    from lockgate_train.train import fit

    problem = Problem.of(read_spec(spec))
    chosen = declared(estimator, parameters, seed)
    training = table(rows.path, problem)
    plan = None
    if mitigation != "none":
        members = groups(sensitive.path if sensitive else None, problem, mitigate, len(training.labels))
        plan = Mitigation(mitigation, members, constraint, difference_bound, fits, threshold)
    write(
        model.path,
        fit(training, problem.inputs, chosen, plan),
        inputs=problem.inputs,
        labels=problem.labels,
        rows=training.inputs,
        threshold=threshold,
        form=form,
        seed=seed,
        trained_with={
            "estimator": estimator,
            "parameters": parameters,  # as text: one may be Infinity, which canonical JSON cannot hold
            "mitigation": mitigation,
            "mitigate": mitigate,
            "constraint": constraint,
            "difference_bound": difference_bound,
            "fits": fits,
            "threshold": threshold,
            "seed": seed,
            "form": form,
        },
    )


if __name__ == "__main__":
    main(train)
