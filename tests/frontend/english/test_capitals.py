"""Which words in capital letters are words, and which are spelled."""

import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.english.capitals import lower_capitals
from sovits_serve.frontend.english.words import WordReader

_knows = WordReader().knows


def _lowered(text: str) -> str:
    return lower_capitals(AlignedText.of(text), _knows).text


@pytest.mark.parametrize(
    ("text", "lowered"),
    [
        ("STOP! I SAID NO!", "stop! I said no!"),
        ("DON'T DO IT. IT IS US.", "don't do it. it is us."),
        ("I am VERY happy, NOT sad.", "I am very happy, not sad."),
        ("NASA, JPEG and COVID-19", "nasa, jpeg and covid-19"),
        ("THE END. WORLD WAR II", "the end. world war II"),
        ("NOOOO! VOLDEMORT", "noooo! voldemort"),
        ("Wi-Fi and Coca-Cola", "wi-fi and coca-cola"),
    ],
)
def test_words_are_said(text: str, lowered: str) -> None:
    """Shouted words, acronyms that the dictionary has, and names with a hyphen."""
    assert _lowered(text) == lowered


@pytest.mark.parametrize(
    "text",
    [
        "The US and the IT guy, WHO said so",
        "GPU, HDMI, SSD and USB-C",
        "Portland, OR",
        "IEEE, WWW, AAA, VIII",
        "GPT-4o, A4, MP3, RTX4090, A.I. and J.R.R. Tolkien",
        "Blorp-Fnord",
    ],
)
def test_initials_stay(text: str) -> None:
    """What may be initials is spelled unless shouted words stand around it."""
    assert _lowered(text) == text


def test_plural_of_initials_gets_an_apostrophe() -> None:
    """Else "LLMs" would end in "Ms", and "TVs" in "vs"."""
    assert _lowered("LLMs, TVs") == "LLM's, TV's"


def test_origins_stay() -> None:
    """Every letter comes from itself."""
    lowered = lower_capitals(AlignedText.of("I SAID NO"), _knows)

    assert [lowered.origin(index, index + 1) for index in range(len(lowered))] == [
        (index, index + 1) for index in range(9)
    ]
