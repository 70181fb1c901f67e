"""Rare ideographs that the normaliser drops, for Mandarin: others of the same sound stand in.

The normaliser keeps U+4E00 to U+9FA5, and simplifies a few of those to ones outside. Cantonese
reads more and needs none of this. Sounds come from pypinyin's table of characters.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.normalization.rewriting import reworded, rewrite
from sovits_serve.frontend.chinese.normalization.simplification import (
    FIRST_IDEOGRAPH,
    LAST_IDEOGRAPH,
    simplified_characters,
)

_RARE = re.compile(
    "(?P<rare>[儸撝瞜綵螮訢讌貙鰆鷉鷿鸊鷈㐀-䶿龦-鿿\uf900-\ufaff\U00020000-\U000323af])"
)
# The same word in another form, rather than any word of the same sound.
_SAME_WORDS = {"綵": "彩", "䌽": "彩", "讌": "宴", "䜩": "宴", "訢": "欣", "䜣": "欣"}


def name_rare_ideographs(text: AlignedText) -> AlignedText:
    """Replace ideographs that would be dropped by ones that are read as they are."""
    return rewrite(text, _RARE, rare=_replace)


def _replace(rare: AlignedText) -> AlignedText:
    other = _SAME_WORDS.get(rare.text) or _homophones().get(rare.text)
    return reworded(rare, other) if other else rare


@cache
def _homophones() -> Mapping[str, str]:
    """Return rare character -> a character with the same reading and as few others as possible."""
    readings = _readings()
    changed = simplified_characters()
    usual: dict[str, str] = {}
    for character, own in readings.items():
        if not FIRST_IDEOGRAPH <= character <= LAST_IDEOGRAPH or character in changed:
            continue
        known = usual.get(own[0])
        if known is None or _rank(character, own) < _rank(known, readings[known]):
            usual[own[0]] = character
    return MappingProxyType(
        {
            character: next(usual[reading] for reading in own if reading in usual)
            for character, own in readings.items()
            if _RARE.match(character) and not usual.keys().isdisjoint(own)
        }
    )


def _rank(character: str, readings: list[str]) -> tuple[int, bool, str]:
    """Order characters: few readings first, then those in everyday use."""
    is_everyday = _everyday(character)
    return len(readings), not is_everyday, character


def _everyday(character: str) -> bool:
    """Return whether a character is in the first level of GB 2312, the 3,755 most used."""
    return "\xb0" <= character.encode("gb2312", "ignore").decode("latin-1")[:1] <= "\xd7"


def _readings() -> dict[str, list[str]]:
    spec = find_spec("pypinyin")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("Chinese needs the package pypinyin: pip install pypinyin")
    file = Path(spec.submodule_search_locations[0]) / "pinyin_dict.json"
    entries = json.loads(file.read_text(encoding="utf-8")).items()
    return {chr(int(code)): readings.split(",") for code, readings in entries}
