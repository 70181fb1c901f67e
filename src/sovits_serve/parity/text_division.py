"""Symbols, cutting text into segments, and finding languages: everything here must be equal."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.chinese.syllables import syllable_table
from sovits_serve.frontend.languages import segment_languages
from sovits_serve.frontend.segmentation import (
    cut,
    merge_short,
    replace_consecutive_punctuation,
    segment_upstream,
    split_long,
)
from sovits_serve.frontend.symbols import symbol_table
from sovits_serve.parity.golden import GoldenDirectory, as_list, integer, record, records, text
from sovits_serve.parity.report import Check, Report, Step, Task
from sovits_serve.parity.tally import Tally

_ALL = 1.0
Compare = Callable[[GoldenDirectory, str, Report], Iterable[Check]]


def find(directory: GoldenDirectory, report: Report) -> Iterator[Task]:
    """Yield a task for each golden of this kind that is there."""
    for name, compare in _GOLDENS.items():
        path = directory.file(f"{name}.json")
        if path is not None:
            steps = partial(_steps, directory, name, compare, report)
            yield Task(name, (path,), steps)


def _steps(
    directory: GoldenDirectory, name: str, compare: Compare, report: Report
) -> Iterator[Step]:
    yield Step(name, lambda: compare(directory, name, report))


def _symbols(directory: GoldenDirectory, name: str, report: Report) -> Iterator[Check]:
    golden = record(directory.json(f"{name}.json"))
    for version in ("v1", "v2"):
        tally = Tally(f"{name}/{version}", "symbols", _ALL, report)
        tally.add(version, list(symbol_table(version)), golden[version])
        yield tally.check()


def _pinyin(directory: GoldenDirectory, name: str, report: Report) -> Iterator[Check]:
    golden = record(record(directory.json(f"{name}.json"))["map"])
    tally = Tally(name, "syllables", _ALL, report)
    ours = {syllable: " ".join(pair) for syllable, pair in syllable_table().items()}
    tally.add("all syllables", ours, golden)
    yield tally.check()


def _languages(directory: GoldenDirectory, name: str, report: Report) -> Iterator[Check]:
    for default in ("default", "zh", "ja", "ko"):
        tally = Tally(f"{name}/{default}", "runs", _ALL, report)
        for item in records(directory.json(f"{name}.json")):
            source = text(item["text"])
            if isinstance(item[default], list):
                runs = segment_languages(
                    AlignedText.of(source), "" if default == "default" else default
                )
                tally.add(source, [[run.language, run.text.text] for run in runs], item[default])
        yield tally.check()


def _merging(directory: GoldenDirectory, name: str, report: Report) -> Iterator[Check]:
    tally = Tally(name, "texts", _ALL, report)
    for item in records(directory.json(f"{name}.json")):
        pieces = [AlignedText.of(text(piece)) for piece in as_list(item["texts"])]
        merged = merge_short(pieces, integer(item["threshold"]))
        tally.add(str(item["texts"]), [piece.text for piece in merged], item["out"])
    yield tally.check()


def _splitting(directory: GoldenDirectory, name: str, report: Report) -> Iterator[Check]:
    items = records(directory.json(f"{name}.json"))
    for field in ("replace_consecutive", "split_big_text"):
        tally = Tally(f"{name}/{field}", "text", _ALL, report)
        for item in items:
            source = AlignedText.of(text(item["text"]))
            if _is_recorded(item, field):
                tally.add(source.text, _whole(field, source), item[field])
        yield tally.check()
    for field in ("cuts", "pre_seg", "pre_seg_after_replace"):
        for method in sorted({key for item in items for key in record(item.get(field))}):
            tally = Tally(f"{name}/{field}/{method}", "segments", _ALL, report)
            for item in items:
                recorded = record(item.get(field))
                if _is_recorded(recorded, method):
                    ours = _by_method(field, method, item)
                    tally.add(text(item["text"]), ours, recorded[method])
            yield tally.check()


def _is_recorded(item: Mapping[str, object], field: str) -> bool:
    """Tell whether upstream had a result; where it raised, an object names its error."""
    return field in item and not isinstance(item[field], dict)


def _whole(field: str, source: AlignedText) -> object:
    if field == "replace_consecutive":
        return replace_consecutive_punctuation(source).text
    return [piece.text for piece in split_long(source)]


def _by_method(field: str, method: str, item: Mapping[str, object]) -> object:
    source = AlignedText.of(text(item["text"]))
    if field == "cuts":
        return "\n".join(piece.text for piece in cut(source.strip("\n"), method))
    if field == "pre_seg_after_replace":
        source = replace_consecutive_punctuation(source)
    return [piece.text for piece in segment_upstream(source, method, text(item["lang"]))]


_GOLDENS: Mapping[str, Compare] = {
    "symbols": _symbols,
    "pinyin_to_symbol": _pinyin,
    "merge_short_text": _merging,
    "text_split": _splitting,
    "frontend_langseg": _languages,
}
