"""Goldens of BERT: one feature row per phoneme."""

from collections.abc import Iterator
from functools import partial

from sovits_serve.models.text_features.bert import BertFeatures
from sovits_serve.parity import limits, models
from sovits_serve.parity.golden import Arrays, GoldenDirectory, integers, records, text
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.report import Check, Lazy, Report, Step, Task


def find(directory: GoldenDirectory, precision: Precision, report: Report) -> Iterator[Task]:
    """Yield a task per ``.npz`` that holds nothing but ``b0``, ``b1``, ... beside its meta."""
    for stem, arrays in directory.arrays.items():
        if not arrays.keys or len(arrays.match(r"b\d+")) != len(arrays.keys):
            continue
        vocabulary, recipe = models.vocabulary(directory), directory.recipe(stem)
        items = records(directory.json(f"{stem}.meta.json"))
        if vocabulary is None or recipe is None or not items:
            report.note(f"parity: {stem} skipped: its recipe, its meta or a *vocab.txt is missing")
            continue
        model = Lazy(partial(models.bert, recipe, vocabulary, precision))
        yield Task(
            stem, directory.files(stem), partial(_steps, stem, arrays, items, model, precision)
        )


def _steps(
    stem: str,
    arrays: Arrays,
    items: list[dict[str, object]],
    model: Lazy[BertFeatures],
    precision: Precision,
) -> Iterator[Step]:
    for index, item in enumerate(items):
        name = f"{stem}/b{index}"
        yield Step(name, partial(_check, name, arrays, f"b{index}", item, model, precision))


def _check(
    name: str,
    arrays: Arrays,
    key: str,
    item: dict[str, object],
    model: Lazy[BertFeatures],
    precision: Precision,
) -> Iterator[Check]:
    rows = model().encode([(text(item["norm"]), integers(item["word2ph"]))])[0]
    yield precision.close(name, rows.T, arrays.tensor(key), limits.FEATURES)
