"""What a user defines: models, steps, workflows, and the project they are in."""
