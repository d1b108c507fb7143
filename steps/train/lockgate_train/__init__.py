"""The step `train`: fit a model and write it in the format that is served."""
