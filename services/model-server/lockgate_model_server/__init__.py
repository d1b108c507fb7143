"""Serves one bundle over the Open Inference Protocol: MLServer, a runtime of our own, REST only.

- `check.py` holds a request against the model's inputs; it imports no package, only `lockgate_model`'s columns.
- `runtime.py` is the model as MLServer sees it; the step `predict` answers the test rows through the same object.
- `door.py` stands before MLServer, `graceful.py` after the last caller, `lean.py` before its imports.
- `server.py` is MLServer with one model, one door and no repository API.
"""
