"""What is done to English text before normalisation, so that no word is dropped or misread.

Upstream deletes every sign that it does not know, and glues what stood around it. These rules write
signs as words, part what was glued, and read amounts, dates and abbreviations as people do. None of
them touches plain words. A strict frontend does without them.
"""

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.english import abbreviations, addresses, amounts, signs

# Letters first, so that patterns need to know ASCII only; signs last: others need them.
REPAIRS = (
    signs.plain_letters,
    addresses.spell_addresses,
    abbreviations.expand_abbreviations,
    abbreviations.read_roman_numerals,
    amounts.read_dates,
    amounts.read_codes,
    amounts.read_times,
    amounts.read_pairs,
    amounts.read_money,
    amounts.read_measures,
    amounts.part_numbers,
    signs.read_signs,
    signs.pause_at_marks,
)


def repair(text: AlignedText) -> AlignedText:
    """Return the text with signs written out as words."""
    for step in REPAIRS:
        text = step(text)
    return text
