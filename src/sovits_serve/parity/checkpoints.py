"""Goldens of checkpoint files: which version a file is taken for, and what it holds."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from sovits_serve.checkpoints.detect import detect_version, tensors_of
from sovits_serve.checkpoints.load import load_t2s
from sovits_serve.checkpoints.reader import CheckpointFile
from sovits_serve.models.spec import ModelVersion, SymbolVersion
from sovits_serve.models.weights import WeightSource
from sovits_serve.parity import limits
from sovits_serve.parity.golden import GoldenDirectory, as_list, record, records, text
from sovits_serve.parity.recipe import Recipe
from sovits_serve.parity.report import Check, Report, Step, Task, at_most

_PLAIN_HEADER = "504b"
_V1_SYMBOLS = 322


def find(directory: GoldenDirectory, report: Report) -> Iterator[Task]:
    """Yield a task per JSON list of checkpoint files, and one per ``.ckpt``."""
    for stem in directory.stems(".json"):
        content = directory.json(f"{stem}.json")
        layouts = records(content.get("files")) if isinstance(content, dict) else []
        if any("detected" in layout for layout in layouts):
            yield _layouts_task(directory, stem, layouts, report)
    for stem in directory.stems(".ckpt"):
        path = directory.path / f"{stem}.ckpt"
        recipe = directory.recipe(stem)
        yield Task(stem, (path,), partial(_t2s_steps, f"{stem}/checkpoint", path, recipe))


def _layouts_task(
    directory: GoldenDirectory, stem: str, layouts: list[dict[str, object]], report: Report
) -> Task:
    present = []
    for layout in layouts:
        path = directory.file(text(layout["file"]))
        if path is None:
            report.note(f"parity: {stem}: {layout['file']} skipped: not in the directory")
        else:
            present.append((path, layout))
    files = (directory.path / f"{stem}.json", *(path for path, _ in present))
    return Task(stem, files, partial(_layout_steps, stem, present))


def _layout_steps(stem: str, present: list[tuple[Path, dict[str, object]]]) -> Iterator[Step]:
    for path, layout in present:
        name = f"{stem}/{path.stem}"
        yield Step(name, partial(_check_layout, name, path, layout))


def _check_layout(name: str, path: Path, layout: dict[str, object]) -> Iterator[Check]:
    with CheckpointFile(path) as file:
        found = detect_version(file)
        tree, tensors = record(file.tree), tensors_of(file)
    version = [found.symbol_version.value, found.version.value, found.is_lora]
    yield limits.same(f"{name}/version", version, expected_version(layout))
    for key in ("info", "lora_rank"):
        yield limits.same(f"{name}/{key}", tree.get(key), layout.get(key))
    yield limits.same(f"{name}/keys", list(tree), layout["keys"])
    shapes = {key: [list(ref.shape), f"torch.{ref.dtype}"] for key, ref in tensors.items()}
    yield limits.same(f"{name}/tensors", shapes, layout["weight_keys"])


def expected_version(layout: dict[str, object]) -> list[object]:
    """Return what a file finally is: symbols, version, LoRA.

    ``detected`` is upstream's first guess, for unmarked files by size alone. Upstream then reads
    the symbols off the embedding, and for unmarked files of the generator versions they win.
    """
    symbols, version, is_lora = as_list(layout["detected"])
    shapes = record(layout["weight_keys"]).get("enc_p.text_embedding.weight")
    if shapes is None:
        return [symbols, version, is_lora]
    rows = as_list(as_list(shapes)[0])[0]
    symbols = SymbolVersion.V1.value if rows == _V1_SYMBOLS else SymbolVersion.V2.value
    if version in (ModelVersion.V1, ModelVersion.V2):
        version = symbols
    return [symbols, version, is_lora]


def _t2s_steps(name: str, path: Path, recipe: Recipe | None) -> Iterator[Step]:
    yield Step(name, partial(_check_t2s, name, path, recipe))


def _check_t2s(name: str, path: Path, recipe: Recipe | None) -> Iterator[Check]:
    checkpoint = load_t2s(path)
    if recipe is None:
        yield limits.same(f"{name}/loads", True, True)
        return
    yield limits.same(f"{name}/config", checkpoint.config, recipe.config)
    yield limits.same(f"{name}/info", checkpoint.info, recipe.fields["info"])
    yield at_most(f"{name}/tensors", "wrong_tensors", _num_wrong(checkpoint.weights, recipe), 0)


def _num_wrong(source: WeightSource, recipe: Recipe) -> int:
    """Count tensors that the file and the recipe do not share bit for bit."""
    wanted, names = recipe.build(), set(source.names())
    wrong = names ^ wanted.keys()
    for name in names & wanted.keys():
        stored = source.tensor(name)
        if stored.dtype != wanted[name].dtype or not torch.equal(stored, wanted[name]):
            wrong.add(name)
    return len(wrong)
