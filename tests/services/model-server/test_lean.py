"""MLServer's unused packages are not imported, and can be imported when a model needs them."""

import subprocess
import sys

import pytest

UNUSED = ("pandas", "grpc", "aiokafka", "opentelemetry", "sklearn", "skops")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_a_server_of_onnx_models_loads_nothing_it_does_not_use() -> None:
    loaded = run(f"import sys, lockgate_model_server.server; print([name for name in {UNUSED} if name in sys.modules])")
    assert loaded == "[]"


def test_mlserver_alone_would_load_it() -> None:
    """If this fails, lean.py is no longer needed."""
    loaded = run(f"import sys, mlserver; print([name for name in {UNUSED[:4]} if name in sys.modules])")
    assert loaded == str(list(UNUSED[:4]))


def test_pandas_is_the_real_one_afterwards() -> None:
    assert run("import lockgate_model_server.runtime, pandas; print(pandas.DataFrame({'a': [1]}).shape)") == "(1, 1)"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("mlserver.server", "GRPCServer"),
        ("mlserver.server", "KafkaServer"),
        ("mlserver.rest.app", "get_tracer_provider"),
    ],
)
def test_a_disabled_module_raises_an_error_when_used(module: str, name: str) -> None:
    code = f"""
import lockgate_model_server.runtime, {module} as module
try:
    module.{name}()
except RuntimeError as error:
    print(error)
"""
    assert run(code).endswith("is disabled in this server")
