"""Offline use: text in, audio out, in this process. No server, no sockets.

``Synthesizer`` drives an ``EngineCore`` in the caller's thread. It is not thread-safe; several
requests of one process are batched by submitting them together (``synthesize_batch``).
"""

import secrets
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from sovits_serve.audio.decode import AudioLimits, decode_audio
from sovits_serve.builtin import builtin_model_directory
from sovits_serve.config import EngineConfig, FrontendConfig
from sovits_serve.errors import ConfigError, InvalidRequest, ServingError, SynthesisError
from sovits_serve.frontend.symbols import phone_ids
from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.protocol.messages import (
    Aborted,
    AudioChunk,
    Failed,
    Finished,
    Message,
    PhonemizedText,
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
)
from sovits_serve.voices.registry import VoiceRegistry
from sovits_serve.voices.voice import Voice

if TYPE_CHECKING:
    from sovits_serve.engine.core import EngineCore


@dataclass(frozen=True)
class Speech:
    """What was said: int16 mono samples, their rate, and how many tokens each segment took."""

    samples: NDArray[np.int16]
    sample_rate_hz: int
    num_tokens: tuple[int, ...]
    seed: int

    @property
    def duration_s(self) -> float:
        """Return the length in seconds."""
        return len(self.samples) / self.sample_rate_hz


@dataclass(frozen=True)
class SpeechOptions:
    """How to speak; the defaults are upstream's. ``seed`` None draws one."""

    seed: int | None = None
    top_k: int | None = 15
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.35
    max_tokens: int | None = None
    speed: float = 1.0
    segment_pause_s: float = 0.3
    early_tokens: int | None = None  # of a stream; see ``EngineConfig.early_tokens``

    def sampling(self) -> SamplingParams:
        """Return the sampling part, with a seed drawn if none was given."""
        return SamplingParams(
            seed=secrets.randbits(63) if self.seed is None else self.seed,
            top_k=self.top_k,
            top_p=self.top_p,
            temperature=self.temperature,
            repetition_penalty=self.repetition_penalty,
            max_tokens=self.max_tokens,
        )


class SpeechFailed(SynthesisError):
    """A request failed in the engine; ``engine_code`` is the engine's stable error code."""

    def __init__(self, engine_code: str, message: str) -> None:
        super().__init__(message)
        self.engine_code = engine_code


