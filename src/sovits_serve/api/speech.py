"""From what any dialect asks for to one request for the engines. Knows no HTTP.

``SpeechBuilder`` finds the voice, decodes references, turns text into phonemes, and checks every
field before anything is submitted. Nothing is silently replaced by a default.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sovits_serve.api.engine_client import EngineClient, without_samples
from sovits_serve.api.recordings import Recordings
from sovits_serve.api.texts import Texts
from sovits_serve.config import ApiConfig, FrontendConfig
from sovits_serve.engine.request import (
    SPEED_RANGE,
    ModelLimits,
    check_early_tokens,
    check_range,
    check_sampling,
)
from sovits_serve.errors import (
    BadReferenceAudio,
    InvalidRequest,
    NotReady,
    TextTooLong,
    UnknownModel,
)
from sovits_serve.protocol.messages import (
    ModelInfo,
    PhonemizedText,
    Priority,
    Reference,
    ReferenceAudio,
    SamplingParams,
    Status,
    SynthesisRequest,
)
from sovits_serve.voices.registry import OPENAI_VOICES, VoiceRegistry
from sovits_serve.voices.voice import MAX_AUXILIARY, VoiceDefaults, list_some, name_key

# Of one request's recordings together: what goes to the dispatcher in one piece.
_MAX_DECODED_BYTES = 32 << 20
# Requests that bring several recordings hold the first ones while later ones wait to be decoded.
_MAX_SEVERAL = 4
_PRIORITIES: tuple[Priority, ...] = ("interactive", "batch")
_WARM_UP_DELAY_S = 1.0
_VOICES_INTERVAL_S = 1.0
# What a worker can know of a model's limits; the engine checks again.
_LIMITS = ModelLimits(
    num_phonemes=0,
    max_sequence_length=4000,
    max_tokens=4000,
    max_segments=0,
    max_auxiliary=MAX_AUXILIARY,
    can_read_chinese=True,
)

T = TypeVar("T")


@dataclass(frozen=True)
class SpeechInput:
    """What a client asks for, in no dialect. None is "the voice's default, else upstream's"."""

    text: str
    language: str | None = None  # None: the voice's, else auto
    cut: str | None = None  # auto, cut0 to cut5; None: as configured
    voice: str | None = None  # None: the default voice
    reference: bytes | None = None  # content of an audio file; instead of the voice's
    reference_name: str = "reference"  # for messages
    prompt_text: str | None = None  # what the reference says; "": nothing is known of it
    prompt_language: str | None = None
    auxiliary: tuple[bytes, ...] = ()  # contents of further recordings of the voice
    seed: int | None = None  # None: drawn
    top_k: int | None = None  # 0: all tokens
    top_p: float | None = None
    temperature: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None  # per segment; None: the model's own limit
    speed: float | None = None
    segment_pause_s: float | None = None
    is_streaming: bool = False
    early_tokens: int | None = None  # None: as the engine is set
    priority: str = "interactive"  # or batch
    timeout_s: float | None = None  # None: the server's longest
    model: str = ""  # a loaded model; "": the voice's, else the default


@dataclass(frozen=True)
class Prepared:
    """A request ready to be submitted."""

    request: SynthesisRequest
    recordings: Mapping[str, ReferenceAudio]  # by key, with samples
    cost: int  # phonemes to speak
    sample_rate_hz: int  # of the model's audio
    seed: int
    num_characters: int
    priority: Priority = "interactive"
    timeout_s: float = 600.0


@dataclass(frozen=True)
class _Speaker:
    """Who is to speak, before anything was read. A recording is a file, its content, or a key."""

    recording: Path | bytes | str
    name: str  # for messages
    prompt_text: str | None = None
    prompt_language: str = "auto"
    auxiliary: Sequence[Path | bytes] = ()
    model: str = ""
    defaults: VoiceDefaults = field(default_factory=VoiceDefaults)


class SpeechBuilder:
    """Makes requests for the engines from what clients ask for."""

    def __init__(
        self,
        client: EngineClient,
        voices: VoiceRegistry,
        config: ApiConfig,
        frontend: FrontendConfig,
        recordings: Recordings | None = None,
    ) -> None:
        """Read the dictionary, if one is configured.

        Raises:
            ConfigError: it is bad.
        """
        self.client = client
        self.voices = voices
        self.config = config
        self.texts = Texts(frontend)
        self.recordings = recordings or Recordings()
        self._several = asyncio.Semaphore(_MAX_SEVERAL)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load languages, and look for new voices, in the background."""
        self._task = asyncio.create_task(self._look_after(), name="speech-builder")

    async def stop(self) -> None:
        """End the threads and what runs in the background."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.texts.close()
        self.recordings.close()

    async def build(self, asked: SpeechInput, request_id: str) -> Prepared:
        """Return a request for the engines, all of it checked as far as a worker can.

        Raises:
            RequestError: something about it is wrong; the message names field, value and limit.
            NotReady: no model is known yet.
        """
        status = self.client.status
        speaker = self._speaker(asked, status)
        model = _choose_model(asked.model or speaker.model, status)
        check_early_tokens(asked.early_tokens)
        sampling = _sampling(asked, speaker.defaults)
        speed, pause_s = _pace(asked, speaker.defaults)
        priority, timeout_s = self._terms(asked)
        segments = await self._segments(asked, speaker, model)
        reference, recordings = await self._reference(speaker, model)
        request = SynthesisRequest(
            request_id=request_id,
            segments=segments,
            reference=reference,
            sampling=sampling,
            speed=speed,
            segment_pause_s=pause_s,
            is_streaming=asked.is_streaming,
            early_tokens=asked.early_tokens,
            model=model.name,
            timeout_s=timeout_s,
        )
        return Prepared(
            request=request,
            recordings=recordings,
            cost=sum(len(segment.phone_ids) for segment in segments),
            sample_rate_hz=model.sample_rate_hz,
            seed=sampling.seed,
            num_characters=len(asked.text),
            priority=priority,
            timeout_s=timeout_s,
        )

    def _speaker(self, asked: SpeechInput, status: Status) -> _Speaker:
        """Return who is to speak: the request's own reference, the server's, or a voice's."""
        if asked.reference is not None:
            voice = None if asked.voice is None else self.voices.get(asked.voice)
            return _Speaker(
                asked.reference,
                asked.reference_name,
                asked.prompt_text,
                asked.prompt_language or "auto",
                asked.auxiliary,
                "" if voice is None else voice.model,
                VoiceDefaults() if voice is None else voice.defaults,
            )
        if asked.auxiliary:
            raise InvalidRequest("auxiliary: given without a reference; send both, or neither")
        key = status.defaults.recording
        if key and self._names_no_voice(asked.voice):
            name = f"default reference {status.defaults.recording_name}"
            language = asked.prompt_language or "auto"
            return _Speaker(key, name, asked.prompt_text, language)
        if not asked.voice and self.voices.default is None:
            raise InvalidRequest(
                "voice: none was named, no reference was sent, and this server has no default "
                "voice; send a reference, or put a voice into the directory of voices"
            )
        voice = self.voices.get(asked.voice or "")
        is_own_text = asked.prompt_text is not None
        return _Speaker(
            voice.reference,
            f"voice {voice.name}",
            asked.prompt_text if is_own_text else voice.prompt_text,
            (asked.prompt_language or "auto") if is_own_text else voice.prompt_language,
            voice.auxiliary,
            voice.model,
            voice.defaults,
        )

    def _names_no_voice(self, name: str | None) -> bool:
        """Return whether a request leaves the choice to the server."""
        if not name or name_key(name) == "default":
            return True
        return self.voices.default is None and name_key(name) in OPENAI_VOICES

    def _terms(self, asked: SpeechInput) -> tuple[Priority, float]:
        longest_s = self.config.request_timeout_s
        timeout_s = longest_s if asked.timeout_s is None else asked.timeout_s
        check_range("timeout_s", timeout_s, 0.001, longest_s)
        for priority in _PRIORITIES:
            if asked.priority == priority:
                return priority, timeout_s
        raise InvalidRequest(f"priority: {asked.priority!r} is not one of {', '.join(_PRIORITIES)}")

    async def _segments(
        self, asked: SpeechInput, speaker: _Speaker, model: ModelInfo
    ) -> tuple[PhonemizedText, ...]:
        language = asked.language or speaker.defaults.language or "auto"
        limit = self.texts.config.max_characters
        if len(asked.text) > limit:  # before it is looked up
            raise TextTooLong(f"text: {len(asked.text)} characters; the limit is {limit}")
        segments = await self.texts.segments(model.symbol_version, asked.text, language, asked.cut)
        for segment in segments:
            _check_features("text", segment, model)
        return segments

    async def _reference(
        self, speaker: _Speaker, model: ModelInfo
    ) -> tuple[Reference, dict[str, ReferenceAudio]]:
        """Return the reference as requests name it, and its recordings with samples."""
        check_num_auxiliary("auxiliary", len(speaker.auxiliary))
        prompt = None
        if speaker.prompt_text:
            prompt = await self.texts.prompt(
                model.symbol_version, speaker.prompt_text, speaker.prompt_language
            )
            _check_features("prompt_text", prompt, model)
        is_several = isinstance(speaker.recording, bytes) and speaker.auxiliary
        async with self._several if is_several else nullcontext():
            audio, *auxiliary = await self._all_recordings(speaker)
        known = {one.key: one for one in (audio, *auxiliary) if one.samples}
        named = tuple(without_samples(one) for one in auxiliary)
        return Reference(without_samples(audio), prompt, named), known

    async def _all_recordings(self, speaker: _Speaker) -> list[ReferenceAudio]:
        """Return the reference, then the auxiliary ones."""
        found = [await self._recording(speaker.recording, speaker.name)]
        for index, one in enumerate(speaker.auxiliary):
            found.append(await self._recording(one, f"auxiliary[{index}]"))
            _check_decoded(f"auxiliary[{index}]", found)
        return found

    async def _recording(self, source: Path | bytes | str, name: str) -> ReferenceAudio:
        if isinstance(source, bytes):
            return await self.recordings.from_bytes(source, name)
        if isinstance(source, Path):
            return await self.recordings.from_file(source, name)
        # Another worker may have sent it; the dispatcher has it. Its rate is not known here.
        return ReferenceAudio(b"", 0, key=source)

    async def _look_after(self) -> None:
        # Probes of a worker that has just begun are answered first: loading a language holds the
        # interpreter's lock for tenths of a second, and several workers begin at once.
        await asyncio.sleep(_WARM_UP_DELAY_S)
        await self.texts.warm_up("v2")
        while True:
            for model in self.client.status.models:
                await self.texts.warm_up(model.symbol_version)
            await asyncio.to_thread(self.voices.reload_if_changed)
            await asyncio.sleep(_VOICES_INTERVAL_S)


