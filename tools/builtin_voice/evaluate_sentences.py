"""Measures sentence by sentence: against the teacher, by the recogniser, and where audio is joined.

What cannot be measured of a sentence is noted in its ``problems``, and the rest goes on.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from sovits_serve.audio.resample import soxr_resample
from tools.builtin_voice import texts
from tools.builtin_voice.evaluate_pictures import write_comparison
from tools.builtin_voice.evaluate_recogniser import Recogniser
from tools.builtin_voice.evaluate_report import Sentence
from tools.builtin_voice.evaluate_speakers import timbre
from tools.builtin_voice.evaluate_speech import (
    ModelEncoder,
    ModelSpeech,
    Speaks,
    Speech,
    TeacherSpeech,
    teacher_of,
)
from tools.builtin_voice.measures import RATE_HZ, FloatArray, compare
from tools.builtin_voice.measures_level import find_clicks, find_joins, measure_levels
from tools.builtin_voice.measures_tokens import align_tokens, silent_tokens

_log = logging.getLogger(__name__)

_SENTENCES_PER_JOINED_TEXT = 3


@dataclass
class Vectors:
    """What tells speakers apart, by speaker; one entry a sentence."""

    style: dict[str, list[FloatArray]] = field(default_factory=dict)
    timbre: dict[str, list[FloatArray]] = field(default_factory=dict)
    spoken_timbre: dict[str, list[FloatArray]] = field(default_factory=dict)


@dataclass(frozen=True)
class Judge:
    """Measures sentences of one voice and language; ``encoder`` None: teachers only."""

    ours: Speaks
    encoder: ModelEncoder | None
    voice: str
    language: str
    vectors: Vectors

    @property
    def speaker(self) -> str:
        """Return whom the voice should sound like."""
        return teacher_of(self.voice, self.language)

    def sentence(self, text: str, other_text: str, picture: Path | None) -> Sentence:
        """Measure one sentence; ``other_text`` shows what aligning any two sentences gives."""
        result = Sentence(text)
        said: dict[str, Speech] = {}

        def speak(who: str, speaker: Speaks) -> None:
            said[who] = speaker.speak(text, self.voice, self.language)

        attempt(result, "teacher", partial(speak, "teacher", TeacherSpeech()))
        attempt(result, "speech", partial(speak, "ours", self.ours))
        result.values["failed"] = float("ours" not in said)
        if len(said) < 2:
            return result
        ours, teacher = said["ours"], said["teacher"]
        attempt(result, "comparison", partial(self._compare, result, ours, teacher, other_text))
        attempt(result, "levels", partial(self._levels, result, ours, teacher))
        attempt(result, "speaker", partial(self._speaker, ours, teacher))
        if self.encoder is not None:
            attempt(result, "tokens", partial(self._tokens, result, ours, teacher))
        if picture is not None:
            write_comparison(picture, at_rate(teacher), at_rate(ours))
        return result

    def _compare(self, result: Sentence, ours: Speech, teacher: Speech, other_text: str) -> None:
        found = compare(at_rate(ours), at_rate(teacher))
        result.values["cepstral_distance_db"] = found.cepstral_distance_db
        result.values["voicing_errors"] = found.voicing_errors
        result.values["duration_ratio"] = found.duration_ratio
        if found.pitch_error_semitones is not None:
            result.values["pitch_error_semitones"] = found.pitch_error_semitones
        if found.pitch_correlation is None:
            result.problems["pitch_correlation"] = "too few frames with pitch"
        else:
            result.values["pitch_correlation"] = found.pitch_correlation
        other_speech = TeacherSpeech().speak(other_text, self.voice, self.language)
        other = compare(at_rate(other_speech), at_rate(teacher))
        result.values["other_cepstral_distance_db"] = other.cepstral_distance_db
        if other.pitch_correlation is not None:
            result.values["other_pitch_correlation"] = other.pitch_correlation

    def _levels(self, result: Sentence, ours: Speech, teacher: Speech) -> None:
        levels = measure_levels(ours.samples, ours.rate_hz)
        result.values |= {
            "loudness_lufs": levels.loudness_lufs,
            "peak": levels.peak,
            "num_clipped": levels.num_clipped,
            "dc": levels.dc,
            "loudness_lufs_teacher": measure_levels(teacher.samples, teacher.rate_hz).loudness_lufs,
        }

    def _speaker(self, ours: Speech, teacher: Speech) -> None:
        vectors, speaker = self.vectors, self.speaker
        vectors.timbre.setdefault(speaker, []).append(timbre(at_rate(teacher)))
        vectors.spoken_timbre.setdefault(speaker, []).append(timbre(at_rate(ours)))
        if self.encoder is not None:
            vectors.style.setdefault(speaker, []).append(self.encoder.style(teacher))

    def _tokens(self, result: Sentence, ours: Speech, teacher: Speech) -> None:
        assert self.encoder is not None
        wanted = self.encoder.tokens(teacher)
        tokens = self.encoder.tokens(ours) if ours.tokens is None else ours.tokens
        found = align_tokens(
            tokens,
            wanted,
            self.encoder.code_distances,
            is_silent=silent_tokens(ours.samples, len(tokens)),
            is_silent_teacher=silent_tokens(teacher.samples, len(wanted)),
        )
        result.values |= {
            "flagged": float(found.is_flagged()),
            "skipped_tokens": found.skipped,
            "repeated_tokens": found.repeated,
            "token_distance": found.distance,
        }


def at_rate(speech: Speech) -> FloatArray:
    """Return speech at the rate of the measures."""
    return soxr_resample(speech.samples, speech.rate_hz, RATE_HZ)


def attempt(result: Sentence, what: str, measure: Callable[[], None]) -> None:
    """Measure; note what went wrong instead of ending the evaluation."""
    try:
        measure()
    except Exception as error:  # noqa: BLE001 -- whatever a bad model does is a result, too
        result.problems[what] = f"{type(error).__name__}: {error}"
        _log.warning("%s of %r: %s", what, result.text, result.problems[what])


def measure_recognition(ours: Speaks, voice: str, count: int) -> list[Sentence]:
    """Let the recogniser choose among the 20 sentences of each group, ours and the teacher's."""
    results = []
    groups = texts.closed_set()
    speakers: dict[str, Speaks] = {"heard": ours, "heard_teacher": TeacherSpeech()}
    for group in groups:
        recogniser = Recogniser(group)
        for text in group[: -(-count // len(groups))]:
            result = Sentence(text)
            for key, speaker in speakers.items():
                attempt(result, key, partial(_hear, recogniser, result, key, speaker, voice))
            results.append(result)
    return results


def _hear(recogniser: Recogniser, result: Sentence, key: str, speaker: Speaks, voice: str) -> None:
    result.values[key] = 0.0  # who does not speak is not understood
    speech = speaker.speak(result.text, voice, "en")
    result.values[key] = float(recogniser.is_heard(speech, result.text))


def measure_joins(
    ours: ModelSpeech, voice: str, language: str, lines: Sequence[str]
) -> list[Sentence]:
    """Stream texts of several sentences and listen for clicks where the audio is put together."""
    glue = " " if language == "en" else ""
    step = _SENTENCES_PER_JOINED_TEXT
    results = []
    for start in range(0, len(lines) - step + 1, 2 * step):
        result = Sentence(glue.join(lines[start : start + step]))
        attempt(result, "joins", partial(_joins, ours, result, voice, language))
        results.append(result)
    return results


def _joins(ours: ModelSpeech, result: Sentence, voice: str, language: str) -> None:
    pieces = list(ours.pieces(result.text, voice, language))
    samples = np.concatenate(pieces)
    joins = find_joins([len(piece) for piece in pieces], samples, ours.rate_hz)
    result.values["num_joins"] = len(joins)
    result.values["num_clicks"] = len(find_clicks(samples, joins, ours.rate_hz))
