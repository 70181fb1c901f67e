"""The app as a whole: what it is without engines, under any server, and when something breaks."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
from fastapi import FastAPI
from starlette.requests import Request

from sovits_serve.api.app import create_app
from sovits_serve.config import ApiConfig, FrontendConfig, ModelConfig
from tests.api.app_server import Running, recording, serving, warm_texts
from tests.api.fake_dispatcher import DEADLINE_S

ROOT = Path(__file__).parents[2]
BODY = {"input": "Hello there."}


def _app(voices: Path) -> FastAPI:
    (voices / "default.wav").write_bytes(recording())
    return create_app(
        ApiConfig(), FrontendConfig(), ModelConfig(voices=str(voices)), "ipc:///nowhere/d.sock"
    )


def test_import_builds_nothing_and_loads_no_torch() -> None:
    """Importing the module is cheap; ``app`` comes into being when a server uses it."""
    code = (
        "import sys, sovits_serve.api.app as module\n"
        "assert not module._app_from_environment.cache_info().currsize\n"
        "app = module.app\n"
        "assert app.state.context.client.endpoint == 'ipc:///tmp/x/d.sock'\n"
        "assert app.state.context.config.port == 1234\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "SOVITS_SERVE_ENDPOINT": "ipc:///tmp/x/d.sock",
        "SOVITS_SERVE_API_PORT": "1234",
    }
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)


def test_without_engines_it_lives_and_says_why(tmp_path: Path) -> None:
    """Nothing listens at the endpoint: lists are empty, speech is a 503 that says what to start."""

    async def main() -> None:
        app = _app(tmp_path)
        app.state.context.builder.texts = warm_texts()
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://127.0.0.1"
            ) as client,
        ):
            models = await client.get("/v1/models")
            speech = await client.post("/v1/audio/speech", json=BODY)

        assert models.json()["data"] == []
        assert speech.status_code == 503
        assert int(speech.headers["retry-after"]) >= 1
        assert "sovits-serve engines" in speech.json()["error"]["message"]

    asyncio.run(main())


def test_a_bug_is_a_500_in_the_envelope(tmp_path: Path) -> None:
    """An exception nobody foresaw tells clients nothing of the inside."""

    async def main() -> None:
        app = _app(tmp_path)

        @app.get("/v1/broken")
        async def broken(request: Request) -> None:
            raise ZeroDivisionError("secret")

        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            response = await client.get("/v1/broken")

        assert response.status_code == 500
        assert response.json()["error"]["code"] == "internal_error"
        assert "secret" not in response.text

    asyncio.run(main())


def test_parameters_that_fastapi_checks_are_a_400(tmp_path: Path) -> None:
    """FastAPI's own 422 has no place here."""

    async def main() -> None:
        app = _app(tmp_path)

        @app.get("/v1/typed")
        async def typed(number: int) -> int:
            return number

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            response = await client.get("/v1/typed?number=x")

        assert response.status_code == 400
        assert response.json()["error"]["param"] == "number"

    asyncio.run(main())


def test_engines_that_come_later_are_used() -> None:
    """A dispatcher that is restarted is found again; requests in between are refused, not hung."""

    async def test(running: Running) -> None:
        await running.dispatcher.stop()
        refused = await running.client.post("/v1/audio/speech", json=BODY)
        await running.dispatcher.start()
        async with asyncio.timeout(DEADLINE_S):
            while True:
                response = await running.client.post("/v1/audio/speech", json=BODY)
                if response.status_code == 200:
                    break
                assert response.status_code == 503

        assert refused.status_code == 503

    async def main() -> None:
        async with serving() as running:
            await test(running)

    asyncio.run(main())
