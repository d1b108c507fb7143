"""Makes the bundle of a model that passed every gate, and registers it."""
