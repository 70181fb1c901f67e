"""The Chinese frontend: text to units, one per character of the normalised text."""

import re
from collections.abc import Iterator, Sequence

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Phonemization, Reading, Unit
from sovits_serve.frontend.chinese.corrections import correct_readings
from sovits_serve.frontend.chinese.dictionary import load_readings
from sovits_serve.frontend.chinese.erhua import apply_erhua
from sovits_serve.frontend.chinese.hmm import load_tagging_model, load_word_model
from sovits_serve.frontend.chinese.jieba_data import load_dictionary
from sovits_serve.frontend.chinese.merging import merge_for_sandhi
from sovits_serve.frontend.chinese.normalization import normalize
from sovits_serve.frontend.chinese.normalization.repairs import repair
from sovits_serve.frontend.chinese.normalization.repairs_rare import name_rare_ideographs
from sovits_serve.frontend.chinese.polyphones import PolyphoneModel
from sovits_serve.frontend.chinese.syllables import is_reading, phonemes_of
from sovits_serve.frontend.chinese.tone_sandhi import apply_sandhi
from sovits_serve.frontend.chinese.user_readings import apply_readings, check_reading
from sovits_serve.frontend.chinese.words import cut

_SENTENCE = re.compile(r"[^!?…,.\-]*[!?…,.\-]?")
_PAUSE_MARKS = {"￥": "SP2", "^": "SP3"}  # the first found counts


class ChineseFrontend:
    """Mandarin in the symbols of table "v1" or "v2".

    ``polyphones`` decides between the readings of a character in the place of the dictionary. It
    is asked for "v2" only: "v1" checkpoints were trained without one, and without erhua. With
    ``is_strict`` it reads what upstream reads and no more, for comparison.
    """

    def __init__(
        self,
        symbol_version: str = "v2",
        *,
        polyphones: PolyphoneModel | None = None,
        is_strict: bool = False,
    ) -> None:
        self._is_strict = is_strict
        self._symbol_version = symbol_version
        self._has_erhua = symbol_version != "v1"
        self._polyphones = polyphones if symbol_version != "v1" else None

    def warm_up(self) -> None:
        """Load the dictionaries (about 60 MiB, one second)."""
        load_tagging_model()  # first: it frees memory that the others then use
        load_word_model()
        load_dictionary()
        load_readings()
        self.phonemize(AlignedText.of("你好。"))

    def check_reading(self, text: str, reading: str) -> None:
        """Check that ``reading`` has a syllable such as "hang2" for each character of ``text``.

        Raises:
            InvalidRequest: names the reading, what is wrong and what is allowed.
        """
        check_reading(text, reading)

    def phonemize(self, text: AlignedText, readings: Sequence[Reading] = ()) -> Phonemization:
        """Turn text into phonemes, one unit per character of the normalised text."""
        said = text if self._is_strict else name_rare_ideographs(repair(text))
        pause = next((mark for mark in _PAUSE_MARKS if mark in said.text), None)
        if pause is not None:
            said = said.replace(pause, ",")
        normalized = normalize(said, self._symbol_version)
        units = apply_readings(self.phonemize_normalized(normalized), text, readings)
        if pause is not None:
            units = [_as_pause(unit, _PAUSE_MARKS[pause]) for unit in units]
        return Phonemization("".join(unit.text for unit in units), tuple(units))

    def phonemize_normalized(self, normalized: AlignedText) -> list[Unit]:
        """Return a unit per character of a text of ideographs and the marks ``! ? … , . -``."""
        readings = self._readings(split_sentences(normalized.text))
        return [
            Unit(character, phonemes_of(reading), start, end)
            for character, reading, start, end in zip(
                normalized.text, readings, normalized.starts, normalized.ends, strict=True
            )
        ]

    def _readings(self, sentences: list[str]) -> Iterator[str]:
        if self._polyphones is None:
            for sentence in sentences:
                yield from self._read_sentence(sentence, None)
            return
        for sentence, predicted in zip(
            sentences, self._polyphones.pinyin(sentences) if sentences else (), strict=True
        ):
            yield from self._read_sentence(sentence, predicted)

    def _read_sentence(self, sentence: str, predicted: Sequence[str] | None) -> Iterator[str]:
        done = 0
        for word, tag in merge_for_sandhi(cut(sentence)):
            own = predicted[done : done + len(word)] if predicted is not None else None
            done += len(word)
            readings = apply_sandhi(word, tag, _word_readings(word, own))
            yield from apply_erhua(word, tag, readings) if self._has_erhua else readings


def split_sentences(normalized: str) -> list[str]:
    """Split normalised text after each mark."""
    return [sentence for sentence in _SENTENCE.findall(normalized) if sentence]


def _word_readings(word: str, predicted: Sequence[str] | None) -> Sequence[str]:
    """Return the dictionary's readings, or a model's with the dictionary's corrections."""
    if predicted is None:
        return load_readings().read(word)
    corrected = correct_readings(word, [reading.replace("ü", "v") for reading in predicted])
    return [
        reading if is_reading(reading) else load_readings().read_character(character)
        for character, reading in zip(word, corrected, strict=True)
    ]


def _as_pause(unit: Unit, pause: str) -> Unit:
    return Unit(unit.text, (pause,), unit.start, unit.end) if unit.text == "," else unit
