r"""Inline control of how text is spoken: pauses, and how a word is read.

    <break time="700ms"/>  <break strength="strong"/>
    <phoneme py="yin2 hang2">银行</phoneme>  <phoneme alphabet="pinyin" ph="yin2 hang2">银行</phoneme>
    [银行|yin2 hang2]  [tomato|T AH0 M EY1 T OW0]  [東京|トーキョー]

``[word|reading]`` counts only if the reading is (nearly) well formed in one of the notations. Everything
else with ``< > [ ]`` is plain text, other tags too, unless the text begins with ``<speak>``: then
they are left out, and XML's entities are characters. ``\<`` and ``\[`` are the plain characters.
Positions are those of the text as it was given.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import unescape

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.notations import (
    EXAMPLES,
    LANGUAGES,
    canonical,
    is_plain_choice,
    notation_of,
)

MAX_TAGS = 10_000
MAX_BREAK_S = 10.0
_DEFAULT_STRENGTH = "medium"
# A comma is about 0.3 s in these models, the end of a sentence 0.5 s.
_STRENGTHS_S: Mapping[str, float] = {
    "none": 0.0,
    "x-weak": 0.15,
    "weak": 0.3,
    "medium": 0.5,
    "strong": 0.8,
    "x-strong": 1.2,
}
_NOTATION_OF_ATTRIBUTE = {
    "py": "pinyin",
    **{notation: notation for notation in LANGUAGES if notation != "pinyin"},
}
_BREAK_FORMS = '<break time="700ms"/>, <break time="1.5s"/>, <break strength="strong"/>'
_PHONEME_FORMS = (
    '<phoneme py="yin2 hang2">银行</phoneme> (or jyutping, arpabet, kana, hangul in place of py), '
    '<phoneme alphabet="pinyin" ph="yin2 hang2">银行</phoneme>'
)

_CONTROL = re.compile(
    r"\\[<\[]|</?(?P<tag>break|phoneme)(?=[\s/>])|\[(?P<word>[^\[\]|｜<>\\\n]++)[|｜](?P<reading>[^\[\]|｜<>\\\n]++)\]",
    re.IGNORECASE,
)
_AFTER_TAG = "(?:(?<=break)|(?<=phoneme))"
_TAG_REST = re.compile(
    _AFTER_TAG
    + r"(?P<attributes>(?:\s++[A-Za-z:\-]++\s*+=\s*+(?:\"[^\"<>]*+\"|'[^'<>]*+'))*+)\s*+(?P<end>/?)>",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"(?<![A-Za-z:\-])([A-Za-z:\-]++)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)')")
_BREAK_END = re.compile(r"(?<=>)\s*+</break\s*+>", re.IGNORECASE)
_TAG_END = re.compile(_AFTER_TAG + r"\s*+>", re.IGNORECASE)
_TIME = re.compile(r"\+?([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})\s?(ms|s)", re.IGNORECASE)
_SSML_START = re.compile(r"\A\s*+(?:<\?xml[^<>]{0,200}>\s*+)?<speak[\s>]", re.IGNORECASE)
_SSML_PART = re.compile(
    r"</?(?P<name>[A-Za-z!?][\w:\-]{0,40})[^<>]{0,1000}>|&(?P<entity>amp|lt|gt|quot|apos);"
)
_SHOWN = 40  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class MarkedReading:
    """How a range of a text is to be read.

    ``notation`` is pinyin, jyutping, arpabet, kana or hangul, or "tones": pinyin or jyutping,
    whichever the language of the text asks for.
    """

    start: int
    end: int
    notation: str
    reading: str


@dataclass(frozen=True, slots=True)
class Break:
    """A pause of so many seconds where its tag stood."""

    position: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text without its markup, and what the markup said; all positions are of the original."""

    text: AlignedText
    readings: tuple[MarkedReading, ...]
    breaks: tuple[Break, ...]


def parse_markup(text: str) -> MarkedText:
    """Take the markup out of a text.

    Raises:
        InvalidRequest: a tag is malformed, or there are too many; the message says where and how
            it is written.
    """
    parser = _Parser(text)
    position = 0
    while match := _CONTROL.search(text, position):
        position = parser.read(match)
    marked = parser.result()
    if not _SSML_START.match(text):
        return marked
    return replace(marked, text=marked.text.sub(_SSML_PART, _without_ssml))


def _without_ssml(match: re.Match[str]) -> str:
    """Return what is left of another tag of SSML (a line end for a sentence), or an entity."""
    if match["entity"]:
        return unescape(match[0])
    return "\n" if match["name"].lower() in {"p", "s"} else ""


