# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["onnxruntime", "pandas", "pyarrow", "scikit-learn", "skl2onnx"]
# ///
"""The trainer of this model: a logistic regression, so that a loan officer can read the coefficients."""

from lockgate_step import Category, In, ModelFile, Out, Spec, Table, main, program, read_spec


@program()
def fit(rows: In[Table], spec: In[Spec], model: Out[ModelFile], *, strength: float = 1.0) -> None:
    """Fit a logistic regression to the credits and write it as ONNX.

    strength: inverse of the regularization strength; a smaller value keeps the coefficients closer to zero.
    """
    import pyarrow.parquet as pq
    from lockgate_model import Labels, write
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    described = read_spec(spec)
    target, inputs = described.target, described.inputs
    table = pq.read_table(rows)
    credits = table.drop_columns([target.name]).to_pandas(types_mapper=None)
    categories = [column for column in inputs if isinstance(column, Category)]
    numbers = [column.name for column in inputs if column not in categories]
    indicators = OneHotEncoder(categories=[list(column.values) for column in categories], sparse_output=False)
    pipeline = make_pipeline(
        make_column_transformer((StandardScaler(), numbers), (indicators, [column.name for column in categories])),
        LogisticRegression(C=strength, max_iter=1000),
    )
    pipeline.fit(credits, [int(label == target.positive) for label in table[target.name].to_pylist()])
    write(
        model,
        pipeline,
        inputs=inputs,
        labels=Labels(negative=target.negative, positive=target.positive),
        rows=credits,
    )


if __name__ == "__main__":
    main(fit)