def check_num_auxiliary(field: str, number: int) -> None:
    """Check how many further recordings a request brings, before any of them is read.

    Raises:
        InvalidRequest: they are too many.
    """
    if number > MAX_AUXILIARY:
        raise InvalidRequest(f"{field}: {number} recordings; at most {MAX_AUXILIARY}")


def _check_decoded(field: str, recordings: Sequence[ReferenceAudio]) -> None:
    """Check the size of a request's recordings so far; ``field`` is the last of them."""
    num_bytes = sum(len(audio.samples) for audio in recordings)
    if num_bytes > _MAX_DECODED_BYTES:
        raise BadReferenceAudio(
            f"{field}: with it the request's recordings are {num_bytes} bytes of decoded sound; "
            f"at most {_MAX_DECODED_BYTES} may be: send shorter ones (3 to 10 s)"
        )


def _choose_model(name: str, status: Status) -> ModelInfo:
    """Return the model that a request names, or the default.

    Raises:
        NotReady: no engine has said yet which models there are.
        UnknownModel: it is none of them.
    """
    if not status.models:
        error = NotReady(status.reason or "no engine has loaded a model yet")
        error.retry_after_s = status.retry_after_s
        raise error
    wanted = name or status.defaults.model or status.models[0].name
    for model in status.models:
        if model.name == wanted:
            return model
    known = list_some(model.name for model in status.models)
    raise UnknownModel(f"model: {wanted!r} is not loaded; there is {known}")


