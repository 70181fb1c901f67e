"""The text of the training corpus and of the evaluation, made from patterns and word lists.

    python -m tools.builtin_voice.texts --language en --count 3000 --seed 0 --output FILE

Seven tenths are sentences of everyday patterns; the rest are salads: random words of the CMU
dictionary, or random characters, so that every sound follows every other. Everything here is
generated; no corpus goes in. Knows neither phonemes nor teachers.
"""

import argparse
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from sovits_serve.frontend.english.files import package_file
from tools.builtin_voice import texts_english, texts_held_out, texts_mandarin

_SALAD_SHARE = 0.3
_PHRASE_SHARE = 0.08
_MAX_WORDS, _MAX_CHARACTERS = 22, 30
_MIN_SIZE = 2
_MAX_TRIES = 200  # without a new sentence, times
_NUM_COMMON_WORDS = 25_000
_SALAD_ENDS = "....?!"
_SLOT = re.compile(r"\{(\w+)\}")
_HAN = re.compile(r"[一-鿿]")
_VOWEL = re.compile(r"[aeiouy]")


def english_sentences(count: int, seed: int) -> list[str]:
    """Return ``count`` different English sentences of 2 to 22 words; the same for the same seed.

    Raises:
        ValueError: there are not so many.
    """
    rng = random.Random(f"en {seed}")  # noqa: S311 -- not for secrets
    words = _salad_words(rng)
    return _collect(
        count,
        rng,
        pattern=lambda: _english_sentence(rng),
        salad=lambda: _english_salad(words, rng),
        held_out_sentences=held_out("en"),
    )


def mandarin_sentences(count: int, seed: int) -> list[str]:
    """Return ``count`` different Mandarin sentences of 2 to 30 characters; see above.

    Raises:
        ValueError: there are not so many.
    """
    rng = random.Random(f"zh {seed}")  # noqa: S311 -- not for secrets
    syllables = _dealt(_characters_by_reading(), rng)
    return _collect(
        count,
        rng,
        pattern=lambda: _mandarin_sentence(rng),
        salad=lambda: _mandarin_salad(syllables, rng),
        held_out_sentences=held_out("zh"),
    )


def closed_set(language: str = "en") -> list[list[str]]:
    """Return ten groups of twenty sentences that differ in two words; never in training text."""
    return texts_held_out.groups(language)


def held_out(language: str, count: int = 200) -> list[str]:
    """Return the first ``count`` of 200 fixed sentences, a sentence of each group in turn.

    Raises:
        ValueError: there are not so many.
    """
    groups = closed_set(language)
    sentences = [sentence for row in zip(*groups, strict=True) for sentence in row]
    if count > len(sentences):
        raise ValueError(f"count: {count}; there are {len(sentences)} sentences held out")
    return sentences[:count]


def normalized(sentence: str) -> str:
    """Return what two sentences have in common that are the same to the ear."""
    return " ".join(re.findall(r"[\w']+", sentence.lower()))


def _collect(
    count: int,
    rng: random.Random,
    *,
    pattern: Callable[[], str],
    salad: Callable[[], str],
    held_out_sentences: Sequence[str],
) -> list[str]:
    seen = {normalized(sentence) for sentence in held_out_sentences}
    sentences: list[str] = []
    tries = 0
    while len(sentences) < count:
        make = salad if rng.random() < _SALAD_SHARE else pattern
        sentence = make()
        while normalized(sentence) in seen:  # of the same kind again, to keep the shares
            tries += 1
            if tries > _MAX_TRIES * (len(sentences) + 1):
                raise ValueError(f"count: {count}; only {len(sentences)} sentences were found")
            sentence = make()
        seen.add(normalized(sentence))
        sentences.append(sentence)
    return sentences


def _english_sentence(rng: random.Random) -> str:
    if rng.random() < _PHRASE_SHARE:
        return rng.choice(texts_english.PHRASES)
    while True:
        sentence = _filled(texts_english.PATTERNS, texts_english.SLOTS, rng)
        if _MIN_SIZE <= len(sentence.split()) <= _MAX_WORDS:
            start = 1 if sentence[0] == '"' else 0
            return sentence[:start] + sentence[start].upper() + sentence[start + 1 :]


