"""What a step of your own can reach on this machine, and that nothing of it outlives it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lockgate.engine import Engine, Environment, ProcessRuntime, Run, ask_to_stop, isolates
from lockgate.engine.events import Event, LogLine
from lockgate.images.environments import Environments

from .workshop import Json, Workshop, container, dag, files, inputs, task, workflow

isolated = pytest.mark.skipif(not isolates(), reason="this kernel has no Landlock")
# The step of an attacker: it executes Python that the test gives it.
ATTACK = "import sys; exec(sys.argv[1])"


def attack(code: str, name: str = "main", **more: object) -> Json:
    """Return a template whose program executes this code."""
    body: Json = {"image": "tools", "command": ["python", "-c", ATTACK], "args": [code]}
    if "volumeMounts" in more:
        body["volumeMounts"] = more.pop("volumeMounts")
    return {"name": name, "container": body, **more}


def tried(paths: dict[str, Path | str]) -> str:
    """Return code that tries to read each path, and writes `read` or the error's name for each to out/tried."""
    return f"""
import json, os
found = {{}}
for name, path in { ({name: str(path) for name, path in paths.items()})!r}.items():
    try:
        found[name] = "read" if (os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)) else "empty"
    except OSError as error:
        found[name] = type(error).__name__
open(os.environ["LOCKGATE_IO"] + "/out/tried", "w").write(json.dumps(found))
"""


def outcome(run: Run, name: str = "main") -> dict[str, str]:
    """Return what the code of `tried` wrote."""
    assert run.phase == "Succeeded", run.values
    found: dict[str, str] = json.loads((run.folder / "nodes" / name / "out" / "tried").read_text())
    return found


@isolated
def test_a_step_reads_its_own_inputs_environment_and_packages_and_nothing_else(shop: Workshop) -> None:
    secret, home = shop.folder / "secret.pem", shop.folder / "home" / ".ssh"
    secret.write_text("a private key")
    home.mkdir(parents=True)
    (home / "id_ed25519").write_text("a private key")
    for name in ("lockgate-key-own", "lockgate-key-other", "lockgate-environment"):
        (shop.folder / "environment" / name).mkdir()
        (shop.folder / "environment" / name / "private.pem").write_text("a private key")
    (shop.folder / "state" / "runs" / "earlier" / "nodes").mkdir(parents=True)
    (shop.folder / "state" / "runs" / "earlier" / "rows").write_text("rows")
    nodes = shop.folder / "state" / "runs" / "one" / "nodes"
    reads: dict[str, Path | str] = {
        "my input": nodes / "thief" / "in" / "given",
        "my key": nodes / "thief" / "key" / "private.pem",
        "the key of another program": shop.folder / "environment" / "lockgate-key-other" / "private.pem",
        "the names of the keys": shop.folder / "environment",
        "the rows of another step": nodes / "maker" / "out" / "rows",
        "the record of this run": nodes.parent / "run.json",
        "another run": shop.folder / "state" / "runs" / "earlier" / "rows",
        "a file of mine": secret,
        "an ssh key": home / "id_ed25519",
        "the passwords": "/etc/shadow",
        "the engine's variables": f"/proc/{os.getpid()}/environ",
        "the engine's files": f"/proc/{os.getpid()}/cwd/",
        "the users": "/etc/passwd",
        "the standard library": json.__file__,
    }
    own = {"name": "key", "secret": {"secretName": "lockgate-key-own"}}
    document = workflow(
        dag("main", task("maker"), task("thief", given={"given": "tasks.maker.outputs.artifacts.x"}, depends="maker")),
        container("write", "rows", "x", "write", "x", "x", name="maker", outputs={"artifacts": files("rows", "x")}),
        attack(
            tried(reads), "thief", inputs=inputs("given"), outputs={"artifacts": files("tried")}, volumes=[own],
            volumeMounts=[{"name": "key", "mountPath": "/lockgate/key"}],
        ),
    )  # fmt: skip
    run = shop.run(document, run_id="one")
    found = outcome(run, "thief")
    assert {name for name, result in found.items() if result == "read"} == {
        "my input", "my key", "the users", "the standard library",
    }  # fmt: skip
    assert set(found.values()) == {"read", "PermissionError"}, found
    assert run.values["isolation"] == "landlock"


