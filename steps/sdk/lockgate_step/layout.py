"""Where a program finds its files, and the names of the Kubernetes objects that provide them.

The composer renders these names, the local engine mounts them, the programs read them, and deploy writes them into the
pods that serve: each name is defined here once. Locally a ConfigMap or Secret is a folder of the same name.
"""

# The only root that a program reads or writes, and what is below it.
IO = "/lockgate"
IN, OUT = "in", "out"
ENVIRONMENT, CREDENTIALS, KEY, SERVICE_ACCOUNT = "environment", "credentials", "key", "serviceaccount"
TMP = "tmp"
TERMINATION = "termination"

# Files in those folders.
PRIVATE_KEY = "private.pem"
TRUST = "trust.json"
ACCESS_KEY, SECRET_KEY = "access_key_id", "secret_access_key"

# ConfigMaps and Secrets.
CONFIG_MAP = "lockgate-environment"
STORE_SECRET = "lockgate-store"  # noqa: S105 - a name
AUTHORITY_SECRET = "lockgate-ca"  # noqa: S105 - a name
KEY_SECRETS = "lockgate-key-"  # and the program that signs

# Service accounts.
EXECUTOR_ACCOUNT = "lockgate-executor"
PLATFORM_ACCOUNT = "lockgate-platform"
SERVER_ACCOUNT = "lockgate-model-server"
SUBMITTER_ACCOUNT = "lockgate-submitter"
OPERATOR_ACCOUNT = "lockgate-operator"
EVENTS_ACCOUNT = "lockgate-events"

# The user and group of every pod.
USER = 65532

# Labels and annotations of what serves a model.
BUNDLE = "lockgate.io/bundle"  # as a label its first 12 digits, as an annotation the whole digest
GENERATION = "lockgate.io/generation"
LEASE = "lockgate.io/lease"


def key_secret(signer: str) -> str:
    """The name of the Secret with the private key of a program that signs."""
    return f"{KEY_SECRETS}{signer}"