@dataclass(frozen=True, slots=True)
class _OpenTag:
    """A ``<phoneme>`` whose end has not come yet."""

    position: int
    content: int
    notation: str
    reading: str


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._aligned = AlignedText.of(text)
        self._done = 0
        self._parts: list[AlignedText] = []
        self._readings: list[MarkedReading] = []
        self._breaks: list[Break] = []
        self._open: _OpenTag | None = None

    def read(self, match: re.Match[str]) -> int:
        """Read what was found; return where the search goes on."""
        if match["tag"]:
            return self._tag(match)
        if match["word"]:
            return self._compact(match)
        self._skip(match.start(), match.start() + 1)
        return match.end()

    def result(self) -> MarkedText:
        if self._open is not None:
            raise _error(
                self._open.position, f"<phoneme> has no </phoneme>; write {_PHONEME_FORMS}"
            )
        if not self._parts:
            return MarkedText(self._aligned, (), ())
        parts = (*self._parts, self._aligned[self._done :])
        text = AlignedText.concat(parts)
        return MarkedText(text, tuple(self._readings), tuple(self._breaks))

    def _skip(self, start: int, end: int) -> None:
        """Leave a part out of the text."""
        self._parts.append(self._aligned[self._done : start])
        self._done = end

    def _tag(self, match: re.Match[str]) -> int:
        name, position = match["tag"].lower(), match.start()
        if self._text[position + 1] == "/":
            return self._end_tag(name, position, match.end())
        if self._open is not None:
            raise _error(position, f"<{name}> inside <phoneme>; tags do not nest")
        forms = _BREAK_FORMS if name == "break" else _PHONEME_FORMS
        rest = _TAG_REST.match(self._text, match.end())
        if rest is None:
            raise _error(position, f"<{name}> is malformed; write {forms}")
        attributes = _attributes(rest["attributes"], name, position)
        self._check_number(position)
        self._skip(position, rest.end())
        if name == "break":
            self._breaks.append(Break(position, _seconds(attributes, position)))
            return self._after_break(rest)
        if rest["end"]:
            raise _error(position, f"<phoneme> without content; write {_PHONEME_FORMS}")
        self._open = _OpenTag(position, rest.end(), *_pronunciation(attributes, position))
        return rest.end()

    def _after_break(self, rest: re.Match[str]) -> int:
        """Skip ``</break>`` right after ``<break>``; return where the text goes on."""
        end = _BREAK_END.match(self._text, rest.end()) if not rest["end"] else None
        if end is not None:
            self._done = end.end()
        return self._done

    def _end_tag(self, name: str, position: int, name_end: int) -> int:
        end = _TAG_END.match(self._text, name_end)
        if name == "break" or self._open is None or end is None:
            raise _error(position, f"</{name}> without <{name}> before it")
        content = self._text[self._open.content : position]
        start = self._open.content + len(content) - len(content.lstrip())
        stop = start + len(content.strip())
        if start >= stop:
            raise _error(self._open.position, f"<phoneme> without content; write {_PHONEME_FORMS}")
        said = canonical(self._text[start:stop], self._open.reading)
        reading = MarkedReading(start, stop, self._open.notation, said)
        self._readings.append(reading)
        self._open = None
        self._skip(position, end.end())
        return end.end()

    def _compact(self, match: re.Match[str]) -> int:
        """Read ``[word|reading]``, if it is that."""
        word = match["word"]
        reading = canonical(word, match["reading"].strip())
        notation = notation_of(reading)
        if notation is None or not word.strip() or is_plain_choice(word.strip(), reading):
            return match.start() + 1
        if self._open is not None:
            raise _error(match.start(), "[word|reading] inside <phoneme>; readings do not nest")
        self._check_number(match.start())
        start = match.start("word") + len(word) - len(word.lstrip())
        self._readings.append(MarkedReading(start, start + len(word.strip()), notation, reading))
        self._skip(match.start(), match.start("word"))
        self._skip(match.end("word"), match.end())
        return match.end()

    def _check_number(self, position: int) -> None:
        if len(self._readings) + len(self._breaks) >= MAX_TAGS:
            raise _error(position, f"more than {MAX_TAGS} tags; send the text in parts")


def _attributes(written: str, tag: str, position: int) -> dict[str, str]:
    """Return name -> value of the attributes of a tag."""
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(written):
        name = match[1].lower()
        if name in found:
            raise _error(position, f"<{tag}> has the attribute {name} twice")
        found[name] = (match[2] if match[2] is not None else match[3]).strip()
    return found


def _seconds(attributes: Mapping[str, str], position: int) -> float:
    """Return the length of a break: its time, or else its strength."""
    for name in attributes:
        if name not in {"time", "strength"}:
            raise _error(position, f"<break> has no attribute {_short(name)}; write {_BREAK_FORMS}")
    strength = attributes.get("strength", _DEFAULT_STRENGTH).lower()
    if strength not in _STRENGTHS_S:
        allowed = ", ".join(_STRENGTHS_S)
        raise _error(position, f"break strength {_short(strength)} is not one of {allowed}")
    if "time" not in attributes:
        return _STRENGTHS_S[strength]
    time = attributes["time"]
    match = _TIME.fullmatch(time)
    if match is None:
        raise _error(position, f"break time {_short(time)} is no time; write {_BREAK_FORMS}")
    seconds = float(match[1]) / (1000 if match[2].lower() == "ms" else 1)
    if seconds > MAX_BREAK_S:
        raise _error(position, f"break time {_short(time)} is over the limit of {MAX_BREAK_S:g}s")
    return seconds


def _pronunciation(attributes: Mapping[str, str], position: int) -> tuple[str, str]:
    """Return the notation and the reading that the attributes of ``<phoneme>`` say."""
    if set(attributes) == {"alphabet", "ph"}:
        notation, reading = attributes["alphabet"].lower(), attributes["ph"]
        if notation not in LANGUAGES:
            allowed = ", ".join(LANGUAGES)
            raise _error(position, f"alphabet {_short(notation)} is not one of {allowed}")
    elif len(attributes) == 1 and set(attributes) <= set(_NOTATION_OF_ATTRIBUTE):
        name, reading = next(iter(attributes.items()))
        notation = _NOTATION_OF_ATTRIBUTE[name]
    else:
        given = _short(" ".join(attributes)) if attributes else "no attributes"
        raise _error(position, f"<phoneme> with {given}; write {_PHONEME_FORMS}")
    if not reading:
        raise _error(position, f'<phoneme> without a reading; write "{EXAMPLES[notation]}"')
    return notation, reading


def _short(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")


def _error(position: int, problem: str) -> InvalidRequest:
    return InvalidRequest(f"text: at character {position}: {problem}")
