"""Serves one bundle over the Open Inference Protocol: MLServer with a custom runtime, REST only.

- `check.py` checks a request against the model's inputs; it imports no third-party package.
- `runtime.py` is the MLServer runtime of the model; the step `predict` predicts the test rows with the same object.
- `metrics.py` counts requests and answers, for Prometheus.
- `door.py` and `bounds.py` check a request before MLServer does, `guard.py` limits connections, `graceful.py` ends the
  server, `lean.py` reduces its imports.
- `server.py` is MLServer with one model and without the repository API.
"""