@isolated
def test_a_step_writes_only_its_own_folder_and_can_still_work(shop: Workshop) -> None:
    code = f"""
import multiprocessing, os, pathlib, subprocess, sys, tempfile
io = pathlib.Path(os.environ["LOCKGATE_IO"])
for target in ({str(shop.folder / "code" / "program.py")!r}, {str(shop.folder / "new")!r}, str(io.parent / "new")):
    try:
        open(target, "w")
    except PermissionError:
        continue
    sys.exit(9)
with tempfile.TemporaryFile() as file:
    file.write(b"x")
(io / "tmp" / "a").mkdir()
(io / "tmp" / "b").mkdir()
(io / "tmp" / "a" / "f").write_text("x")
os.rename(io / "tmp" / "a" / "f", io / "tmp" / "b" / "f")
multiprocessing.Lock()
assert pathlib.Path.home() == io / "tmp"
subprocess.run([sys.executable, "-c", "import ssl, sqlite3, socket; socket.getaddrinfo('localhost', 80)"], check=True)
(io / "out" / "done").write_text("done")
assert (io / "out" / "done").stat().st_mode & 0o077 == 0
"""
    run = shop.run(workflow(attack(code, outputs={"artifacts": files("done")})))
    assert run.phase == "Succeeded", (run.values, (run.folder / "nodes/main/log").read_text())


@isolated
def test_a_step_that_is_one_file_does_not_read_the_files_beside_it(shop: Workshop) -> None:
    folder = shop.folder / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "rows.csv").write_text("rows")
    (folder / "own.py").write_text(tried({"beside": folder / "data" / "rows.csv"}))
    made = Environment(Path(sys.executable), {"PYTHONPATH": str(folder)}, code=(folder / "own.py",))
    runtime = ProcessRuntime(lambda image: made, Environments(shop.folder / "cache"))
    engine = Engine(shop.folder / "state", shop.folder / "environment", runtime)
    body = {"image": "own", "command": ["python", "-m", "own"]}
    run = engine.run([workflow({"name": "main", "container": body, "outputs": {"artifacts": files("tried")}})], "flow")
    assert outcome(run) == {"beside": "PermissionError"}


@isolated
def test_a_step_cannot_end_what_watches_it(shop: Workshop) -> None:
    code = f"""
import os, signal, sys
for pid in (os.getppid(), {os.getpid()}):
    for number in (signal.SIGKILL, signal.SIGSTOP):
        try:
            os.kill(pid, number)
        except PermissionError:
            continue
        sys.exit(9)
"""
    assert shop.run(workflow(attack(code))).phase == "Succeeded"


def test_a_link_or_a_pipe_of_a_step_is_not_an_output(shop: Workshop) -> None:
    secret, folder = shop.folder / "secret.pem", shop.folder / "secrets"
    folder.mkdir()
    for path in (secret, folder / "given"):
        path.write_text("a private key")
    linked = {
        "a file": f"os.symlink({str(secret)!r}, out + '/given')",
        "a folder": f"os.symlink({str(folder)!r}, out + '/given')",
        "the folder of outputs": f"os.rmdir(out); os.symlink({str(folder)!r}, out)",
        "a pipe": "os.mkfifo(out + '/given')",
        "a log": f"os.remove(out + '/../log'); os.symlink({str(secret)!r}, out + '/../log'); sys.exit(5)",
    }
    for name, code in linked.items():
        maker = attack(f"import os, sys; out = os.environ['LOCKGATE_IO'] + '/out'\n{code}", "maker")
        maker["outputs"] = {"artifacts": files("given")}
        maker["container"]["terminationMessagePolicy"] = "FallbackToLogsOnError"
        document = workflow(
            dag(
                "main",
                task("maker"),
                task("reader", given={"g": "tasks.maker.outputs.artifacts.given"}, depends="maker"),
            ),
            maker,
            container("copy", "g", "seen", name="reader", inputs=inputs("g"), outputs={"artifacts": files("seen")}),
        )
        run = shop.run(document)
        assert run.phase in ("Failed", "Error"), name
        texts = [path.read_bytes() for path in run.folder.rglob("*") if path.is_file()]
        assert not any(b"a private key" in text for text in texts), name


