"""A server that cannot start logs the reason once and exits with the right code."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle
from tiny_bundle.child import launch, serving


def start(folder: Path, io: Path, log_file: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """Start a server that must end; return its exit code and the last line of its log."""
    process = launch(folder, io, log_file, *(more or ("--port", "0")))
    code = process.wait(60)
    text = log_file.read_text()
    assert "Traceback" not in text
    return code, json.loads(text.splitlines()[-1]) if text else {}


def rewrite(name: str, **fields: object) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return tamper


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def flip_a_byte(folder: Path) -> None:
    path = folder / "model" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (flip_a_byte, "model/model.onnx was changed"),
        (remove("model/golden.json"), "model/golden.json is missing"),
        (lambda folder: (folder / "model" / "more.py").write_text(""), "model/more.py is not in the manifest"),
        (rewrite("model/model.json", threshold=0.01), "model/model.json was changed"),
        (remove("manifest.json"), "manifest.json is missing"),
        (remove("record.json"), "record.json"),
        (rewrite("record.json", payload="e30K"), "record.json"),
    ],
)
def test_a_bundle_that_is_not_as_it_was_sealed_is_refused(
    bundle: Path, io: Path, tmp_path: Path, tamper: Callable[[Path], object], said: str
) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    tamper(copy)
    code, line = start(copy, io, tmp_path / "log")
    assert (code, line["code"]) == (3, 3)
    assert said in line["message"]
    assert line["fix"]


def test_a_bundle_that_others_have_signed_is_refused(bundle: Path, tmp_path: Path) -> None:
    strangers = tiny_bundle.Authority(tmp_path / "keys").write_io(tmp_path / "io")
    code, line = start(bundle, strangers, tmp_path / "log")
    assert code == 3
    assert "not signed by a key that may sign" in line["message"]


def test_without_a_trust_file_nothing_is_served(bundle: Path, tmp_path: Path) -> None:
    code, line = start(bundle, tmp_path, tmp_path / "log")
    assert code == 3
    assert "no trust file" in line["message"]


def test_a_verified_bundle_whose_model_cannot_be_loaded_is_refused(
    authority: tiny_bundle.Authority, io: Path, tmp_path: Path
) -> None:
    authority.write_bundle(tmp_path / "bundle", inputs=tiny_bundle.INPUTS[:2])
    code, line = start(tmp_path / "bundle", io, tmp_path / "log")
    assert code == 3
    assert "occupation" in line["message"]


def test_a_taken_port_can_be_tried_again(bundle: Path, io: Path, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        code, line = start(bundle, io, tmp_path / "log", "--port", port)
    assert code == 4
    assert port in line["message"]


def test_a_folder_that_is_not_there_is_a_bad_call(io: Path, tmp_path: Path) -> None:
    code, line = start(tmp_path / "nowhere", io, tmp_path / "log")
    assert code == 2
    assert "nowhere" in line["message"]


def test_an_unknown_flag_is_a_bad_call(bundle: Path, io: Path, tmp_path: Path) -> None:
    process = launch(bundle, io, tmp_path / "log", "--port", "0", "--debug")
    assert process.wait(60) == 2


def test_the_environment_cannot_configure_it(
    bundle: Path, io: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLServer alone would use all of these, and would not start with the last one."""
    monkeypatch.setenv("MLSERVER_DEBUG", "true")
    monkeypatch.setenv("MLSERVER_METRICS_ENDPOINT", "/metrics")
    monkeypatch.setenv("MLSERVER_ROOT_PATH", "/elsewhere")
    monkeypatch.setenv("MLSERVER_MODEL_NAME", "other")
    monkeypatch.setenv("MLSERVER_TRACING_SERVER", "localhost:4317")
    with serving(bundle, io, tmp_path / "log") as server:
        assert server.call("GET", "/metrics").status == 404
        assert server.infer(tiny_bundle.request(tiny_bundle.ROWS)).status == 200
