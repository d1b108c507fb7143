"""What a program can see: variables, volumes, its folder; and what it cannot."""

import os
from pathlib import Path

import pytest

from lockgate.engine import Engine, Environment, ProcessRuntime
from lockgate.images.environments import Environments

from .workshop import Json, Workshop, container, workflow


def keys(shop: Workshop, name: str, **values: str) -> None:
    """Create a ConfigMap or Secret."""
    (shop.folder / "environment" / name).mkdir()
    for key, value in values.items():
        (shop.folder / "environment" / name / key).write_text(value)


def test_variables_come_from_the_manifest_and_little_else(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNRELATED", "x")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    keys(shop, "settings", level="high")
    keys(shop, "token", value="t0k3n")
    names = "A,B,LEVEL,TOKEN,NONE,PLACE,UNRELATED,HTTPS_PROXY,LOCKGATE_IO,TMPDIR"
    env: list[Json] = [
        {"name": "A", "value": "a"},
        {"name": "B", "value": "$(A)b $(C) $$(A)"},
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "token", "key": "none", "optional": True}}},
        {"name": "PLACE", "value": "/lockgate/in,/lockgated,x/lockgate"},
    ]
    run = shop.run(workflow(container("env", names, "log", '{"a": "$(A)"}', name="main", env=env)))
    folder = str(run.folder / "nodes/main")
    (first, second) = shop.log(run, run.id)
    assert first["env"] == {
        "A": "a",
        "B": "ab $(C) $(A)",
        "LEVEL": "high",
        "TOKEN": "t0k3n",
        "NONE": None,
        "PLACE": f"{folder}/in,/lockgated,x/lockgate",
        "UNRELATED": None,
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "LOCKGATE_IO": folder,
        "TMPDIR": f"{folder}/tmp",
    }
    assert second == {"a": "a"}


def test_volumes_are_there_while_the_program_runs_and_not_after(shop: Workshop) -> None:
    keys(shop, "settings", level="high")
    keys(shop, "signing", private="my-key")
    volumes: list[Json] = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "none", "secret": {"secretName": "none", "optional": True}},
        {"name": "space", "emptyDir": {"sizeLimit": "1Gi"}},
        {
            "name": "token",
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                    {
                        "downwardAPI": {
                            "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                        }
                    },
                ]
            },
        },
    ]
    mounts = [
        {"name": name, "mountPath": f"/lockgate/{name}"} for name in ("settings", "none", "space", "key", "token")
    ]
    run = shop.run(
        workflow(
            container(
                *("see", "settings/level", "see", "key/private", "see", "none/x", "see", "space", "see", "token"),
                name="main",
                volumeMounts=[*mounts, {"name": "space", "mountPath": "/tmp"}],
                volumes=[{"name": "key", "secret": {"secretName": "signing"}}],
            ),
            volumes=volumes,
        )
    )
    seen = {line["path"]: (line["there"], line["text"]) for line in shop.log(run, run.id)}
    assert seen == {
        "settings/level": (True, "high"),
        "key/private": (True, "my-key"),
        "none/x": (False, None),
        "space": (True, None),
        "token": (True, None),
    }
    left = {path.name for path in (run.folder / "nodes/main").iterdir()}
    assert left == {"in", "out", "space", "token", "log", "stdout"}
    assert (shop.folder / "environment/signing/private").read_text() == "my-key"


def test_paths_of_the_container_are_paths_of_this_machine(shop: Workshop) -> None:
    body = container(
        "args", "{{inputs.artifacts.x.path}}", "--out=/lockgate/out/y", "/lockgate/out:/lockgate/in", "/var/lockgate/x",
        name="main", inputs={"artifacts": [{"name": "x", "path": "/lockgate/in/x", "raw": {"data": ""}}]},
    )  # fmt: skip
    run = shop.run(workflow(body))
    folder = run.folder / "nodes/main"
    assert (folder / "out/args").read_text() == (
        f'["{folder}/in/x", "--out={folder}/out/y", "{folder}/out:{folder}/in", "/var/lockgate/x"]'
    )


def test_a_program_that_does_not_exist(shop: Workshop) -> None:
    body = container(name="main")
    body["container"]["command"] = ["no-such-program"]
    run = shop.run(workflow(body))
    assert (run.phase, run.nodes[0].outputs) == ("Failed", {"exitCode": "64"})
    assert 'exec: "no-such-program": executable file not found in $PATH' in run.message


