"""Mandarin or Japanese: Han characters that were found to be Japanese although nothing says so.

Detection looks at short phrases and takes many that both languages write alike for Japanese
("世界" in "你好，世界！"). Japanese is hardly ever written without kana, and its character sets lack
most simplified characters. Within a Japanese sentence it is the other way round ("中国" in
"この漢字は「中国」と読みます。"). Ours: upstream leaves such phrases as they were found.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from sovits_serve.frontend.languages.run import LanguageRun, join_runs

_KANA = re.compile("[ぁ-ゖァ-ヺー々ｦ-ﾝ]")
_HAN = re.compile("[㐀-鿿]")
_HIRAGANA = re.compile("[ぁ-ゖ]")
_SENTENCE_END = re.compile(r"[。！？.!?\n]\W*$")
_CHINESE_WORD = re.compile("[我你您她這那們嗎呢吧很好去玩謝]|的$")
_LONGEST = 6
_HAN_WORD = re.compile("[㐀-鿿]+")


def is_surely_chinese(text: str) -> bool:
    """Return whether a text has characters that Japanese lacks, and no kana."""
    return not _KANA.search(text) and _lacks_japanese(text)


def settle_han(runs: Iterable[LanguageRun], home: str, *, is_chinese: bool) -> list[LanguageRun]:
    """Give Japanese runs without kana to ``home`` where they cannot be Japanese, and the reverse.

    Args:
        runs: the runs of a segment.
        home: the language of Han characters that are not Japanese.
        is_chinese: the whole text that the segment is from is surely Chinese.
    """
    found = list(runs)
    if not any(run.language == "ja" for run in found):
        return found
    text = "".join(run.text.text for run in found)
    if not is_chinese and _HIRAGANA.search(text) and not _lacks_japanese(text):
        found = [
            LanguageRun("ja", run.text) if _is_within_japanese(found, index, home) else run
            for index, run in enumerate(found)
        ]
    has_japanese = bool(_KANA.search(text)) or _lacks_chinese(text)
    is_beside_chinese = not has_japanese and any(run.language == home for run in found)
    return join_runs(
        LanguageRun(home, run.text)
        if run.language == "ja"
        and (is_chinese or is_beside_chinese or is_surely_chinese(run.text.text))
        else run
        for run in found
    )


def _is_within_japanese(runs: Sequence[LanguageRun], index: int, home: str) -> bool:
    """Return whether a Chinese run is a word of a Japanese sentence.

    That is, if it is short, without the commonest words of Chinese, and all that touches it within
    its sentence is Japanese.
    """
    run = runs[index]
    text = run.text.text
    if run.language != home or len(_HAN.findall(text)) > _LONGEST or _CHINESE_WORD.search(text):
        return False
    neighbours = (*runs[max(0, index - 1) : index], *runs[index + 1 : index + 2])
    before = runs[index - 1].text.text if index else ""
    is_inside = not _SENTENCE_END.search(text) and not _SENTENCE_END.search(before)
    return is_inside and all(one.language == "ja" for one in neighbours)


def unread_in_japanese(run: LanguageRun) -> Iterator[LanguageRun]:
    """Yield the words of a Japanese run, with those that Japanese cannot read as Mandarin.

    Such a word is a stretch of Han characters with one that Japanese lacks.
    """
    text = run.text.text
    if run.language != "ja" or not _lacks_japanese(text):
        yield run
        return
    done = 0
    for match in _HAN_WORD.finditer(text):
        if _lacks_japanese(match.group()):
            yield LanguageRun("ja", run.text[done : match.start()])
            yield LanguageRun("zh", run.text[match.start() : match.end()])
            done = match.end()
    yield LanguageRun("ja", run.text[done:])


def _lacks_chinese(text: str) -> bool:
    """Return whether a character is in neither of the usual Chinese sets ("駅", "歩")."""
    return any(
        not character.encode("gb2312", "ignore") and not character.encode("big5", "ignore")
        for character in _HAN.findall(text)
    )


def _lacks_japanese(text: str) -> bool:
    """Return whether a character is not in the usual Japanese set."""
    try:
        "".join(_HAN.findall(text)).encode("cp932")
    except UnicodeEncodeError:
        return True
    return False
