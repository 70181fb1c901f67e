"""Numbers to English words, from strings of decimal digits of any length.

The same words as the inflect library gives, as far as it goes (36 digits), without its import time.
Longer numbers are read digit by digit. Knows no text around the number.
"""

from collections.abc import Iterator

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = (
    "- thousand million billion trillion quadrillion quintillion sextillion septillion octillion "
    "nonillion decillion"
).split()
_MAX_DIGITS = 3 * len(_SCALES)
_IRREGULAR_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_SUFFIXES = {"1": "st", "2": "nd", "3": "rd"}


def cardinal(digits: str, *, with_and: bool = False) -> str:
    """Return a number in words: "one thousand, two hundred thirty-four".

    ``with_and`` puts "and" before tens and ones: "two hundred and thirty-four".
    """
    digits = digits.lstrip("0") or "0"
    if len(digits) > _MAX_DIGITS:
        return " ".join(_ONES[int(digit)] for digit in digits)
    if digits == "0":
        return _ONES[0]
    groups = list(_groups(digits, with_and))
    if len(groups) > 1 and 0 < int(digits[-3:]) < 100:
        return f"{', '.join(groups[:-1])}{' and ' if with_and else ' '}{groups[-1]}"
    return ", ".join(groups)


def ordinal(digits: str) -> str:
    """Return an ordinal in words: "one hundred and first"."""
    return ordinal_of(cardinal(digits, with_and=True))


def ordinal_of(words: str) -> str:
    """Turn a number in words into its ordinal: "twenty-one" becomes "twenty-first"."""
    for cut in range(len(words) - 1, -1, -1):
        if words[cut] in " -":
            return words[: cut + 1] + _last_ordinal(words[cut + 1 :])
    return _last_ordinal(words)


def ordinal_suffix(digits: str) -> str:
    """Return what is written after the digits of an ordinal: st, nd, rd or th."""
    if digits[-2:-1] == "1":
        return "th"
    return _SUFFIXES.get(digits[-1], "th")


def number(digits: str) -> str:
    """Return a number as it is said in running text: 1001 to 2999 as a year.

    Source: GPT-SoVITS 48b1a01, text/en_normalization/expend.py, _expand_number.
    """
    short = digits.lstrip("0")
    if len(short) != 4 or not "1000" < short < "3000" or short == "2000":
        return cardinal(digits)
    if "2000" < short < "2010":
        return f"two thousand {_ONES[int(short[3])]}"
    if short.endswith("00"):
        return f"{_below_hundred(int(short[:2]))} hundred"
    tail = int(short[2:])
    second = f"oh {_ONES[tail]}" if tail < 10 else _below_hundred(tail)
    return f"{_below_hundred(int(short[:2]))} {second}"


def _groups(digits: str, with_and: bool) -> Iterator[str]:
    """Yield the words of each group of three digits that is not zero, with its scale."""
    size = -(-len(digits) // 3)
    padded = digits.zfill(3 * size)
    for index in range(size):
        value = int(padded[3 * index : 3 * index + 3])
        scale = size - 1 - index
        if value:
            yield _below_thousand(value, with_and) + (f" {_SCALES[scale]}" if scale else "")


def _below_thousand(value: int, with_and: bool) -> str:
    hundreds, rest = divmod(value, 100)
    if not hundreds:
        return _below_hundred(rest)
    head = f"{_ONES[hundreds]} hundred"
    if not rest:
        return head
    return f"{head}{' and ' if with_and else ' '}{_below_hundred(rest)}"


def _below_hundred(value: int) -> str:
    if value < 20:
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def _last_ordinal(word: str) -> str:
    if word in _IRREGULAR_ORDINALS:
        return _IRREGULAR_ORDINALS[word]
    return word[:-1] + "ieth" if word.endswith("y") else word + "th"
