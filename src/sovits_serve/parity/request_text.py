"""The text of a recorded request, through our frontend held to what upstream does."""

from collections.abc import Iterator

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.segment import Segment
from sovits_serve.frontend.segmentation import replace_consecutive_punctuation, segment_upstream
from sovits_serve.frontend.text_frontend import TextFrontend


def spoken_sentences(
    text: str, language: str, method: str, symbol_version: str, *, is_streaming: bool
) -> Iterator[Segment]:
    """Yield the sentences of a request's text in order; those without phonemes are left out.

    Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, TTS.run, and TextPreprocessor.py.
    """
    frontend = TextFrontend(symbol_version, is_strict=True)
    whole = AlignedText.of(text)
    if not is_streaming:
        whole = replace_consecutive_punctuation(whole)
    for sentence in segment_upstream(whole, method, language):
        segment = frontend.one_segment(sentence.text, language)
        if segment.normalized:
            yield segment
