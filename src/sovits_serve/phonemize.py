"""What ``sovits-serve phonemize`` does: show how a text is read, without a model."""

import json
from collections.abc import Iterator
from pathlib import Path

from sovits_serve.config import FrontendConfig
from sovits_serve.frontend.segment import Piece, Segment
from sovits_serve.frontend.text_frontend import TextFrontend


def run_phonemize(
    text: str,
    language: str,
    *,
    cut: str,
    dictionary: Path | None,
    symbol_version: str,
    as_json: bool,
) -> Iterator[str]:
    """Yield lines for people, or one line of JSON for each segment.

    Raises:
        RequestError: something about the text is wrong.
        ConfigError: the dictionary is.
    """
    config = FrontendConfig(
        cut=cut, max_characters=1 << 24, dictionary="" if dictionary is None else str(dictionary)
    )
    frontend = TextFrontend(symbol_version, config)
    for number, segment in enumerate(frontend.iterate(text, language), 1):
        if as_json:
            yield json.dumps(_as_object(segment), ensure_ascii=False)
        else:
            yield from _for_people(number, segment, text)


def _for_people(number: int, segment: Segment, text: str) -> Iterator[str]:
    pause = "" if segment.pause_s is None else f", then {segment.pause_s:g} s of silence"
    lead = f", after {segment.lead_pause_s:g} s of silence" if segment.lead_pause_s else ""
    yield f"segment {number} [{segment.start}:{segment.end}]{lead}{pause}: {segment.text}"
    for piece in segment.pieces:
        yield f"  {piece.language}: {piece.normalized}"
        for unit in piece.units:
            source = text[unit.start : unit.end]
            yield f"    {_padded(unit.text)} {' '.join(unit.phonemes)}  <- [{unit.start}:{unit.end}] {source!r}"


def _padded(text: str) -> str:
    """Pad a word to a column; East Asian characters take two places on most terminals."""
    width = sum(2 if character > "\u2e7f" else 1 for character in text)
    return text + " " * max(0, 14 - width)


def _as_object(segment: Segment) -> dict[str, object]:
    return {
        "text": segment.text,
        "start": segment.start,
        "end": segment.end,
        "lead_pause_s": segment.lead_pause_s,
        "pause_s": segment.pause_s,
        "phone_ids": segment.phonemized().phone_ids,
        "phonemes": segment.phonemes,
        "pieces": [_piece_object(piece) for piece in segment.pieces],
    }


def _piece_object(piece: Piece) -> dict[str, object]:
    return {
        "language": piece.language,
        "text": piece.text,
        "normalized": piece.normalized,
        "units": [
            {"text": u.text, "phonemes": u.phonemes, "start": u.start, "end": u.end}
            for u in piece.units
        ],
    }
