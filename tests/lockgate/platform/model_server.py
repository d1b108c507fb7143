"""A small model server for the platform's tests: it has the readiness path and returns its bundle's digest.

`behaviour.json` in the bundle makes it misbehave: {"exit": CODE, "say": LINE, "never_ready": true, "slow": SECONDS,
"leaves": TEXT, "contested": true}. The last tries to take its own address, as another process would, before it listens.
"""

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from socket import socket

from aiohttp import web
from aiohttp.typedefs import Handler

TAKE = """
import socket, sys
taker = socket.socket()
taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
taker.bind(("127.0.0.1", int(sys.argv[1])))
taker.listen()
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--metrics-socket", type=int, required=True)
    arguments = parser.parse_args()
    manifest = (arguments.bundle / "manifest.json").read_bytes()
    wanted = arguments.bundle / "behaviour.json"
    behaviour = json.loads(wanted.read_bytes()) if wanted.exists() else {}
    print(behaviour.get("say", "hello"), flush=True)
    if "exit" in behaviour:
        sys.exit(behaviour["exit"])
    sock = socket(fileno=arguments.socket)
    if "leaves" in behaviour:
        Path(os.environ["TMPDIR"], "copy").write_text(str(behaviour["leaves"]))
    if behaviour.get("contested"):
        done = subprocess.run([sys.executable, "-c", TAKE, str(sock.getsockname()[1])], check=False)
        print("the port was taken" if done.returncode == 0 else "the port was not taken", flush=True)
    app = application(json.loads(manifest)["model"], f"sha256:{hashlib.sha256(manifest).hexdigest()}", behaviour)
    web.run_app(app, sock=sock, access_log=None, print=None, handle_signals=True)


def application(model: str, bundle: str, behaviour: dict[str, object]) -> web.Application:
    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"ready": True}, status=503 if behaviour.get("never_ready") else 200)

    answered: list[str] = []

    async def infer(request: web.Request) -> web.Response:
        answered.append((await request.read()).decode("latin-1"))
        await asyncio.sleep(float(str(behaviour.get("slow", 0))))
        return web.json_response({"parameters": {"bundle": bundle}, "pid": os.getpid()})

    async def asked(_: web.Request) -> web.Response:
        return web.json_response(answered)

    async def echo(request: web.Request) -> web.Response:
        """Return the received method, target, headers and body."""
        body = await request.read()
        headers = [[name, value] for name, value in request.headers.items()]
        seen = {
            "method": request.method,
            "target": request.raw_path,
            "headers": headers,
            "body": body.decode("latin-1"),
        }
        answer = web.json_response(seen, status=418, headers={"X-Own": "kept", "Keep-Alive": "timeout=9"})
        answer.set_cookie("one", "1")
        answer.set_cookie("two", "2")
        return answer

    async def count(request: web.Request) -> web.StreamResponse:
        """Respond to each chunk of the request at once with the number of bytes received so far."""
        response = web.StreamResponse()
        await response.prepare(request)
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
            await response.write(f"{size}\n".encode())
        return response

    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        os._exit(9)

    async def crash(_: web.Request) -> web.Response:
        os._exit(9)

    @web.middleware
    async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer errors as the real model server does."""
        try:
            return await handler(request)
        except web.HTTPException as error:
            return web.json_response({"error": error.reason}, status=error.status)
        except web.RequestPayloadError:
            return web.json_response({"error": "the body is not what its header says"}, status=400)

    app = web.Application(client_max_size=2**30, middlewares=[errors_as_json])
    app.router.add_get(f"/v2/models/{model}/ready", ready)
    app.router.add_post(f"/v2/models/{model}/infer", infer)
    app.router.add_get(f"/v2/models/{model}/asked", asked)
    app.router.add_route("*", f"/v2/models/{model}/echo", echo)
    app.router.add_post(f"/v2/models/{model}/count", count)
    app.router.add_post(f"/v2/models/{model}/break-off", break_off)
    app.router.add_post(f"/v2/models/{model}/crash", crash)
    return app


if __name__ == "__main__":
    main()
