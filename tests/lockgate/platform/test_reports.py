"""The public port shows the report pages of a run to who has the link, and nothing else of the run."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from lockgate.platform.relay import Routes, application, client
from lockgate.records.address import page_token


async def fetch(runs: Path, path: str) -> tuple[int, str, str]:
    async with client() as upstream, ClientSession() as session:
        runner = web.AppRunner(
            application(
                Routes(find=lambda model: None, answer=lambda model, headers: None, models=list), upstream, runs
            )
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            async with session.get(f"http://{host}:{port}{path}") as answer:
                return answer.status, answer.headers.get("Content-Security-Policy", ""), await answer.text()
        finally:
            await runner.cleanup()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    report = tmp_path / "runs" / "7f3b2a" / "report"
    report.mkdir(parents=True)
    (report / "bias-audit.html").write_text("<h1>Refused</h1>")
    (tmp_path / "runs" / "7f3b2a" / "run.json").write_text("{}")
    (report / "secret.html.txt").write_text("no")
    return tmp_path / "runs"


def test_a_page_is_shown_and_may_run_nothing(runs: Path) -> None:
    status, policy, text = asyncio.run(fetch(runs, f"/runs/{page_token(runs.parent)}/7f3b2a/bias-audit.html"))
    assert (status, text) == (200, "<h1>Refused</h1>")
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize(
    "path",
    [
        "7f3b2a/none.html",
        "7f3b2a/run.json",
        "7f3b2a/secret.html.txt",
        "7f3b2a/%2e%2e%2frun.html",
        "..%2f7f3b2a/bias-audit.html",
    ],
)
def test_nothing_else_is(runs: Path, path: str) -> None:
    status, _, _ = asyncio.run(fetch(runs, f"/runs/{page_token(runs.parent)}/{path}"))
    assert status == 404


@pytest.mark.parametrize("token", ["", "x/", "{}x/", "{}%00/", "%C3%A9/", "../runs/", "-/"])
def test_another_user_of_the_machine_who_knows_the_run_gets_no_page(runs: Path, token: str) -> None:
    path = "/runs/" + token.format(page_token(runs.parent))
    status, _, text = asyncio.run(fetch(runs, f"{path}7f3b2a/bias-audit.html"))
    assert status == 404
    assert "Refused" not in text


def test_only_the_user_can_read_the_token(runs: Path) -> None:
    token = page_token(runs.parent)
    assert (token, len(token) >= 32) == (page_token(runs.parent), True)
    (file,) = (path for path in runs.parent.iterdir() if path.is_file())
    assert file.stat().st_mode & 0o777 == 0o600