class Synthesizer:
    """Speaks with one model. Make it with ``Synthesizer.load``.

    Example::

        synthesizer = Synthesizer.load()
        speech = synthesizer.synthesize(synthesizer.segments("你好。"), synthesizer.voice())
    """

    def __init__(
        self,
        engine: "EngineCore",
        *,
        symbol_version: str,
        sample_rate_hz: int,
        frontend_config: FrontendConfig | None = None,
        voices: Path | None = None,
    ) -> None:
        self.engine = engine
        self.voices = voices
        self.symbol_version = symbol_version
        self.sample_rate_hz = sample_rate_hz
        self.frontend = TextFrontend(symbol_version, frontend_config)
        self._num_requests = 0
        self._inboxes: dict[str, deque[Message]] = {}

    @classmethod
    def load(
        cls,
        directory: Path | str | None = None,
        *,
        t2s: Path | str | None = None,
        sovits: Path | str | None = None,
        pretrained: Path | str | None = None,
        config: EngineConfig | None = None,
        frontend_config: FrontendConfig | None = None,
    ) -> Self:
        """Load a model; see ``checkpoints.locate.locate_model`` for what ``directory`` holds.

        Where neither ``directory`` nor ``t2s`` nor ``sovits`` is given, it is the built-in one.

        Raises:
            CheckpointError: a file is missing or not what it should be.
            ConfigError: a setting does not fit this machine.
        """
        # Loads torch: only whoever makes a synthesizer pays for it.
        from sovits_serve.checkpoints.locate import locate_model
        from sovits_serve.engine.loader import load_engine

        if directory is None and t2s is None and sovits is None:
            if pretrained is not None:
                raise ConfigError("pretrained: is for a model of your own, and none is given")
            directory = builtin_model_directory()
        files = locate_model(
            _path(directory), t2s=_path(t2s), sovits=_path(sovits), pretrained=_path(pretrained)
        )
        loaded = load_engine(files, config or EngineConfig())
        return cls(
            loaded.core,
            symbol_version=loaded.symbol_version,
            sample_rate_hz=loaded.sample_rate_hz,
            frontend_config=frontend_config,
            voices=None if directory is None else Path(directory) / "voices",
        )

    def voice(self, name: str = "default") -> Reference:
        """Return a voice of ``voices/`` in the model's directory: its recordings and transcript.

        Raises:
            UnknownVoice: there is none of that name; the message names some that there are.
            InvalidRequest: it speaks with another model than the directory's.
            RequestError: its recording or its transcript cannot be used.
            OSError: a file cannot be read.
        """
        voice = find_voice(self.voices, name)
        prompt = None
        if voice.prompt_text is not None:
            prompt = self.prompt(voice.prompt_text, voice.prompt_language)
        return load_reference(voice.reference, prompt, voice.auxiliary)

    def options(self, name: str = "default", **chosen: Any) -> SpeechOptions:
        """Return how a voice speaks: ``chosen``, else its own defaults, else those of all.

        Raises:
            UnknownVoice: there is no voice of that name.
        """
        defaults = find_voice(self.voices, name).defaults
        own = {
            field.name: value
            for field in fields(SpeechOptions)
            if (value := getattr(defaults, field.name, None)) is not None
        }
        return SpeechOptions(**{**own, **chosen})

    def segments(
        self, text: str, language: str = "auto", *, cut: str | None = None
    ) -> list[PhonemizedText]:
        """Turn text into segments; see ``TextFrontend.segments`` for languages and cuts.

        Raises:
            RequestError: something about the text, the language or the cut is wrong.
        """
        found = self.frontend.segments(text, language, cut=cut)
        return [segment.phonemized() for segment in found]

    def prompt(self, text: str, language: str = "auto") -> PhonemizedText:
        """Turn the transcript of a reference recording into what ``load_reference`` takes.

        Raises:
            RequestError: something about the text or the language is wrong.
        """
        return self.frontend.prompt(text, language).phonemized()

    def phonemes(self, phonemes: str) -> PhonemizedText:
        """Turn phonemes separated by blanks into a segment for this model.

        Raises:
            InvalidRequest: a phoneme is not in the model's table.
        """
        symbols = phonemes.split()
        if not symbols:
            raise InvalidRequest("phonemes: empty")
        return PhonemizedText(phone_ids(symbols, self.symbol_version), text=phonemes)

    def stream(
        self,
        segments: Sequence[PhonemizedText],
        reference: Reference,
        options: SpeechOptions | None = None,
        *,
        is_streaming: bool = True,
    ) -> Generator[AudioChunk, None, Finished]:
        """Yield audio as it becomes ready; closing the generator aborts the request.

        Raises:
            RequestError: something about the request is wrong.
            SpeechFailed: the engine failed.
        """
        request = self._request(segments, reference, options or SpeechOptions(), is_streaming)
        inbox = self._add(request)
        try:
            while True:
                message = self._next(inbox)
                if not isinstance(message, AudioChunk):
                    return _finished(message)
                yield message
        finally:
            self._forget(request)

    def synthesize(
        self,
        segments: Sequence[PhonemizedText],
        reference: Reference,
        options: SpeechOptions | None = None,
    ) -> Speech:
        """Speak segments one after the other and return the whole.

        Raises:
            RequestError: something about the request is wrong.
            SpeechFailed: the engine failed.
        """
        result = self.synthesize_batch([(segments, reference, options)])[0]
        if isinstance(result, ServingError):
            raise result
        return result

    def synthesize_batch(
        self,
        items: Iterable[tuple[Sequence[PhonemizedText], Reference, SpeechOptions | None]],
    ) -> list[Speech | ServingError]:
        """Speak several requests together; each gives its speech or its own error."""
        requests = [
            self._request(segments, reference, options or SpeechOptions(), False)
            for segments, reference, options in items
        ]
        pending = [self._try_add(request) for request in requests]
        try:
            return [
                waiting if isinstance(waiting, ServingError) else self._collect(request, waiting)
                for request, waiting in zip(requests, pending, strict=True)
            ]
        finally:
            for request in requests:
                self._forget(request)

    def _add(self, request: SynthesisRequest) -> deque[Message]:
        self.engine.add(request)
        return self._inboxes.setdefault(request.request_id, deque())

    def _try_add(self, request: SynthesisRequest) -> deque[Message] | ServingError:
        try:
            return self._add(request)
        except ServingError as error:
            return error

    def _forget(self, request: SynthesisRequest) -> None:
        """Abort a request if it has not ended, and take no more messages for it."""
        self.engine.abort(request.request_id)
        self._inboxes.pop(request.request_id, None)

    def _next(self, inbox: deque[Message]) -> Message:
        """Step the engine for everybody until this inbox has a message."""
        while not inbox:
            for message in self.engine.step():
                assert isinstance(message, AudioChunk | Finished | Failed | Aborted)
                if message.request_id in self._inboxes:
                    self._inboxes[message.request_id].append(message)
        return inbox.popleft()

    def _collect(self, request: SynthesisRequest, inbox: deque[Message]) -> Speech | ServingError:
        pcm = bytearray()
        while isinstance(message := self._next(inbox), AudioChunk):
            pcm += message.pcm
        try:
            finished = _finished(message)
        except SpeechFailed as error:
            return error
        samples = np.frombuffer(bytes(pcm), dtype="<i2")
        return Speech(samples, self.sample_rate_hz, finished.num_tokens, request.sampling.seed)

    def _request(
        self,
        segments: Sequence[PhonemizedText],
        reference: Reference,
        options: SpeechOptions,
        is_streaming: bool,
    ) -> SynthesisRequest:
        self._num_requests += 1
        return SynthesisRequest(
            request_id=f"local-{self._num_requests}",
            segments=tuple(segments),
            reference=reference,
            sampling=options.sampling(),
            speed=options.speed,
            segment_pause_s=options.segment_pause_s,
            is_streaming=is_streaming,
            early_tokens=options.early_tokens,
        )