def _sampling(asked: SpeechInput, defaults: VoiceDefaults) -> SamplingParams:
    """Return how tokens are drawn: as asked, else as the voice says, else as upstream does."""
    usual = SamplingParams()
    seed = _first(asked.seed, defaults.seed, None)
    top_k = _first(asked.top_k, defaults.top_k, usual.top_k)
    sampling = SamplingParams(
        seed=secrets.randbits(63) if seed is None else seed,
        top_k=None if top_k == 0 else top_k,
        top_p=_first(asked.top_p, defaults.top_p, usual.top_p),
        temperature=_first(asked.temperature, defaults.temperature, usual.temperature),
        repetition_penalty=_first(
            asked.repetition_penalty, defaults.repetition_penalty, usual.repetition_penalty
        ),
        max_tokens=asked.max_tokens,
    )
    check_sampling(sampling, _LIMITS)
    return sampling


def _pace(asked: SpeechInput, defaults: VoiceDefaults) -> tuple[float, float]:
    """Return speed and pause between segments."""
    speed = _first(asked.speed, defaults.speed, 1.0)
    pause_s = _first(asked.segment_pause_s, defaults.segment_pause_s, 0.3)
    check_range("speed", speed, *SPEED_RANGE)
    check_range("segment_pause_s", pause_s, 0.0, 10.0)
    return speed, pause_s


def _first(asked: T | None, of_voice: T | None, usual: T) -> T:
    if asked is not None:
        return asked
    return usual if of_voice is None else of_voice


def _check_features(name: str, text: PhonemizedText, model: ModelInfo) -> None:
    """Refuse Chinese that the engine would refuse."""
    if text.spans and not model.can_read_chinese:
        raise InvalidRequest(
            f"{name}: holds Chinese ({text.spans[0].text[:20]!r}), but the model {model.name} was "
            "loaded without BERT, which reads it"
        )
