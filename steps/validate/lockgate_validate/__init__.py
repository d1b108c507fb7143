"""The step validate: the gates validate-data and validate-model."""
