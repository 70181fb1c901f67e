"""Phonemes of texts, against what upstream made of the same texts.

Languages alone (``frontend_clean``, ``frontend_zh_g2pw_injected``) and language modes
(``frontend_modes``). What is compared is the frontend held to what upstream does and no more. Where it
reads a text otherwise in use, because upstream drops or misreads words, is only counted.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from sovits_serve.config import FrontendConfig
from sovits_serve.errors import ServingError
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Frontend, Phonemization
from sovits_serve.frontend.chinese.frontend import ChineseFrontend
from sovits_serve.frontend.english.frontend import EnglishFrontend
from sovits_serve.frontend.registry import LanguageRegistry
from sovits_serve.frontend.segment import Segment
from sovits_serve.frontend.symbols import symbol_ids
from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.parity.golden import GoldenDirectory, as_list, records, text
from sovits_serve.parity.report import Check, Report, Step, Task
from sovits_serve.parity.tally import Tally

# The share of texts whose phonemes are equal, by language. The others are listed in docs/parity.md.
_SHARES = {"zh": 0.99, "yue": 0.99, "en": 0.98, "ja": 0.99, "ko": 0.98, "auto": 0.98}
_ALL = 1.0
Items = Sequence[Mapping[str, object]]


class RecordedPolyphones:
    """Gives back the readings that a golden recorded for its sentences."""

    def __init__(self, calls: Iterable[Mapping[str, object]]) -> None:
        self._pinyin = {
            text(call["sentence"]): [text(syllable) for syllable in as_list(call["pinyin"])]
            for call in calls
        }

    def pinyin(self, sentences: Sequence[str]) -> list[list[str]]:
        """Return the recorded readings."""
        return [self._pinyin[sentence] for sentence in sentences]


def _tag_nouns(words: Sequence[str]) -> list[str]:
    """Call every word a noun, as upstream's tagger did when the goldens were recorded."""
    return ["NN"] * len(words)


def _strict_languages(version: str) -> LanguageRegistry:
    english = EnglishFrontend(_tag_nouns, is_strict=True)
    return LanguageRegistry(version, FrontendConfig(), {"en": english}, is_strict=True)


def find(directory: GoldenDirectory, report: Report) -> Iterator[Task]:
    """Yield a task for each golden of this kind that is there."""
    goldens: Mapping[str, Callable[[str, Items, Report], Iterator[Step]]] = {
        "frontend_clean": _languages,
        "frontend_zh_g2pw_injected": _polyphones,
        "frontend_modes": _modes,
    }
    for name, steps in goldens.items():
        path = directory.file(f"{name}.json")
        if path is not None:
            yield Task(name, (path,), partial(_read, directory, name, steps, report))


def _read(
    directory: GoldenDirectory,
    name: str,
    steps: Callable[[str, Items, Report], Iterator[Step]],
    report: Report,
) -> Iterator[Step]:
    yield from steps(name, records(directory.json(f"{name}.json")), report)


def _languages(name: str, items: Items, report: Report) -> Iterator[Step]:
    for (language, version), group in _grouped(items, "lang", "version").items():
        step = f"{name}/{language}/{version}"
        yield Step(step, partial(_language, step, language, version, group, report))


def _language(
    step: str, language: str, version: str, items: Items, report: Report
) -> Iterator[Check]:
    frontend = _strict_languages(version).frontend(language)
    tallies = _tallies(step, _SHARES[language], report)
    for item in items:
        if "error" not in item:
            _compare(tallies, frontend, version, item)
    return (tally.check() for tally in tallies.values())


def _polyphones(name: str, items: Items, report: Report) -> Iterator[Step]:
    def checks() -> Iterator[Check]:
        tallies = _tallies(name, _SHARES["zh"], report)
        for item in items:
            model = RecordedPolyphones(records(item["g2pw_calls"]))
            _compare(tallies, ChineseFrontend("v2", polyphones=model, is_strict=True), "v2", item)
        return (tally.check() for tally in tallies.values())

    yield Step(name, checks)


def _tallies(step: str, wanted: float, report: Report) -> dict[str, Tally]:
    names = ("normalized", "phonemes", "phone_ids", "phonemes_per_character")
    return {name: Tally(step, name, wanted, report) for name in names}


def _compare(
    tallies: Mapping[str, Tally], frontend: Frontend, version: str, item: Mapping[str, object]
) -> None:
    source = text(item["text"])
    ours = frontend.phonemize(AlignedText.of(source))
    known = symbol_ids(version)
    phonemes = [phoneme if phoneme in known else "UNK" for phoneme in ours.phonemes]
    tallies["normalized"].add(source, ours.normalized, item["norm"])
    tallies["phonemes"].add(source, " ".join(phonemes), item["phones"])
    tallies["phone_ids"].add(source, [known[phoneme] for phoneme in phonemes], item["ids"])
    if item["word2ph"] is not None:
        tallies["phonemes_per_character"].add(source, _counts(ours), item["word2ph"])


def _counts(spoken: Phonemization) -> list[int]:
    return [len(unit.phonemes) for unit in spoken.units]


def _modes(name: str, items: Items, report: Report) -> Iterator[Step]:
    for (mode, version), group in _grouped(items, "mode", "version").items():
        step = f"{name}/{mode}/{version}"
        yield Step(step, partial(_mode, step, mode, version, group, report))


def _mode(step: str, mode: str, version: str, items: Items, report: Report) -> Iterator[Check]:
    languages = _strict_languages(version)
    strict = TextFrontend(version, languages=languages, is_strict=True)
    routed = TextFrontend(version, languages=languages)
    product = TextFrontend(version)
    wanted = _SHARES[mode.removeprefix("all_").removesuffix("_yue")]
    runs = Tally(step, "runs", _ALL, report)
    ids = Tally(step, "phone_ids", wanted, report)
    rest = Tally(step, "phonemes_where_nothing_is_dropped", _ALL, report)
    num_other = 0
    for item in items:
        if "error" in item:
            continue
        source = text(item["text"])
        ours = strict.one_segment(source, mode)
        runs.add(source, _runs(ours), [[seg["lang"], seg["text"]] for seg in records(item["segs"])])
        ids.add(source, list(ours.phonemized().phone_ids), item["ids"])
        spoken = _spoken(routed, source, mode)
        if spoken is not None and _runs(spoken) == _runs(ours):
            rest.add(source, spoken.phonemes, ours.phonemes)
        said = _spoken(product, source, mode)
        num_other += said is None or list(said.phonemized().phone_ids) != item["ids"]
    report.note(f"parity: {step}: {num_other} of {ids.num_all} texts are read otherwise on purpose")
    return (tally.check() for tally in (runs, ids, rest))


def _spoken(product: TextFrontend, source: str, mode: str) -> Segment | None:
    try:
        return product.one_segment(source, mode)
    except ServingError:
        return None


def _runs(segment: Segment) -> list[list[str]]:
    return [[piece.language, piece.text] for piece in segment.pieces]


def _grouped(items: Items, *keys: str) -> dict[tuple[str, ...], Items]:
    groups: dict[tuple[str, ...], list[Mapping[str, object]]] = {}
    for item in items:
        groups.setdefault(tuple(text(item[key]) for key in keys), []).append(item)
    return dict(groups)
