"""Read a manifest: which fields the engine executes, ignores or refuses."""
