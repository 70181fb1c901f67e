"""Who speaks in an evaluation: a teacher, or a model through the public Python API.

A voice is named ``SPEAKER-LANGUAGE`` (``ada-en``) or ``default``. Samples are float32 (T,) in
[-1, 1].
"""

import zlib
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from sovits_serve.audio.resample import soxr_resample
from sovits_serve.audio.waveform import Waveform
from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.config import EngineConfig
from sovits_serve.engine.batch import Batch, StepResults
from sovits_serve.engine.core import Runner
from sovits_serve.engine.loader import load_models
from sovits_serve.engine.request import Request, Sequence
from sovits_serve.models.reference.features import ReferenceEncoder, prepare_reference
from sovits_serve.models.reference.hubert import SSL_RATE_HZ
from sovits_serve.protocol.messages import Reference
from sovits_serve.synthesizer import SpeechOptions, Synthesizer, load_reference
from sovits_serve.voices.registry import VoiceRegistry
from sovits_serve.voices.voice import VoiceDefaults
from tools.builtin_voice import teacher
from tools.builtin_voice.measures import FloatArray
from tools.builtin_voice.measures_tokens import TokenArray, code_distances

Samples = npt.NDArray[np.float32]

# Who is compared with the voice `default`: nobody else says Mandarin as ada's teacher would.
_DEFAULT_TEACHERS = {"en": "ada", "zh": "mei"}


@dataclass(frozen=True)
class Speech:
    """What somebody said; ``tokens`` where a model made them, all segments after one another."""

    samples: Samples
    rate_hz: int
    tokens: TokenArray | None = None


class Speaks(Protocol):
    """Whatever can be evaluated."""

    def speak(self, text: str, voice: str, language: str) -> Speech:
        """Say a text."""


def teacher_of(voice: str, language: str) -> str:
    """Return the speaker whom a voice should sound like."""
    if voice == "default":
        return _DEFAULT_TEACHERS[language]
    return voice.partition("-")[0]


class TeacherSpeech:
    """The teachers, as if they were a model."""

    def speak(self, text: str, voice: str, language: str) -> Speech:
        """Say a text with the voice's teacher."""
        return Speech(*teacher.synthesize(text, teacher_of(voice, language), language))


class ModelSpeech:
    """A model directory with ``voices/``, in this process. The same text is always said alike."""

    def __init__(self, directory: Path, *, num_threads: int) -> None:
        config = EngineConfig(device="cpu", num_threads=num_threads)
        self._synthesizer = Synthesizer.load(directory, config=config)
        self._tokens = _TokenRecorder(self._synthesizer.engine.runner)
        self._synthesizer.engine.runner = self._tokens
        self._voices = VoiceRegistry(directory / "voices")
        self._references: dict[str, Reference] = {}

    def speak(self, text: str, voice: str, language: str) -> Speech:
        """Say a text as one segment."""
        segments = self._synthesizer.segments(text, language, cut="cut0")
        speech = self._synthesizer.synthesize(
            segments, self.reference(voice), self._options(text, voice)
        )
        samples = (speech.samples / 32_768).astype(np.float32)
        return Speech(samples, speech.sample_rate_hz, self._tokens.take())

    def pieces(self, text: str, voice: str, language: str) -> Generator[Samples, None, None]:
        """Say a text, cut into segments as usual, and yield the audio as it is made."""
        segments = self._synthesizer.segments(text, language)
        stream = self._synthesizer.stream(
            segments, self.reference(voice), self._options(text, voice)
        )
        with closing(stream):
            for chunk in stream:
                yield (np.frombuffer(chunk.pcm, dtype="<i2") / 32_768).astype(np.float32)
        self._tokens.take()

    @property
    def rate_hz(self) -> int:
        """Return the rate of the pieces."""
        return self._synthesizer.sample_rate_hz

    def reference(self, name: str) -> Reference:
        """Return the recording of a voice, read once.

        Raises:
            UnknownVoice: there is none of that name.
        """
        if name not in self._references:
            voice = self._voices.get(name)
            prompt = None
            if voice.prompt_text is not None:
                prompt = self._synthesizer.prompt(voice.prompt_text, voice.prompt_language)
            self._references[name] = load_reference(voice.reference, prompt, voice.auxiliary)
        return self._references[name]

    def _options(self, text: str, voice: str) -> SpeechOptions:
        return speech_options(self._voices.get(voice).defaults, seed=zlib.crc32(text.encode()))


def speech_options(defaults: VoiceDefaults, *, seed: int) -> SpeechOptions:
    """Return how a voice speaks to someone who asks for nothing but that seed."""
    chosen = {
        name: getattr(defaults, name)
        for name in ("speed", "top_k", "top_p", "temperature", "repetition_penalty")
        if getattr(defaults, name) is not None
    }
    return SpeechOptions(seed=seed, **chosen)


class _TokenRecorder:
    """Stands before an engine's runner and keeps the tokens of requests that end."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._tokens: list[int] = []

    def take(self) -> TokenArray:
        """Return what has been generated since the last time."""
        tokens, self._tokens = self._tokens, []
        return np.array(tokens, dtype=np.int64)

    def execute(self, batch: Batch) -> StepResults:
        """Pass on."""
        return self._runner.execute(batch)

    def release(self, sequences: list[Sequence]) -> None:
        """Pass on."""
        self._runner.release(sequences)

    def close(self, requests: list[Request]) -> None:
        """Keep the tokens and pass on."""
        for request in requests:
            for sequence in request.sequences:
                self._tokens += sequence.tokens
        self._runner.close(requests)

    def check_integrity(self, running: list[Sequence]) -> None:
        """Pass on."""
        self._runner.check_integrity(running)


class ModelEncoder:
    """The encoders of a model directory: speech to semantic tokens, speech to a style."""

    def __init__(self, directory: Path) -> None:
        files = locate_model(directory)
        self._models = load_models(files, torch.device("cpu"), torch.float32)
        self._references = ReferenceEncoder(self._models.hubert, None)
        codebook = self._models.sovits.tokenizer.codebook.embed
        self.code_distances: FloatArray = code_distances(codebook.float().numpy())

    @torch.inference_mode()
    def tokens(self, speech: Speech) -> TokenArray:
        """Return the semantic tokens of a recording of any length."""
        wave = soxr_resample(speech.samples, speech.rate_hz, SSL_RATE_HZ)
        ssl = self._models.hubert.encode([torch.from_numpy(wave.copy())])[0][None]
        tokens, lengths = self._models.sovits.extract_prompt_semantic(
            ssl, torch.tensor([ssl.size(1)])
        )
        return np.asarray(tokens[0, : int(lengths[0])].numpy())

    @torch.inference_mode()
    def style(self, speech: Speech) -> FloatArray:
        """Return the style (D_style) of a recording as a reference."""
        waveform = Waveform(speech.samples[None], speech.rate_hz)
        prepared = prepare_reference(waveform, is_auxiliary=True)
        spectrogram = self._references.encode([prepared])[0].spectrogram
        length = torch.tensor([spectrogram.size(1)])
        return np.asarray(
            self._models.sovits.encode_style(spectrogram[None], length)[0].float().numpy()
        )
