"""The step bias-audit: compare a model's answers between groups."""