def find_voice(directory: Path | None, name: str) -> Voice:
    """Return a voice of a folder of voices, for the one model there is.

    Raises:
        UnknownVoice: there is none of that name; the message names some that there are.
        InvalidRequest: it speaks with another model, which only a server finds by its name.
    """
    is_there = directory is not None and directory.is_dir()
    voice = VoiceRegistry(directory if is_there else None).get(name)
    if voice.model:
        raise InvalidRequest(
            f"voice: {voice.name} speaks with the model {voice.model!r}, which a server knows; "
            "here name the model's files and give the voice's recording as the reference"
        )
    return voice


def load_reference(
    audio: Path | str | bytes,
    prompt_text: PhonemizedText | None = None,
    auxiliary: Iterable[Path | str | bytes] = (),
    *,
    limits: AudioLimits | None = None,
) -> Reference:
    """Decode the recordings of a voice from files or bytes, in any common format.

    Raises:
        BadReferenceAudio: a recording cannot be read or is past a limit.
        OSError: a file cannot be read.
    """
    return Reference(
        _decode(audio, limits or AudioLimits()),
        prompt_text,
        tuple(_decode(extra, limits or AudioLimits()) for extra in auxiliary),
    )


def with_prompt(reference: Reference, prompt_text: PhonemizedText | None) -> Reference:
    """Return a reference with another transcript."""
    return msgspec.structs.replace(reference, prompt_text=prompt_text)


def _decode(audio: Path | str | bytes, limits: AudioLimits) -> ReferenceAudio:
    if isinstance(audio, bytes):
        data = audio
    else:
        with Path(audio).open("rb") as file:
            data = file.read(limits.max_bytes + 1)  # one byte more tells that it is too long
    waveform = decode_audio(data, limits)
    return ReferenceAudio(
        np.ascontiguousarray(waveform.samples, dtype="<f4").tobytes(),
        waveform.rate_hz,
        waveform.samples.shape[0],
    )


def _finished(message: Message) -> Finished:
    if isinstance(message, Failed):
        raise SpeechFailed(message.code, message.message)
    if isinstance(message, Aborted):
        raise SpeechFailed("aborted", "the request was aborted")
    assert isinstance(message, Finished)
    return message


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)
