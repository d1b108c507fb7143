"""Judge a model's answers group by group."""
