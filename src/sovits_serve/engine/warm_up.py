"""First syntheses: what they find wrong, no listener hears.

They run before an engine takes work, for each voice, and for each model that is loaded later. The
text is a fixed list of phonemes, so that no text frontend is needed here.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sovits_serve.audio.decode import AudioLimits, decode_audio
from sovits_serve.engine.batch import NOT_FINITE
from sovits_serve.engine.core import EngineCore
from sovits_serve.errors import EngineError, RequestError
from sovits_serve.frontend.symbols import phone_ids
from sovits_serve.protocol.messages import (
    Failed,
    PhonemizedText,
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
)
from sovits_serve.voices.demo import DEMO_RATE_HZ, demo_sound
from sovits_serve.voices.reference_cache import content_key
from sovits_serve.voices.voice import Voice

_log = logging.getLogger(__name__)

# "Hello world, this is a test." Both symbol tables have these.
_PHONEMES = "HH AH0 L OW1 W ER1 L D , DH IH1 S IH1 Z AH0 T EH1 S T ."
_MAX_TOKENS = 50


class NotFinite(EngineError):
    """The model computes NaN or infinity in the precision it was loaded in."""


def warm_up_model(core: EngineCore, symbol_version: str) -> None:
    """Speak with a made-up voice. That it says nothing of use is logged, no more.

    Raises:
        NotFinite: the precision does not suit the model.
    """
    sound = demo_sound(0).astype("<f4") / 32_768
    audio = ReferenceAudio(sound.tobytes(), DEMO_RATE_HZ)
    failed = _speak(core, symbol_version, Reference(audio))
    if failed is not None:
        _log.warning("the first synthesis failed: %s: %s", failed.code, failed.message)


def warm_up_voice(core: EngineCore, symbol_version: str, voice: Voice) -> None:
    """Speak with a voice, so that its recordings are checked, and kept encoded.

    Raises:
        RequestError: a recording cannot be used.
        OSError: a recording cannot be read.
        NotFinite: the precision does not suit the model.
    """
    reference = Reference(
        _read(voice.reference), auxiliary=tuple(_read(path) for path in voice.auxiliary)
    )
    failed = _speak(core, symbol_version, reference)
    if failed is not None:
        raise RequestError(f"{voice.reference}: {failed.message}")


def warm_up_voices(
    core: EngineCore, symbol_version: str, voices: Iterable[Voice]
) -> Iterable[tuple[str, str]]:
    """Speak with each voice; yield its name, and what is wrong with it ("" if nothing).

    A bad recording takes no engine down: requests that name it get the error, others are served.

    Raises:
        NotFinite: the precision does not suit the model.
    """
    for voice in voices:
        try:
            warm_up_voice(core, symbol_version, voice)
        except (RequestError, OSError) as error:
            _log.error("voice %s cannot be used: %s", voice.name, error)
            yield voice.name, str(error)
        else:
            yield voice.name, ""


def _speak(core: EngineCore, symbol_version: str, reference: Reference) -> Failed | None:
    """Synthesise the fixed phonemes; return the failure, if it was one."""
    text = PhonemizedText(phone_ids(_PHONEMES.split(), symbol_version))
    core.add(
        SynthesisRequest(
            "warm-up",
            segments=(text,),
            reference=Reference(reference.audio, text, reference.auxiliary),
            sampling=SamplingParams(max_tokens=min(_MAX_TOKENS, core.limits.max_tokens)),
            is_streaming=True,
        )
    )
    failed = None
    while core.has_work():
        for message in core.step():
            if isinstance(message, Failed):
                failed = message
    if failed is not None and NOT_FINITE in failed.message:
        raise NotFinite(failed.message)
    return failed


def _read(path: Path) -> ReferenceAudio:
    limits = AudioLimits()
    with path.open("rb") as file:
        data = file.read(limits.max_bytes + 1)  # one byte more tells that it is too long
    waveform = decode_audio(data, limits)
    samples = np.ascontiguousarray(waveform.samples, dtype="<f4").tobytes()
    audio = ReferenceAudio(samples, waveform.rate_hz, waveform.num_channels)
    return ReferenceAudio(samples, audio.rate_hz, audio.num_channels, key=content_key(audio))
