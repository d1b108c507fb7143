"""The addresses of the tests' cluster and its services: created here, or given by KUBECONFIG and a few variables.

KUBECONFIG names a cluster of your own (kind, k3d, a real one), and the variables in `NAMED` its services.
"""

import os
from pathlib import Path

from tests import seaweed

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".cluster"
SAMPLE = "LOCKGATE_TESTS_SAMPLE"  # if set, only the tests with the marker of this name run
NODE = "10.213.0.2"  # of the cluster created here
_MADE = STATE / "admin.kubeconfig"
OWN = Path(os.environ.get("KUBECONFIG") or _MADE).resolve() == _MADE.resolve()  # whether it is created here

# What each must be. Its address must be the same from this machine, from the nodes and from pods.
NAMED = {
    "LOCKGATE_TESTS_REGISTRY": "an image registry, as HOST:PORT, where the nodes pull and this machine pushes",
    "LOCKGATE_TESTS_S3": "an S3 service with conditional writes; also set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "LOCKGATE_TESTS_BUCKET": "a bucket there that only the tests use",
    "LOCKGATE_TESTS_MLFLOW": "an MLflow tracking server",
    "LOCKGATE_TESTS_ARGO_SERVER": "an Argo server with --auth-mode=client",
    "LOCKGATE_TESTS_CA": "a file with the CA certificates of all of these",
}


def _at(name: str, made: str) -> str:
    return made if OWN else os.environ.get(f"LOCKGATE_TESTS_{name}", "")


KUBECONFIG = _MADE if OWN else Path(os.environ["KUBECONFIG"]).resolve()
CA = Path(_at("CA", str(STATE / "pki" / "ca.pem")))
REGISTRY = _at("REGISTRY", f"{NODE}:5000")
S3 = _at("S3", f"https://{NODE}:8333")
BUCKET = _at("BUCKET", seaweed.BUCKET)
MLFLOW = _at("MLFLOW", f"http://{NODE}:5001")
ARGO_SERVER = _at("ARGO_SERVER", f"https://{NODE}:2746")
ACCESS_KEY = seaweed.ACCESS_KEY if OWN else os.environ.get("AWS_ACCESS_KEY_ID", "")
SECRET_KEY = seaweed.SECRET_KEY if OWN else os.environ.get("AWS_SECRET_ACCESS_KEY", "")
PAUSE = f"{REGISTRY}/pause:1"  # busybox, the image of every pod's sandbox on the cluster created here
ARGO = "argo"  # the namespace of Argo