def test_lines_that_are_no_json_and_no_text_are_told_too(shop: Workshop) -> None:
    shop.run(workflow(container("log", "plain", "log", '{"event": "x"}', "log", "[1]", name="main")))
    said = [event.values for event in shop.events if type(event).__name__ == "LogLine"]  # type: ignore[union-attr]
    assert said == [{"text": "plain"}, {"event": "x"}, {"text": "[1]"}]


def test_files_are_linked_only_where_permissions_protect_them(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lockgate.engine.runtime import files as staging

    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("true")
    monkeypatch.setattr(staging, "LARGE", 1)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    staging._copy_file(source, target)
    assert source.stat().st_ino == target.stat().st_ino
    assert source.stat().st_mode & 0o222 == 0
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    staging._copy_file(source, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_ino != source.stat().st_ino


def test_a_real_environment_is_made_once_and_has_its_lock_alone(shop: Workshop) -> None:
    # A local package and its hash: nothing is downloaded.
    wheel, digest = _wheel(shop.folder)
    lock = shop.folder / "image" / "requirements.lock"
    lock.parent.mkdir()
    lock.write_text(f"tiny-lock @ {wheel.as_uri()} \\\n    --hash=sha256:{digest}\n")
    (shop.folder / "code" / "uses.py").write_text("import tiny_lock, sys; print(tiny_lock.WORD, sys.prefix)")
    (shop.folder / "code" / "lacks.py").write_text("import pytest")
    import sys

    made = Environment(Path(sys.executable), {"PYTHONPATH": str(shop.folder / "code")}, lock)
    runtime = ProcessRuntime(lambda image: made, Environments(shop.folder / "cache"))
    engine = Engine(shop.folder / "state", shop.folder / "environment", runtime, shop.events.append)

    def body(module: str) -> Json:
        return workflow({"name": "main", "container": {"image": "tiny", "command": ["python", "-m", module]}})

    first = engine.run([body("uses")], "flow")
    word, prefix = (first.folder / "nodes/main/stdout").read_text().split()
    assert (first.phase, word) == ("Succeeded", "tiny")
    assert Path(prefix).parent == shop.folder / "cache"
    assert engine.run([body("lacks")], "flow").phase == "Failed", "what is not in the lock cannot be imported"
    assert [type(event).__name__ for event in shop.events].count("Preparing") == 1


def _wheel(folder: Path) -> tuple[Path, str]:
    import hashlib
    import zipfile

    wheel = folder / "tiny_lock-1.0-py3-none-any.whl"
    info = "tiny_lock-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_lock.py", "WORD = 'tiny'\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-lock\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"tiny_lock.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return wheel, hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_an_environment_that_cannot_be_made_says_why(shop: Workshop) -> None:
    import sys

    from lockgate.errors import OutsideFailed

    wheel, _ = _wheel(shop.folder)
    lock = shop.folder / "image" / "requirements.lock"
    lock.parent.mkdir()
    lock.write_text(f"tiny-lock @ {wheel.as_uri()} --hash=sha256:{'0' * 64}\n")
    made = Environment(Path(sys.executable), {}, lock)
    runtime = ProcessRuntime(lambda image: made, Environments(shop.folder / "cache"))
    with pytest.raises(OutsideFailed, match=r"cannot install the packages of image/requirements\.lock") as raised:
        runtime.prepare(["tiny"], lambda what: None)
    assert "ash mismatch" in raised.value.message
    assert raised.value.exit_code == 4


def test_whoever_configured_pip_has_configured_enough(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    file = shop.folder / "pip.conf"
    extra = "extra-index-url =\n  https://two.example\n  https://3.example\n"
    file.write_text("[global]\nindex-url = https://one.example/simple\n" + extra)
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_HTTP_TIMEOUT", "SSL_CERT_FILE", "PIP_INDEX_URL", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_CERT", "/etc/ca.pem")
    monkeypatch.setenv("PIP_TIMEOUT", "7")
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "9")
    settings = Environments(shop.folder / "cache").settings
    assert settings["UV_DEFAULT_INDEX"] == "https://one.example/simple"
    assert settings["UV_INDEX"] == "https://two.example https://3.example"
    assert settings["SSL_CERT_FILE"] == "/etc/ca.pem"
    assert settings["UV_HTTP_TIMEOUT"] == "9", "uv's own setting takes precedence"
