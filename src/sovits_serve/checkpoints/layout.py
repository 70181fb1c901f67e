"""Writing checkpoints exactly as upstream's trainers do, for tests, parity and random models.

Source: GPT-SoVITS 48b1a01, process_ckpt.py (savee, my_save2) and s1_train.py. Differs: tensors
keep the dtype they come in, and the file appears as a whole or not at all.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from sovits_serve.checkpoints.atomic_file import atomic_path


class HParams:
    """An object with attributes, pickled under the name ``utils.HParams`` as upstream's is."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        for key, value in fields.items():
            setattr(self, key, HParams(value) if isinstance(value, Mapping) else value)


HParams.__module__ = "utils"


def write_t2s(
    path: Path, tensors: Mapping[str, Tensor], config: Mapping[str, object], info: str = "GPT-e15"
) -> None:
    """Write a GPT ``.ckpt``: weights, a plain dict as config, and a note."""
    content = OrderedDict(weight=OrderedDict(tensors), config=dict(config), info=info)
    with atomic_path(path) as temporary:
        _save(content, temporary)


def write_sovits(
    path: Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, object],
    info: str = "8epoch_100iteration",
    *,
    header: str | None = None,
    lora_rank: int | None = None,
) -> None:
    """Write a SoVITS ``.pth``: weights, an ``HParams`` object as config, and a note.

    Args:
        path: the file, replaced if it exists.
        tensors: the weights by name.
        config: nested dicts.
        info: upstream's note.
        header: two ASCII characters that replace the leading ``PK``, or None.
        lora_rank: stored beside the weights if given.
    """
    content: OrderedDict[str, object] = OrderedDict()
    content.update(weight=dict(tensors), config=HParams(config), info=info)
    if lora_rank is not None:
        content["lora_rank"] = lora_rank
    with atomic_path(path) as temporary:
        _save(content, temporary)
        if header is not None:
            with temporary.open("rb+") as file:
                file.write(header.encode("ascii"))


def write_state_dict(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a plain state dict, as ERes2NetV2 and Hugging Face's ``pytorch_model.bin`` are."""
    with atomic_path(path) as temporary:
        _save(OrderedDict(tensors), temporary)


def _save(content: object, path: Path) -> None:
    with _module_utils(), path.open("wb") as file:
        torch.save(content, file)


@contextmanager
def _module_utils() -> Iterator[None]:
    """Let pickle find ``utils.HParams`` while it writes; it looks the class up by that name."""
    previous = sys.modules.get("utils")
    stand_in = ModuleType("utils")
    vars(stand_in)["HParams"] = HParams
    sys.modules["utils"] = stand_in
    try:
        yield
    finally:
        if previous is None:
            del sys.modules["utils"]
        else:
            sys.modules["utils"] = previous
