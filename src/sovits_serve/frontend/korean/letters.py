"""Latin letters by their Korean names: "K팝" is 케이팝, "DNA" is 디엔에이.

Source: GPT-SoVITS 48b1a01, text/korean.py, latin_to_hangul: every letter, even within a word.
"""

from sovits_serve.frontend.aligned_text import AlignedText

_NAMES = (
    "에이 비 시 디 이 에프 지 에이치 아이 제이 케이 엘 엠 엔 오 피 큐 아르 에스 티 유 브이 더블유 "
    "엑스 와이 제트"
).split()
_NAME_OF = {chr(ord("a") + i): name for i, name in enumerate(_NAMES)}
# The signs that Unicode folds to an ASCII letter.
_NAME_OF |= {"\u0130": "아이", "\u0131": "아이", "\u017f": "에스", "\u212a": "케이"}


def spell_letters(text: AlignedText) -> AlignedText:
    """Replace every Latin letter by its name; each syllable comes from its letter."""
    return text.map_characters(_name)


def _name(character: str) -> str:
    return _NAME_OF.get(character) or _NAME_OF.get(character.lower(), character)
