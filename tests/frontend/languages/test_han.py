"""Han characters that nothing but a short phrase calls Japanese."""

import pytest

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.languages import LanguageRun
from sovits_serve.frontend.languages.han import is_surely_chinese, settle_han, unread_in_japanese


def _settled(
    *runs: tuple[str, str], is_chinese: bool = False, home: str = "zh"
) -> list[tuple[str, str]]:
    given = [LanguageRun(language, AlignedText.of(text)) for language, text in runs]
    settled = settle_han(given, home, is_chinese=is_chinese)
    return [(run.language, run.text.text) for run in settled]


def test_phrase_beside_chinese_is_chinese() -> None:
    """Without any kana, what stands beside Mandarin is Mandarin."""
    assert _settled(("zh", "你好，"), ("ja", "世界！")) == [("zh", "你好，世界！")]


def test_character_that_chinese_lacks_keeps_all_as_found() -> None:
    """A Japanese form of a character is as good as kana."""
    runs = [("ja", "新聞、散歩、"), ("zh", "三枚")]

    assert _settled(*runs) == runs


def test_phrase_beside_kana_stays() -> None:
    """With kana around, both languages are there."""
    runs = [("zh", "我去"), ("ja", "東京タワー"), ("zh", "玩")]

    assert _settled(*runs) == runs


def test_character_that_japanese_lacks_decides() -> None:
    """A simplified character makes its run Mandarin, whatever else the text has."""
    runs = [("ja", "はい。"), ("en", "OK "), ("ja", "老汉儿")]

    assert _settled(*runs)[-1] == ("zh", "老汉儿")


def test_japanese_without_kana_stays_where_all_is_japanese() -> None:
    """A text of Han characters alone stays as it was found."""
    assert _settled(("ja", "東京特許許可局。")) == [("ja", "東京特許許可局。")]


def test_chinese_text_makes_all_its_segments_chinese() -> None:
    """What the rest of the text says counts, too; in Cantonese modes home is Cantonese."""
    assert _settled(("ja", "世界。"), is_chinese=True, home="yue") == [("yue", "世界。")]


@pytest.mark.parametrize(
    "runs",
    [
        [("ja", "この漢字は「"), ("zh", "中国」"), ("ja", "と読みます。")],
        [("zh", "中国、"), ("ja", "韓国、日本の三カ国が参加した。")],
        [("zh", "『人間失格』"), ("ja", "は太宰治の作品です。")],
    ],
)
def test_word_within_a_japanese_sentence_is_japanese(runs: list[tuple[str, str]]) -> None:
    """Nothing but the phrase says Chinese, and all around it is Japanese."""
    assert _settled(*runs) == [("ja", "".join(text for _, text in runs))]


@pytest.mark.parametrize(
    "runs",
    [
        [("zh", "大家好！"), ("ja", "こんにちは！")],
        [("zh", "我喜歡"), ("ja", "「夜に駆ける」"), ("zh", "這首歌")],
        [("en", "She said "), ("zh", "你好 "), ("en", "and "), ("ja", "さようなら")],
    ],
)
def test_chinese_beside_japanese_stays(runs: list[tuple[str, str]]) -> None:
    """Another sentence, or common words of Chinese."""
    assert _settled(*runs) == runs


def test_word_that_japanese_cannot_read_is_chinese() -> None:
    """Words with a character that Japanese lacks are Mandarin, the words around them stay."""
    run = LanguageRun("ja", AlignedText.of("手紙を書く。手纸用完了、龘。"))
    parts = [(part.language, part.text.text) for part in unread_in_japanese(run)]

    assert [part for part in parts if part[1]] == [
        ("ja", "手紙を書く。"),
        ("zh", "手纸用完了"),
        ("ja", "、"),
        ("zh", "龘"),
        ("ja", "。"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("你们好", True), ("世界", False), ("你好、です", False), ("hello", False), ("咱们", True)],
)
def test_what_is_surely_chinese(text: str, expected: bool) -> None:
    """Characters outside the Japanese sets, and no kana."""
    assert is_surely_chinese(text) is expected