def sleeper(shop: Workshop, rest: str) -> str:
    """Return code that starts a process in its own session, twice removed, writes its pid, and goes on."""
    return f"""
import os, subprocess, sys, time
left = "import subprocess as s; print(s.Popen(['sleep', '600'], start_new_session=True, stderr=-3, stdout=-3).pid)"
made = subprocess.run([sys.executable, "-c", left], start_new_session=True, capture_output=True, text=True)
open({str(shop.place / "new")!r}, "w").write(made.stdout)
os.rename({str(shop.place / "new")!r}, {str(shop.place / "pid")!r})
{rest}
"""


def gone(pid: int) -> bool:
    """Return whether a process ends within some seconds."""
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    return not Path(f"/proc/{pid}").exists()


def started(shop: Workshop) -> int:
    """Return the pid that `sleeper` wrote, as soon as it has."""
    until = time.monotonic() + 60
    while not (shop.place / "pid").exists() and time.monotonic() < until:
        time.sleep(0.01)
    return int((shop.place / "pid").read_text())


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can follow the descendants of a process")


@linux
@pytest.mark.parametrize("rest", ["", "sys.exit(3)", "os.kill(os.getpid(), 9)"], ids=["done", "failed", "killed"])
def test_nothing_outlives_its_step(shop: Workshop, rest: str) -> None:
    shop.run(workflow(attack(sleeper(shop, rest))))
    assert not Path(f"/proc/{started(shop)}").exists()


@linux
@pytest.mark.parametrize(
    "spare", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"], ids=["", "deaf"]
)
def test_nothing_outlives_a_step_that_is_stopped(shop: Workshop, spare: str) -> None:
    code = sleeper(shop, f"{spare}\nprint('ready', file=sys.stderr, flush=True)\ntime.sleep(600)")

    def stop(event: Event) -> None:
        if isinstance(event, LogLine):
            ask_to_stop(shop.folder / "state" / "runs" / "one")

    engine = Engine(shop.folder / "state", shop.folder / "environment", shop.runtime(), stop, grace=0.5)
    assert engine.run([workflow(attack(code))], "flow", run_id="one").phase == "Failed"
    assert not Path(f"/proc/{started(shop)}").exists()


OTHER = """
import json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from lockgate.engine import Engine, Environment, Place, ProcessRuntime
from lockgate.images.environments import Environments
folder = Path(sys.argv[2])
made = Environment(Path(sys.executable), {})
runtime = ProcessRuntime(lambda image: made, Environments(folder / "cache"), lambda _: [Place(folder / "place", True)])
Engine(folder / "state", folder / "environment", runtime).run([json.loads(sys.argv[3])], "flow")
"""


@linux
def test_nothing_outlives_an_engine_that_is_killed(shop: Workshop) -> None:
    document = workflow(attack(sleeper(shop, "time.sleep(600)")))
    command = [sys.executable, "-c", OTHER, json.dumps(sys.path), str(shop.folder), json.dumps(document)]
    with subprocess.Popen(command) as engine:
        pid = started(shop)
        engine.send_signal(signal.SIGKILL)
    assert gone(pid)


def test_a_machine_without_isolation_says_so_in_the_record(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    from lockgate.engine.runtime import keeper

    monkeypatch.setattr(keeper, "isolates", lambda: False)
    assert shop.run(workflow(container(name="main"))).values["isolation"] == "none"


def test_what_a_run_copies_is_read_by_its_user_alone(shop: Workshop) -> None:
    document = workflow(
        dag("main", task("maker"), task("reader", given={"g": "tasks.maker.outputs.artifacts.g"}, depends="maker")),
        container("write", "g", "rows", name="maker", outputs={"artifacts": files("g")}),
        container("copy", "g", "seen", name="reader", inputs=inputs("g"), outputs={"artifacts": files("seen")}),
    )
    before = os.umask(0o022)  # as when the engine is used without the command line
    try:
        run = shop.run(document)
    finally:
        os.umask(before)
    assert run.folder.stat().st_mode & 0o077 == 0
    assert (run.folder / "nodes/reader/out/seen").stat().st_mode & 0o077 == 0
