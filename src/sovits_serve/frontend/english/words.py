"""One word to phonemes: dictionary, letters, possessive, compound, or a guess, in this order."""

import re
import threading
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from sovits_serve.frontend.english.colloquial import READINGS, shortened
from sovits_serve.frontend.english.lexicon import Lexicon, Phonemes

if TYPE_CHECKING:
    from sovits_serve.frontend.english.compounds import CompoundSplitter
    from sovits_serve.frontend.english.network import PronunciationNetwork

_MAX_SPELLED = 3
# "forty-two" is frequent, and would be divided just so.
_NUMBER = re.compile(
    "(twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)-"
    "(one|two|three|four|five|six|seven|eight|nine|first|second|third|fourth|fifth|sixth|seventh|"
    "eighth|ninth)"
)
# No word is longer; what is would take seconds to divide. Its letters are read.
_MAX_WORD = 100
_POSSESSIVE = re.compile(r"[a-z]{1,100}'s")
_NO_LETTER = re.compile(r"[^a-z]+")
# Upstream finds these undivided in its counts and guesses: "thirty-four" as "thurteye-frure".
_MISREAD_NUMBERS = frozenset(
    "twenty-nine thirty-two thirty-four thirty-six sixty-nine eighty-six".split()
)
_VOICELESS = frozenset({"P", "T", "K", "F", "TH", "HH"})
_SIBILANTS = frozenset({"S", "Z", "SH", "ZH", "CH", "JH"})
# The name of the letter; the dictionary has the article.
_LETTER_A = ("EY1",)
_CACHED_WORDS = 16384


class WordReader:
    """Reads single words. What it needs is loaded when a word first needs it.

    With ``is_strict`` it guesses some numbers, and spells interjections, as upstream does.
    """

    def __init__(self, *, is_strict: bool = False) -> None:
        self._is_strict = is_strict
        self._lock = threading.Lock()
        self.read = lru_cache(maxsize=_CACHED_WORDS)(self._read)

    @cached_property
    def lexicon(self) -> Lexicon:
        """Return the dictionary."""
        return Lexicon.load()

    @cached_property
    def _network(self) -> "PronunciationNetwork":
        from sovits_serve.frontend.english.network import PronunciationNetwork

        return PronunciationNetwork.load()

    @cached_property
    def _splitter(self) -> "CompoundSplitter":
        from sovits_serve.frontend.english.compounds import CompoundSplitter

        return CompoundSplitter.load()

    def _read(self, word: str) -> Phonemes:
        """Return the phonemes of a word in lower case, with apostrophes, hyphens or dots inside.

        Source: GPT-SoVITS 48b1a01, text/english.py, en_G2p.qryword. Differs: no dictionary of names
        (its origin is unknown); what is longer than any word is spelled.
        """
        if not self._is_strict and len(word) <= _MAX_WORD:
            word = shortened(word, self.knows)
            if word in READINGS:
                return READINGS[word]
        if len(word) > 1:
            known = self.lexicon.find(word)
            if known:
                return known
        if len(word) <= _MAX_SPELLED or len(word) > _MAX_WORD:
            return self.spell(word)
        if _POSSESSIVE.fullmatch(word):
            return _with_possessive(self.read(word[:-2]))
        number = _NUMBER.fullmatch(word)
        if number and not (self._is_strict and word in _MISREAD_NUMBERS):
            return self.read(number[1]) + self.read(number[2])
        pieces = word.split("-")
        if not self._is_strict and len(pieces) > 1 and all(map(self.knows, pieces)):
            return tuple(phoneme for piece in pieces for phoneme in self.read(piece))
        with self._lock:
            parts = self._splitter.split(_NO_LETTER.sub("", word))
            guess = self._network.predict(word) if len(parts) == 1 else ()
        if len(parts) == 1:
            return guess or self.spell(word)
        return tuple(phoneme for part in parts for phoneme in self.read(part))

    def knows(self, word: str) -> bool:
        """Return whether a word in lower case needs neither spelling nor guessing."""
        return word in READINGS or self.lexicon.find(word) is not None

    def spell(self, word: str) -> Phonemes:
        """Return the names of the letters; an apostrophe or a hyphen is a short break."""
        said = {letter: self._letter(letter) for letter in set(word)}
        return tuple(phoneme for letter in word for phoneme in said[letter])

    def _letter(self, letter: str) -> Phonemes:
        if letter == "a":
            return _LETTER_A
        if letter.isalpha():
            return self.lexicon.find(letter) or ()
        return ("-" if letter == "'" else letter,)


def _with_possessive(phonemes: Phonemes) -> Phonemes:
    last = phonemes[-1] if phonemes else ""
    if last in _VOICELESS:
        return (*phonemes, "S")
    if last in _SIBILANTS:
        return (*phonemes, "AH0", "Z")
    return (*phonemes, "Z")