def _mandarin_sentence(rng: random.Random) -> str:
    if rng.random() < _PHRASE_SHARE:
        return rng.choice(texts_mandarin.PHRASES)
    while True:
        sentence = _filled(texts_mandarin.PATTERNS, texts_mandarin.SLOTS, rng)
        if _MIN_SIZE <= len(_HAN.findall(sentence)) <= _MAX_CHARACTERS:
            return sentence


def _filled(
    patterns: Sequence[tuple[int, str]], slots: dict[str, list[str]], rng: random.Random
) -> str:
    """Choose a pattern and fill its slots, those of the fillings too."""
    (_, text), *_ = rng.choices(patterns, weights=[weight for weight, _ in patterns])
    while "{" in text:
        text = _SLOT.sub(lambda slot: rng.choice(slots[slot[1]]), text)
    return text


def _english_salad(words: Iterator[str], rng: random.Random) -> str:
    chosen = [next(words) for _ in range(rng.randint(4, 9))]
    if len(chosen) > 5 and rng.random() < 0.5:
        chosen[rng.randint(1, len(chosen) - 3)] += ","
    return " ".join(chosen).capitalize() + rng.choice(_SALAD_ENDS)


def _mandarin_salad(syllables: Iterator[str], rng: random.Random) -> str:
    phrases = [
        "".join(rng.choice(next(syllables)) for _ in range(rng.randint(3, 7)))
        for _ in range(rng.randint(1, 3))
    ]
    return "，".join(phrases) + rng.choice("。。。。？！")


def _dealt(cards: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Yield all cards in random order, again and again, so that none is left out for long."""
    while True:
        yield from rng.sample(cards, len(cards))


def _salad_words(rng: random.Random) -> Iterator[str]:
    """Yield words; every other pair has a rare end and a rare start as often as common ones."""
    words = _common_words()
    by_end, by_start = defaultdict(list), defaultdict(list)
    for word, (start, end) in words.items():
        by_start[start].append(word)
        by_end[end].append(word)
    plain = _dealt(tuple(words), rng)
    ends, starts = _dealt(tuple(by_end), rng), _dealt(tuple(by_start), rng)
    while True:
        yield rng.choice(by_end[next(ends)])
        yield rng.choice(by_start[next(starts)])
        yield next(plain)
        yield next(plain)


@cache
def _common_words() -> dict[str, tuple[str, str]]:
    """Return frequent words that the CMU dictionary reads in one way; first and last phoneme."""
    data = package_file("pronouncing", "cmudict-0.7b").read_text(encoding="latin-1")
    readings = dict(line.lower().split("  ") for line in data.splitlines() if line[0].isalpha())
    ambiguous = {word.partition("(")[0] for word in readings if word.endswith(")")}
    counts = package_file("wordsegment", "unigrams.txt").read_text(encoding="utf-8")
    frequent = [line.split("\t")[0] for line in counts.splitlines()[:_NUM_COMMON_WORDS]]
    found = {}
    for word in frequent:
        is_usual = word.isalpha() and 3 <= len(word) <= 11 and _VOWEL.search(word)
        if is_usual and word in readings and word not in ambiguous:
            phonemes = readings[word].split()
            found[word] = (phonemes[0].rstrip("012"), phonemes[-1].rstrip("012"))
    return found


@cache
def _characters_by_reading() -> tuple[str, ...]:
    """Return for each syllable and tone the characters that are read so, commonest ones only."""
    from pypinyin.pinyin_dict import pinyin_dict  # an optional dependency, and large

    # In the character set GB 2312, 0xB0 to 0xD7 are the 3755 common characters. Best first:
    # common and read in one way, common, any.
    ranked: dict[str, list[str]] = defaultdict(lambda: ["", "", ""])
    for code, readings in pinyin_dict.items():
        character = chr(code)
        encoded = character.encode("gb2312", "ignore")
        if not _HAN.match(character) or not encoded:
            continue
        first, *others = readings.split(",")
        rank = 2 if encoded[0] > 0xD7 else int(bool(others))
        ranked[first][rank] += character
    return tuple(next(filter(None, ranks)) for _, ranks in sorted(ranked.items()))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--language", choices=("en", "zh"), required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    make = {"en": english_sentences, "zh": mandarin_sentences}[args.language]
    lines = make(args.count, args.seed)
    args.output.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
