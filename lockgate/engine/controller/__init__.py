"""The controller's semantics: which node runs next, with which inputs, and how it ends."""
