"""The definitions that a user writes: models, steps, workflows, and their project."""
