"""The step `train`: from rows to a model file in the form that will serve."""
