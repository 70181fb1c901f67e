"""A recorded request's text through our own frontend, as upstream divides and reads it."""

from sovits_serve.parity.request_text import spoken_sentences


def test_sentences_are_cut_and_read_as_upstream_does() -> None:
    """Runs of marks shrink, cut5 cuts at every mark, and pieces without words are left out."""
    found = spoken_sentences("你好世界！！！今天是星期五。", "zh", "cut5", "v2", is_streaming=False)

    assert [sentence.normalized for sentence in found] == ["你好世界!", "今天是星期五."]


def test_streaming_keeps_runs_of_marks() -> None:
    """Upstream only squeezes marks of requests that do not stream."""
    found = spoken_sentences("Well... I see.", "en", "cut0", "v2", is_streaming=True)

    assert [sentence.text for sentence in found] == ["Well... I see."]
