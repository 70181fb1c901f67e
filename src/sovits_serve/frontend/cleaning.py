"""What is done to any text before anybody reads it: no word is touched.

Takes out what is no text (controls, lone surrogates, invisible format characters), composes what
was typed in parts (Hangul jamo, kana with marks, letters with accents), writes out characters that
stand for words (㍿, ㎡, ①), and cuts towers of combining marks. Everything else stays, in its place.
"""

import re
import unicodedata
from collections.abc import Callable

from sovits_serve.frontend.aligned_text import AlignedText

# Carriage returns come alone, or with a line feed that stays.
_RETURN = re.compile("\r\n?|[\x85\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
# Invisible marks that steer layout, joiners, byte order marks, variation selectors, lone
# surrogates. An emoji falls apart without its joiners; it has no words either way.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)
# A run with something that can compose: a base and marks, or conjoining jamo.
_COMPOSABLE = re.compile(
    "[^\u0300-\u036f\u3099\u309a\u20d0-\u20f0][\u0300-\u036f\u3099\u309a\u20d0-\u20f0]+"
    "|[\u1100-\u1112][\u1161-\u1175](?:[\u11a8-\u11c2])?"
)
_LEFT_OVER = re.compile("[\u0300-\u036f\u20d0-\u20f0]+")
# One character for a whole word or for a letter in fancy dress: ㍿, ㎡, ①, №, 𝐀, ﬁ, ⼈. Degrees (℃) stay:
# languages read them as they are.
_COMPATIBLE = re.compile(
    "[\u2100-\u2102\u2104-\u2108\u210a-\u214f\u2460-\u24ff\u2f00-\u2fdf\u3200-\u33ff"
    "\uf900-\ufaff\ufb00-\ufb06"
    "\U0001d400-\U0001d7ff\U0001f100-\U0001f16b]"
)
_SUSPECT = re.compile(
    "|".join(part.pattern for part in (_CONTROL, _INVISIBLE, _RETURN, _COMPATIBLE, _LEFT_OVER))
    + "|[\u3099\u309a\u1100-\u11ff]"
)


def clean(text: AlignedText) -> AlignedText:
    """Return the text without what is no text; most texts come back as they are."""
    if not _SUSPECT.search(text.text):
        return text
    text = text.sub(_RETURN, _constant("\n")).sub(_CONTROL, _constant(" "))
    text = text.sub(_INVISIBLE, _constant("")).sub(_COMPATIBLE, _expand)
    return text.sub(_COMPOSABLE, _compose).sub(_LEFT_OVER, _constant(""))


def has_words(text: str) -> bool:
    """Return whether anything in a text is a letter, a digit, an ideograph, or stands for some."""
    return any(character.isalnum() for character in text) or bool(_COMPATIBLE.search(text))


def _constant(text: str) -> Callable[[re.Match[str]], str]:
    return lambda _: text


def _expand(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match.group())


def _compose(match: re.Match[str]) -> str:
    # No letter has more than a few marks that compose; normalising a tower of them is quadratic.
    return unicodedata.normalize("NFC", match.group()[:8])
