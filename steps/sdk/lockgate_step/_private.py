"""Keeps what a process knows inside: no usage reports of libraries, no memory in a core file.

onnxruntime reads its setting when it is imported; its own function `disable_telemetry_events` comes too late.
"""

import os
import resource

OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime 1.32: events to a database below ~/.cache/Microsoft, then to its maker
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",  # Great Expectations, where posthog is installed
    "DO_NOT_TRACK": "true",
}

os.environ.update(OFF)


def no_core_files() -> None:
    """Let this process, and its children, write no memory to a file when they crash: it contains rows and keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
