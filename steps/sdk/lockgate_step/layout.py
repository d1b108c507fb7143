"""The paths of a program's files, and the names of the Kubernetes objects that provide them.

The composer renders these names, the local engine mounts them, programs read them, and deploy writes them into serving
pods. Each name is defined only here. On a local machine, a ConfigMap or Secret is a folder of the same name.
"""

# The only folder that a program reads or writes, and the paths below it.
IO = "/lockgate"
IN, OUT = "in", "out"
ENVIRONMENT, CREDENTIALS, KEY, SERVICE_ACCOUNT = "environment", "credentials", "key", "serviceaccount"
TMP = "tmp"
TERMINATION = "termination"

# Files in these folders.
PRIVATE_KEY = "private.pem"
TRUST = "trust.json"
CURRENT = "current.json"  # the policy and the spec by which a version may go live
ACCESS_KEY, SECRET_KEY = "access_key_id", "secret_access_key"

# ConfigMaps and Secrets.
CONFIG_MAP = "lockgate-environment"
STORE_SECRET = "lockgate-store"  # noqa: S105 - a name
AUTHORITY_SECRET = "lockgate-ca"  # noqa: S105 - a name
KEY_SECRETS = "lockgate-key-"  # plus what the program signs as

# Service accounts.
EXECUTOR_ACCOUNT = "lockgate-executor"
PLATFORM_ACCOUNT = "lockgate-platform"
SERVER_ACCOUNT = "lockgate-model-server"
SUBMITTER_ACCOUNT = "lockgate-submitter"
OPERATOR_ACCOUNT = "lockgate-operator"
EVENTS_ACCOUNT = "lockgate-events"

# Where a pod that serves a model shows its metrics. A variable, since a bundle that was judged in an earlier image is
# served by that image: it ignores an unknown variable, and would refuse an unknown option.
METRICS, METRICS_PORT = "metrics", 9090
METRICS_VARIABLE = "LOCKGATE_METRICS_PORT"

# The user and group of every pod.
USER = 65532

# Labels and annotations of the objects that serve a model.
BUNDLE = "lockgate.io/bundle"  # the label has the first 12 digits, the annotation the whole digest
GENERATION = "lockgate.io/generation"
LEASE = "lockgate.io/lease"
PROMOTION = "lockgate.io/promotion"  # the digest of the signed record
PROJECT = "lockgate.io/project"  # on all objects of a project's namespace


def additional_signer(model: str, gate: str) -> str:
    """Return what an additional gate signs as. The names of models and programs have no dot, so this one is its own."""
    return f"{model}.{gate}"


def is_additional_signer(signer: str) -> bool:
    """Return whether a signer is an additional gate of a model."""
    return "." in signer


def key_secret(signer: str) -> str:
    """Return the name of the Secret with the private key of a program or an additional gate."""
    return f"{KEY_SECRETS}{signer}"
