"""The programs of `deploy` together with the supervisor, while a client uses the model."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

from aiohttp import ClientError, ClientSession

from tests.lockgate.platform.conftest import World
from tests.steps.version_bench import Bench

ROOT = Path(__file__).parents[3]
CODE = os.pathsep.join(str(ROOT / "steps" / name) for name in ("sdk", "deploy"))


def run(bench: Bench, program: str, *settings: str, run: str, **files: Path | bytes) -> None:
    """Run a program in its own process, with its own files."""
    io = bench.root / "io" / f"{run}-{program}"
    (io / "in").mkdir(parents=True)
    (io / "environment").symlink_to(bench.environment)
    if program in bench.keys:
        (io / "key").mkdir()
        (io / "key" / "private.pem").symlink_to(bench.keys[program])
    for name, content in files.items():
        if isinstance(content, bytes):
            (io / "in" / name).write_bytes(content)
        elif content.is_dir():
            shutil.copytree(content, io / "in" / name)
        else:
            shutil.copy(content, io / "in" / name)
    env = {**os.environ, "LOCKGATE_IO": str(io), "LOCKGATE_RUN": run, "LOCKGATE_UID": run, "PYTHONPATH": CODE}
    command = [sys.executable, "-m", "lockgate_deploy", program, *settings]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def roll_out(bench: Bench, folder: Path, name: str, promoting: list[str]) -> None:
    """Do what the workflow does with a bundle that passed its gates."""
    judged = {"bundle": folder, "spec": bench.spec, "policy": bench.policy}
    run(bench, "deploy", run=name, **judged)
    staged = bench.root / "io" / f"{name}-deploy" / "out" / "staged"
    promoting.append(bench.digest(folder))
    smoke = bench.smoke(folder, staged=staged.read_bytes())
    run(bench, "promote", run=name, staged=staged, smoke=smoke, **judged)
    run(bench, "conclude", "--model", bench.model, "--status", "Succeeded", run=name)


def test_users_notice_nothing_but_the_new_digest(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "bench")
    world = World(tmp_path / "platform", (tmp_path / "bench" / "store").as_uri())
    (world.environment / "trust.json").write_bytes(bench.trust.to_bytes())
    address = world.start().address
    try:
        promoting: list[str] = []
        first = bench.bundle(mark="first")
        roll_out(bench, first, "r1", promoting)
        live = bench.get("live.json")
        second = bench.bundle({"bundle": live["bundle"], "generation": live["generation"]}, mark="second")
        answers, failures = asyncio.run(_use(f"{address}/v2/models/{bench.model}/infer", bench, second, promoting))
    finally:
        world.stop()
    assert failures == []
    assert all(bundle in promoted for bundle, promoted in answers), "a bundle answered before it was promoted"
    assert [answers[0][0], answers[-1][0]] == [bench.digest(first), bench.digest(second)]
    assert bench.get("candidate.json") is None


async def _use(
    url: str, bench: Bench, folder: Path, promoting: list[str]
) -> tuple[list[tuple[str, tuple[str, ...]]], list[str]]:
    """Send 50 requests per second from before deploy until after conclude; return the serving bundle of each."""
    answers: list[tuple[str, tuple[str, ...]]] = []
    failures: list[str] = []

    async def ask(session: ClientSession) -> None:
        try:
            async with session.post(url, json={"inputs": []}) as answer:
                body = await answer.json()
                if answer.status != 200:
                    failures.append(str(body))
                else:
                    answers.append((body["parameters"]["bundle"], tuple(promoting)))
        except ClientError as error:
            failures.append(repr(error))

    async with ClientSession() as session:
        await ask(session)
        asked = []
        rollout = asyncio.create_task(asyncio.to_thread(roll_out, bench, folder, "r2", promoting))
        while not rollout.done():
            asked.append(asyncio.create_task(ask(session)))
            await asyncio.sleep(0.02)
        await rollout
        await asyncio.gather(*asked)
        await ask(session)
    return answers, failures
