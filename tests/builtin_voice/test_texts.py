"""The training text: different sentences, the same each time, none of the evaluation's."""

import re
from itertools import combinations, pairwise

import pytest
from pypinyin import Style, pinyin

from sovits_serve.frontend.english.lexicon import Lexicon
from tools.builtin_voice import texts
from tools.builtin_voice.texts import (
    closed_set,
    english_sentences,
    held_out,
    mandarin_sentences,
    normalized,
)

MAKERS = {"en": english_sentences, "zh": mandarin_sentences}


@pytest.fixture(params=MAKERS)
def language(request: pytest.FixtureRequest) -> str:
    """Return each language in turn."""
    return str(request.param)


def test_sentences_depend_on_the_seed_only(language: str) -> None:
    """The same seed makes the same text, and a longer text starts like a shorter one."""
    make = MAKERS[language]
    assert make(300, 1) == make(300, 1) == make(500, 1)[:300]
    assert make(300, 1) != make(300, 2)


def test_sentences_are_different(language: str) -> None:
    """There are over 20,000 sentences, and none comes twice."""
    sentences = MAKERS[language](20_000, 0)
    assert len({normalized(sentence) for sentence in sentences}) == 20_000


def test_no_sentence_is_held_out(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held out is left out, even if a pattern made it."""
    normal = MAKERS[language](50, 0)
    monkeypatch.setattr(texts, "held_out", lambda _: [normal[3].upper().strip("。.?!？！")])
    assert normal[3] not in MAKERS[language](49, 0)


def test_held_out_is_the_closed_set(language: str) -> None:
    """Ten groups of twenty: 200 different sentences, of every group in turn."""
    groups, sentences = closed_set(language), held_out(language, 200)
    assert [len(group) for group in groups] == [20] * 10
    assert sorted(sentences) == sorted(sentence for group in groups for sentence in group)
    assert len({normalized(sentence) for sentence in sentences}) == 200
    assert held_out(language, 10) == [group[0] for group in groups]
    with pytest.raises(ValueError, match="count: 201"):
        held_out(language, 201)


def test_groups_differ_in_few_words() -> None:
    """Sentences of a group differ in one or two words."""
    for group in closed_set():
        for one, other in combinations(group, 2):
            pairs = zip(one.split(), other.split(), strict=True)
            assert 1 <= sum(a != b for a, b in pairs) <= 2


def test_dictionary_has_the_english_words() -> None:
    """No word is guessed, so that teachers and frontend read alike."""
    lexicon = Lexicon.load()
    sentences = english_sentences(3_000, 0) + held_out("en")
    words = {word for sentence in sentences for word in normalized(sentence).split()}
    assert {w for w in words if lexicon.find(w) is None and not w.endswith("'s")} == set()


def test_lengths() -> None:
    """English has 2 to 22 words, Mandarin 2 to 30 characters, short and long ones both."""
    words = [len(sentence.split()) for sentence in english_sentences(2_000, 0)]
    assert set(range(2, 21)) <= set(words) <= set(range(1, 23))
    characters = [len(re.findall("[一-鿿]", s)) for s in mandarin_sentences(2_000, 0)]
    assert set(range(2, 25)) <= set(characters) <= set(range(1, 31))


def test_texts_cover_the_sounds() -> None:
    """Nearly all syllables with their tones, and most pairs of ARPAbet phonemes, are there."""
    mandarin = "".join(mandarin_sentences(3_000, 0))
    readings = {r for (r,) in pinyin(mandarin, style=Style.TONE3, errors="ignore")}
    assert len(readings) > 1_200
    lexicon = Lexicon.load()
    pairs: set[tuple[str, str]] = set()
    phonemes: set[str] = set()
    for sentence in english_sentences(3_000, 0):
        found = [lexicon.find(word) or () for word in normalized(sentence).split()]
        spoken = [phoneme.rstrip("012") for word in found for phoneme in word]
        phonemes.update(spoken)
        pairs.update(pairwise(spoken))
    assert len(phonemes) == 39
    assert len(pairs) > 0.8 * 39**2
