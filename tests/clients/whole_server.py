"""A whole server as a user starts it (``sovits-serve serve``), with voices whose sound is known."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from sovits_serve.config import FrontendConfig
from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.protocol.messages import (
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
)
from sovits_serve.voices.demo import write_demo_recording
from tests.compat.processes import Running, base_environment, wait_until
from tests.fake_engine import expected_pcm

ROOT = Path(__file__).parents[2]
ORIGIN = "http://127.0.0.1:8000"  # of SillyTavern's page
RATE_HZ = 32_000  # of the fake engines, and of the built-in model
VOICES = ("alice", "bob", "default")
RECORDING = "Happy.wav"  # beside the voices, in a directory that requests may name
_START_TIMEOUT_S = 60.0
_READY = re.compile(r"is ready: (http://127\.0\.0\.1:(\d+))")


@dataclass(frozen=True)
class WholeServer:
    """A server that is ready."""

    port: int
    directory: Path
    log: Path

    @property
    def url(self) -> str:
        """Return where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def recordings(self) -> Path:
        """Return a directory, with capitals in its name, that requests may name files in."""
        return self.directory / "Recordings"

    def recording_of(self, speaker: str) -> Path:
        """Return the recording of a voice; or a file, by its name."""
        if speaker in VOICES:
            return self.directory / "voices" / f"{speaker}.wav"
        return self.recordings / speaker

    def expected(self, words: "Words", speaker: str, seed: int) -> bytes:
        """Return the samples that the fake engines make of words, with nothing of the server."""
        return expected_pcm(_request(words, self.recording_of(speaker), seed))


@dataclass(frozen=True)
class Words:
    """What is to be said, and how it is read."""

    text: str
    language: str = "auto"
    cut: str = "auto"


@contextmanager
def whole_server(
    directory: Path, settings: Mapping[str, str], *, has_fake_engines: bool = True
) -> Iterator[WholeServer]:
    """Start a server in an empty directory; nothing of it is left afterwards.

    With fake engines there are made-up voices; real ones have the built-in model and its voices.
    """
    voices, recordings = directory / "voices", directory / "Recordings"
    for index, path in enumerate(
        [*(voices / f"{name}.wav" for name in VOICES), recordings / RECORDING]
    ):
        path.parent.mkdir(exist_ok=True)
        write_demo_recording(path, seed=index)
        path.with_suffix(".txt").write_text("These words were said.", encoding="utf-8")
    environment = base_environment(
        PYTHONPATH=os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        SOVITS_SERVE_API_PORT="0",
        SOVITS_SERVE_API_WORKERS="1",
        SOVITS_SERVE_API_ALLOWED_PATHS=str(recordings),
        SOVITS_SERVE_SUPERVISOR_DEVICES="cpu",
        **settings,
    )
    if has_fake_engines:
        environment["SOVITS_SERVE_SUPERVISOR_ENGINE_MODULE"] = "tests.fake_engine"
        environment["SOVITS_SERVE_MODEL_VOICES"] = str(voices)
    log = directory / "server.txt"
    with Running([sys.executable, "-m", "sovits_serve", "serve"], environment, log) as running:
        wait_until(lambda: _is_settled(running), _START_TIMEOUT_S)
        found = _READY.search(log.read_text(errors="replace"))
        assert found, log.read_text(errors="replace")
        yield WholeServer(int(found[2]), directory, log)


def _is_settled(running: Running) -> bool:
    """Return whether the server is ready or has ended."""
    has_ended = running.exit_code is not None
    return has_ended or bool(_READY.search(running.log.read_text(errors="replace")))


def _request(words: Words, recording: Path, seed: int) -> SynthesisRequest:
    segments = _frontend().segments(words.text, words.language, cut=words.cut)
    return SynthesisRequest(
        request_id="",
        segments=tuple(segment.phonemized() for segment in segments),
        reference=Reference(
            ReferenceAudio(b"", RATE_HZ, key=sha256(recording.read_bytes()).hexdigest())
        ),
        sampling=SamplingParams(seed=seed),
    )


@cache
def _frontend() -> TextFrontend:
    return TextFrontend("v2", FrontendConfig())
