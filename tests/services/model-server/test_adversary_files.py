"""What was verified is what is loaded, whatever somebody does to the bundle's folder meanwhile."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_bundle
from lockgate_proof import bundle_digest, read_manifest
from tiny_bundle.child import Server, launch, until_ready

# Starts the server, and changes a file of the bundle right before the n-th time that a file of this name is opened.
CHANGING = """
import os, runpy, sys
target, content, at = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
seen = 0
def hook(event, arguments):
    global seen
    if event == "open" and os.path.basename(os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else "") == \
            os.path.basename(target):
        seen += 1
        if seen == at:
            handle = os.open(target + ".new", os.O_WRONLY | os.O_CREAT)
            os.write(handle, content)
            os.close(handle)
            os.replace(target + ".new", target)
sys.addaudithook(hook)
sys.argv = ["lockgate_model_server", *sys.argv[4:]]
runpy.run_module("lockgate_model_server", run_name="__main__", alter_sys=True)
"""


def changed(bundle: Path) -> bytes:
    """The model.json of a model that answers high to nearly everybody."""
    path = bundle / "model" / "model.json"
    return json.dumps({**json.loads(path.read_bytes()), "threshold": 0.01}).encode()


def check(process: "subprocess.Popen[str]", log_file: Path) -> str:
    """Wait for the server; it must refuse, or answer as the sealed model does. Return which."""
    with process:
        try:
            return _check(process, log_file)
        finally:
            process.kill()


def _check(process: "subprocess.Popen[str]", log_file: Path) -> str:
    while process.poll() is None:
        lines = [json.loads(line) for line in log_file.read_text().splitlines() if line.endswith("}")]
        if serving := [line for line in lines if line["event"] == "serving"]:
            host, port = serving[0]["address"].removeprefix("http://").rsplit(":", 1)
            server = Server(process, host, int(port), "", log_file)
            until_ready(server)
            said = server.call("GET", "/v2/models/tiny").json
            assert said["outputs"][1]["parameters"]["threshold"] == 0.5
            label, _ = server.infer(tiny_bundle.request(tiny_bundle.ROWS)).json["outputs"]
            assert label["data"] == [tiny_bundle.answer(row)["label"] for row in tiny_bundle.ROWS]
            process.terminate()
            process.wait(30)
            return "served"
        time.sleep(0.05)
    assert process.returncode == 3, log_file.read_text()
    assert "Traceback" not in log_file.read_text()
    return "refused"


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_file_changed_between_two_openings_is_never_served(bundle: Path, io: Path, tmp_path: Path, at: int) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    target, log_file = copy / "model" / "model.json", tmp_path / "log"
    argv = [sys.executable, "-c", CHANGING, str(target), changed(copy).decode(), str(at)]
    with log_file.open("w") as log:
        environment = {**os.environ, "LOCKGATE_IO": str(io)}
        process = subprocess.Popen(
            [*argv, "--bundle", str(copy), "--port", "0"], env=environment, stderr=log, stdout=log, text=True
        )
    check(process, log_file)


@pytest.mark.parametrize("name", ["model.json", "model.onnx"])
def test_a_file_that_changes_all_the_time_is_never_served(bundle: Path, io: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    path, ended = copy / "model" / name, threading.Event()
    honest = path.read_bytes()
    other = changed(copy) if name == "model.json" else honest[:-9] + b"\x00" * 9

    def change() -> None:
        while not ended.is_set():
            for content in (other, honest):
                (copy / "new").write_bytes(content)
                (copy / "new").replace(path)
                ended.wait(0.003)
        path.write_bytes(honest)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for number in range(3):
            log_file = tmp_path / f"log-{number}"
            check(launch(copy, io, log_file, "--port", "0"), log_file)
    finally:
        ended.set()
        thread.join()


def linked(folder: Path) -> None:
    (folder / "manifest.json").rename(folder.parent / "elsewhere.json")
    (folder / "manifest.json").symlink_to(folder.parent / "elsewhere.json")


def linked_folder(folder: Path) -> None:
    (folder / "model").rename(folder.parent / "elsewhere")
    (folder / "model").symlink_to(folder.parent / "elsewhere")


def fifo_instead(folder: Path) -> None:
    (folder / "record.json").unlink()
    os.mkfifo(folder / "record.json")


def bound(folder: Path) -> None:
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    "tamper",
    [
        linked,
        linked_folder,
        fifo_instead,
        bound,
        lambda folder: os.mkfifo(folder / "more"),
        lambda folder: os.mkfifo(folder / "model" / "model.py"),
        lambda folder: (folder / "more").symlink_to("/dev/zero"),
        lambda folder: (folder / "model" / ".hidden").write_text(""),
        lambda folder: (folder / "a\u202eb").write_text(""),
    ],
    ids=["link", "folder", "fifo", "socket", "more-fifo", "fifo-in-model", "device", "hidden", "bidi"],
)
def test_a_bundle_of_anything_but_plain_files_is_refused(
    bundle: Path, io: Path, tmp_path: Path, tamper: Callable[[Path], object]
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    tamper(copy)
    process = launch(copy, io, tmp_path / "log", "--port", "0")
    assert process.wait(60) == 3, (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_another_signed_bundle_is_refused_by_its_digest(
    authority: tiny_bundle.Authority, bundle: Path, io: Path, tmp_path: Path
) -> None:
    """Whoever can write the store can put another bundle in the place of the one that is live."""
    other, log_file = tmp_path / "other", tmp_path / "log"
    authority.write_bundle(other, image="another/image")
    named = ("--port", "0", "--digest", bundle_digest(read_manifest(bundle)))
    assert check(launch(other, io, log_file, "--port", "0"), log_file) == "served"
    assert check(launch(other, io, log_file, *named), log_file) == "refused"
    assert check(launch(bundle, io, log_file, *named), log_file) == "served"


def test_it_serves_on_the_socket_that_it_inherits(bundle: Path, io: Path, tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        process = launch(bundle, io, log_file, "--socket", str(bound.fileno()), inherited=(bound.fileno(),))
        assert check(process, log_file) == "served"
        assert f":{bound.getsockname()[1]}" in log_file.read_text()


def test_a_number_that_is_no_socket_is_a_bad_call(bundle: Path, io: Path, tmp_path: Path) -> None:
    assert launch(bundle, io, tmp_path / "log", "--socket", "99").wait(60) == 2
    assert "--socket" in (tmp_path / "log").read_text()


def test_hard_links_are_harmless(bundle: Path, io: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    (tmp_path / "other-name").hardlink_to(copy / "model" / "model.json")
    log_file = tmp_path / "log"
    assert check(launch(copy, io, log_file, "--port", "0"), log_file) == "served"


def test_the_private_copy_is_gone_when_it_serves(bundle: Path, io: Path, tmp_path: Path) -> None:
    scratch, log_file = tmp_path / "scratch", tmp_path / "log"
    scratch.mkdir()
    argv = [sys.executable, "-m", "lockgate_model_server", "--bundle", str(bundle), "--port", "0"]
    with log_file.open("w") as log:
        environment = {**os.environ, "LOCKGATE_IO": str(io), "TMPDIR": str(scratch)}
        process = subprocess.Popen(argv, env=environment, stderr=log, stdout=log, text=True)
    assert check(process, log_file) == "served"
    assert list(scratch.rglob("model.*")) == []


def test_it_writes_nothing_into_the_home_folder(bundle: Path, io: Path, tmp_path: Path) -> None:
    """Libraries keep usage reports there, to send them to their makers."""
    home, log_file = tmp_path / "home", tmp_path / "log"
    home.mkdir()
    argv = [sys.executable, "-m", "lockgate_model_server", "--bundle", str(bundle), "--port", "0"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_"))}
    with log_file.open("w") as log:
        environment |= {"LOCKGATE_IO": str(io), "HOME": str(home)}
        process = subprocess.Popen(argv, env=environment, stderr=log, stdout=log, text=True)
    assert check(process, log_file) == "served"
    assert list(home.rglob("*")) == []
