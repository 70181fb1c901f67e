"""Words with accents in, phonemes with prosody marks out, word by word.

Marks: "[" the pitch rises, "]" it falls, "#" an accent phrase ends, "_" a pause. A mark stands
after the vowel it follows.

Source: GPT-SoVITS 48b1a01, text/japanese.py, pyopenjtalk_g2p_prosody, and OpenJTalk 1.11,
jpcommon_label.c, whose labels it reads. Differs: made from the words without labels, so that every
phoneme is known to belong to a word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from sovits_serve.frontend.japanese.kana import LONG_VOWEL, mora_phonemes, morae

# What OpenJTalk gives as the pronunciation of a mark, and of what it cannot read.
_PAUSES = frozenset("、？")
# Labels count morae up to here; a phrase so long has neither rise nor fall beyond.
_MAX_COUNT = 49


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or what the analysis takes as one.

    ``accent`` is the last high mora of the accent phrase that begins here, 0 if the pitch stays
    high. A chained word continues the phrase of the word before it. Positions are those of the
    analysed text.
    """

    pronunciation: str
    accent: int
    is_chained: bool
    start: int
    end: int

    @property
    def num_morae(self) -> int:
        """Return how many morae the word has."""
        return len(morae(self.pronunciation))


@dataclass(slots=True)
class _Phrase:
    accent: int
    size: int = 0

    @property
    def fall(self) -> int:
        return self.accent or self.size


@dataclass(frozen=True, slots=True)
class _Mora:
    word: int
    phonemes: tuple[str, ...]
    phrase: _Phrase
    index: int  # in its phrase, from 1
    pause_word: int | None  # the word that pauses before this mora


def word_phonemes(words: Sequence[Word]) -> list[tuple[str, ...]]:
    """Return the phonemes and marks of each word."""
    found: list[list[str]] = [[] for _ in words]
    sequence = _morae(words)
    for mora, following in zip_longest(sequence, sequence[1:]):
        if mora.pause_word is not None:
            found[mora.pause_word].append("_")
        found[mora.word].extend(mora.phonemes)
        if following is not None and following.pause_word is None:
            found[mora.word].extend(_mark(mora, following))
    return [tuple(phonemes) for phonemes in found]


def _morae(words: Sequence[Word]) -> list[_Mora]:
    sequence: list[_Mora] = []
    phrase: _Phrase | None = None
    pause_word: int | None = None
    for position, word in enumerate(words):
        if word.pronunciation in _PAUSES:
            pause_word = position if pause_word is None else pause_word
            continue
        is_begun = False
        for mora in morae(word.pronunciation):
            if mora == LONG_VOWEL:
                if phrase is None or pause_word is not None:
                    continue  # nothing to lengthen
                phonemes = sequence[-1].phonemes[-1:]
            else:
                phonemes = mora_phonemes(mora)
                if not is_begun and (phrase is None or not word.is_chained):
                    phrase = _Phrase(word.accent)
                is_begun = True
            assert phrase is not None
            phrase.size += 1
            pause = pause_word if sequence else None
            sequence.append(_Mora(position, phonemes, phrase, phrase.size, pause))
            pause_word = None
    return sequence


def _mark(mora: _Mora, following: _Mora) -> tuple[str, ...]:
    """Return the mark between two morae without a pause between them."""
    if mora.phrase is not following.phrase:
        return ("#",)
    if mora.index == mora.phrase.fall and mora.index < _MAX_COUNT:
        return ("]",)
    if mora.index == 1:
        return ("[",)
    return ()
