"""The real app behind a real uvicorn on a real socket, in the test's own event loop."""

import asyncio
import io
import socket
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI

from sovits_serve.api.app import create_app
from sovits_serve.api.context import ApiContext
from sovits_serve.api.http_protocol import limited_protocol
from sovits_serve.api.recordings import Recordings
from sovits_serve.api.texts import Texts
from sovits_serve.audio.decode import decode_audio
from sovits_serve.config import ApiConfig, FrontendConfig, ModelConfig
from sovits_serve.frontend.text_frontend import TextFrontend
from tests.api.fake_dispatcher import DEADLINE_S, FakeDispatcher, dispatching, until

PROMPT = "The reference says this."


@dataclass
class Running:
    """A server, what is behind it, and a client."""

    app: FastAPI
    dispatcher: FakeDispatcher
    client: httpx.AsyncClient
    port: int
    voices: Path

    @property
    def context(self) -> ApiContext:
        """Return the app's context."""
        context: ApiContext = self.app.state.context
        return context

    @asynccontextmanager
    async def connected(
        self, body: bytes, path: str = "/v1/audio/speech", buffer_bytes: int = 1 << 16
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """POST a body over a plain socket; read the answer byte by byte."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.connect(("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=buffer_bytes)
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


@asynccontextmanager
async def serving(config: ApiConfig | None = None) -> AsyncIterator[Running]:
    """Run dispatcher and server; with one voice, whose name is default."""
    config = config or ApiConfig()
    with TemporaryDirectory(prefix="voices-") as directory:
        voices = Path(directory)
        (voices / "default.wav").write_bytes(recording())
        (voices / "default.txt").write_text(PROMPT)
        async with dispatching() as dispatcher:
            app = create_app(
                config, FrontendConfig(), ModelConfig(voices=directory), dispatcher.endpoint
            )
            # A process for each recording is a quarter of a second; test_recordings.py has it.
            app.state.context.builder.recordings = Recordings(decode_audio)
            app.state.context.builder.texts = warm_texts()
            async with _listening(app, config) as port:
                base_url = f"http://127.0.0.1:{port}"
                async with httpx.AsyncClient(base_url=base_url, timeout=DEADLINE_S) as client:
                    running = Running(app, dispatcher, client, port, voices)
                    engines = running.context.client
                    await until(lambda: bool(engines.status.models), "the first status")
                    yield running


@asynccontextmanager
async def _listening(app: FastAPI, config: ApiConfig) -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=limited_protocol(config),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]  # the test's
    task = asyncio.create_task(server.serve([listener]))
    try:
        await until(lambda: server.started or task.done(), "the server")
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listener.close()


@cache
def _frontend() -> TextFrontend:
    frontend = TextFrontend("v2")
    frontend.warm_up(["auto"])
    return frontend


def warm_texts() -> Texts:
    """Return texts whose languages are loaded; loading takes a third of a second."""
    return Texts(FrontendConfig(), {"v2": _frontend()})


def recording(seconds: float = 3.5, seed: int = 0) -> bytes:
    """Return a wav file of noise."""
    noise = np.random.default_rng(seed).integers(-3000, 3000, int(seconds * 16_000))
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(noise.astype("<i2").tobytes())
    return file.getvalue()
