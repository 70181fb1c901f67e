"""Which runs of which languages a text becomes in each language mode.

Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TextPreprocessor.py, get_phones_and_bert.
"""

import re
from collections.abc import Iterator

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.languages.run import LanguageRun, join_runs
from sovits_serve.frontend.languages.segmentation import segment_languages

_BLANKS = re.compile(" {2,}")
_ALL = "all_"
_CANTONESE = "yue"


def collapse_blanks(text: AlignedText) -> AlignedText:
    """Make one blank of several; done before ``split_by_mode``."""
    return text.sub(_BLANKS, " ")


def split_by_mode(text: AlignedText, mode: str, *, keep_all: bool = False) -> list[LanguageRun]:
    """Cut a text into runs as a language mode asks.

    Args:
        text: any text, blanks collapsed.
        mode: "en": all is English; "auto" and "auto_yue": as found; "all_zh", "all_yue",
            "all_ja", "all_ko": everything but plain English is of that language; "zh", "yue",
            "ja", "ko": so is everything but what is found to be English.
        keep_all: keep what upstream drops of text of unknown language; see there.

    Returns:
        Runs as ``segment_languages`` gives them. Empty for a text of blanks, except in "en".
    """
    if mode == "en":
        return [LanguageRun("en", text)]
    if mode.startswith(_ALL):
        language = mode.removeprefix(_ALL)
        han = "zh" if language == _CANTONESE else language
        return list(_renamed(segment_languages(text, han), han, language))
    runs = segment_languages(text, keep_all=keep_all)
    if mode == "auto":
        return runs
    if mode == "auto_yue":
        return join_runs(_renamed(runs, "zh", _CANTONESE))
    return join_runs(LanguageRun("en" if run.language == "en" else mode, run.text) for run in runs)


def _renamed(runs: list[LanguageRun], old: str, new: str) -> Iterator[LanguageRun]:
    for run in runs:
        yield LanguageRun(new, run.text) if run.language == old else run
