"""Any text gives phonemes or a clear error, in every language mode, in bounded time."""

import pkgutil
import re
import time
from importlib import import_module

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sovits_serve.frontend
from sovits_serve.errors import InvalidRequest, RequestError
from sovits_serve.frontend.registry import MODES
from sovits_serve.frontend.text_frontend import TextFrontend
from tests.frontend.nasty import WITH_WORDS, WITHOUT_WORDS

FRONTEND = TextFrontend("v2")
_SIZE = 30_000  # characters
SENTENCES = (
    "今天天气很好，我们去公园散步吧。",
    "我哋今晚去食飯，你嚟唔嚟呀？",
    "The quick brown fox didn't jump over 13 lazy dogs.",
    "明日は東京タワーに行きたいです。",
    "오늘은 날씨가 정말 좋네요!",
    "2024年3月15日 $5.50 3:30pm 100%",
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WITH_WORDS)
def test_text_with_words_is_never_empty(name: str, mode: str) -> None:
    """Every text of the nasty list that has words becomes phonemes with ranges inside the text."""
    text = WITH_WORDS[name]

    segments = FRONTEND.segments(text, mode)

    assert all(segment.phonemized().phone_ids for segment in segments)
    assert any(phoneme.isalnum() for segment in segments for phoneme in segment.phonemes)
    for segment in segments:
        assert len(segment.origins) == len(segment.phonemes)
        assert all(0 <= start <= end <= len(text) for start, end in segment.origins)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WITHOUT_WORDS)
def test_text_without_words_is_a_clear_error(name: str, mode: str) -> None:
    """What has nothing to say is refused by name, never spoken as silence."""
    with pytest.raises(InvalidRequest, match="text: "):
        FRONTEND.segments(WITHOUT_WORDS[name], mode)


@given(
    st.lists(st.one_of(st.text(max_size=12), st.sampled_from(SENTENCES)), max_size=5),
    st.sampled_from(MODES),
    st.sampled_from(["auto", "cut0", "cut2", "cut5"]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_mixture_is_read_or_refused(parts: list[str], mode: str, cut: str) -> None:
    """Real sentences mixed with any characters give segments or an error of the caller's."""
    try:
        segments = FRONTEND.segments("".join(parts), mode, cut=cut)
    except RequestError:
        return

    assert segments
    assert all(segment.phonemized().phone_ids for segment in segments)


def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Return every regular expression that a frontend module holds."""
    package = sovits_serve.frontend
    names = [info.name for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    return [
        (f"{name}.{attribute}", value)
        for name in names
        for attribute, value in vars(import_module(name)).items()
        if isinstance(value, re.Pattern) and isinstance(value.pattern, str)
    ]


PATTERNS = dict(_patterns())


@pytest.mark.parametrize("name", PATTERNS)
def test_regular_expression_is_linear(name: str) -> None:
    """No character, and no pair of them, makes a pattern slow: 100 kB would take under a second."""
    pattern = PATTERNS[name]
    written = dict.fromkeys(re.findall(r"[^\\\[\]()|?*+{}^$]", pattern.pattern))
    letters = [*"1a一 .,-あ가\n", *list(written)[:12]]

    for unit in [*letters, *(f"1{letter}" for letter in letters)]:
        text = (unit * _SIZE)[:_SIZE] + "\x00"
        begin = time.process_time()
        sum(1 for _ in pattern.finditer(text))
        # What is quadratic takes minutes.
        assert time.process_time() - begin < _SIZE / 100_000, repr(unit)
