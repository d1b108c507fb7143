"""Entry point of `train`: reads files and settings, writes a model folder."""

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
    """Fit a scikit-learn classifier, mitigate bias if requested, and write the model in the format that is served.

    estimator: dotted name of a scikit-learn classifier that predicts probabilities.
    parameters: the estimator's parameters as a JSON object.
    mitigation: method that reduces differences between groups; the result is always one deterministic model.
    mitigate: sensitive columns to mitigate, separated by commas; empty for the first one in the spec.
    constraint: what is made equal between groups: the selection rates, or the true and false positive rates.
    difference_bound: largest difference between groups in the training rows that the mitigation aims for.
    fits: largest number of models that the mitigation fits.
    threshold: smallest score for which the answer is the positive label.
    seed: seed of all random numbers; the same seed gives the same bytes.
    form: format of the model; auto uses ONNX if it answers like the native model, else skops.
    """
    if not 0 < threshold < 1:
        msg = f"the threshold {threshold} is not between 0 and 1"
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
            "parameters": parameters,  # as text: a value may be Infinity, which canonical JSON does not allow
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
