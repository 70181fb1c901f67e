"""The rules that tell how homographs are said."""

import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.english.frontend import EnglishFrontend
from sovits_serve.frontend.english.homographs import Homographs
from sovits_serve.frontend.english.tagger import RuleTagger
from tests.frontend.english.homograph_sentences import homograph_cases


@pytest.fixture(scope="module")
def frontend() -> EnglishFrontend:
    """Return a frontend with our own tagger."""
    return EnglishFrontend()


@pytest.mark.parametrize(("sentence", "word", "phonemes"), homograph_cases())
def test_homographs_are_said_as_a_person_would(
    frontend: EnglishFrontend, sentence: str, word: str, phonemes: str
) -> None:
    """The words around a homograph decide how it is said."""
    units = frontend.phonemize(AlignedText.of(sentence)).units
    said = [" ".join(unit.phonemes) for unit in units if unit.text == word]

    assert said == [phonemes]


def test_the_table_of_upstream_is_kept_when_strict() -> None:
    """Strictly, "object" has the readings that upstream's table gives it, even swapped."""
    strict, ours = (Homographs.load(is_strict=is_strict).words for is_strict in (True, False))

    assert strict["object"].reading("NN") == ("AH0", "B", "JH", "EH1", "K", "T")
    assert ours["object"].reading("NN") == ("AA1", "B", "JH", "EH0", "K", "T")
    assert "live" not in strict


def test_only_homographs_are_tagged() -> None:
    """Other words get no tag; a long text of homographs is tagged in a moment."""
    tagger = RuleTagger({"read"})

    assert tagger(["They", "read", "."]) == ["", "VBP", ""]
    assert len(tagger(["read"] * 20_000)) == 20_000
