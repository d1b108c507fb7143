# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["numpy", "pyarrow"]
# ///
"""A step of this model: balances the labels by repeating rows of the rarer one."""

from lockgate_step import BadCall, In, Out, Spec, Table, main, program, read_spec


@program()
def balance(rows: In[Table], spec: In[Spec], balanced: Out[Table], *, seed: int = 0) -> None:
    """Repeat rows of the rarer label until both labels are equally frequent.

    seed: seed of the random choice of rows to repeat.
    """
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    target = read_spec(spec).target.name
    table = pq.read_table(rows)
    if target not in table.column_names:
        msg = f"the rows do not have the target column {target!r}"
        raise BadCall(msg, fix="connect the rows that ingest wrote")
    places = [
        np.flatnonzero(pc.equal(table[target], label).to_numpy())
        for label in sorted(pc.unique(table[target]).to_pylist())
    ]
    most = max(len(place) for place in places)
    draw = np.random.default_rng(seed)
    kept = [np.concatenate([place, draw.choice(place, most - len(place))]) for place in places]
    pq.write_table(table.take(np.sort(np.concatenate(kept))), balanced)


if __name__ == "__main__":
    main(balance)
