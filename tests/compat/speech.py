"""The requests that the servers are asked, each different from all others in what it depends on."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import soundfile

from sovits_serve.config import FrontendConfig
from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.protocol.messages import (
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
)
from tests.compat.client import Answer, call
from tests.fake_engine import expected_pcm

NUM_RECORDINGS = 4
SECONDS_PER_PHONEME = 0.05  # of the fake engines
_CUT = "cut5"
_RATE_HZ = 16_000
_TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "今天天气很好，我们去公园走走。",
    "Numbers go up: twenty-one, thirty-four, fifty-five.",
    "请把窗户打开，让新鲜空气进来。",
)
LONG_TEXT = " ".join(
    f"This is sentence number {number} of a text that takes a while to be spoken."
    for number in range(1, 41)
)


@dataclass(frozen=True)
class Line:
    """One thing to say."""

    text: str
    language: str
    recording: str
    seed: int

    def path(self, *, is_streaming: bool = False) -> str:
        """Return it as a path of api_v2 that gives raw samples."""
        fields = {
            "text": self.text,
            "text_lang": self.language,
            "text_split_method": _CUT,
            "ref_audio_path": self.recording,
            "prompt_text": "",
            "prompt_lang": "en",
            "media_type": "raw",
            "seed": self.seed,
            "streaming_mode": int(is_streaming),
        }
        return "/tts?" + urlencode(fields)

    def expected_pcm(self) -> bytes:
        """Return what a fake engine says of it, worked out here."""
        segments = _frontend().segments(self.text, self.language, cut=_CUT)
        key = sha256(Path(self.recording).read_bytes()).hexdigest()
        request = SynthesisRequest(
            request_id="",
            segments=tuple(segment.phonemized() for segment in segments),
            reference=Reference(ReferenceAudio(b"", _RATE_HZ, key=key)),
            sampling=SamplingParams(seed=self.seed),
        )
        return expected_pcm(request, SECONDS_PER_PHONEME)


@cache
def _frontend() -> TextFrontend:
    return TextFrontend("v2", FrontendConfig())


def write_recordings(directory: Path) -> list[str]:
    """Make the recordings of four speakers; return their paths."""
    paths = []
    for index in range(NUM_RECORDINGS):
        noise = np.random.default_rng(index).standard_normal(4 * _RATE_HZ) * 0.05
        path = directory / f"speaker-{index}.wav"
        soundfile.write(path, noise, _RATE_HZ, subtype="PCM_16")
        paths.append(str(path))
    return paths


def make_lines(recordings: list[str], num_lines: int = 16) -> list[Line]:
    """Return lines of different text, voice and seed; neighbours share two of the three."""
    lines = []
    for index in range(num_lines):
        text = _TEXTS[(index // 4) % len(_TEXTS)]
        language = "en" if text.isascii() else "zh"
        recording = recordings[index % len(recordings)]
        lines.append(Line(text, language, recording, seed=index // 2))
    return lines


def say(port: int, line: Line, *, is_streaming: bool = False) -> Answer:
    """Have one line said."""
    return call(port, line.path(is_streaming=is_streaming))


def digest(answers: list[Answer]) -> str:
    """Return one hash of everything that was said, in order."""
    whole = sha256()
    for answer in answers:
        whole.update(len(answer.body).to_bytes(8, "big") + answer.body)
    return whole.hexdigest()[:16]
