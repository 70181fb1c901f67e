"""Reading Hugging Face model directories: configuration and tensors, never code.

A directory holds ``config.json`` and ``model.safetensors`` or ``pytorch_model.bin``. Nothing is
downloaded, and only the configuration keys that a model declares are looked at.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from sovits_serve.checkpoints.tensor_ref import show
from sovits_serve.errors import CheckpointError
from sovits_serve.models.weights import WeightSource

_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
# Past every published encoder; a larger number in a config is damage, not a model.
_MAX_LAYERS = 128
_MAX_INTEGER = 1_000_000
_MAX_ITEMS = 64
# A tokenizer.json of 21,000 tokens has 0.5 MB.
_MAX_TEXT_BYTES = 16 * 2**20


def read_config(directory: Path) -> dict[str, object]:
    """Return the contents of ``config.json``.

    Raises:
        CheckpointError: the file is missing or is not a JSON object.
    """
    path = directory / "config.json"
    try:
        config = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not valid JSON") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: must hold a JSON object")
    return config


def read_text(path: Path) -> str:
    """Return the contents of a small text file.

    Raises:
        CheckpointError: it is no regular file, cannot be read, or is too large to be honest.
        ValueError: it is not UTF-8.
    """
    # Not at the top: whoever builds models from tensors in memory opens no files.
    from sovits_serve.checkpoints.source_file import SourceFile

    with SourceFile(path) as file:
        if file.size_bytes > _MAX_TEXT_BYTES:
            raise CheckpointError(
                f"{path}: has {file.size_bytes} bytes, must be at most {_MAX_TEXT_BYTES}"
            )
        return file.read_at(0, file.size_bytes).decode("utf-8")


def select_config(
    config: Mapping[str, object], keys: Iterable[str], origin: str
) -> dict[str, object]:
    """Return the named keys that are present; check the sizes before building anything.

    Raises:
        CheckpointError: ``num_hidden_layers`` is missing, or a number is out of range.
    """
    num_layers = config.get("num_hidden_layers")
    if not isinstance(num_layers, int) or not 1 <= num_layers <= _MAX_LAYERS:
        raise CheckpointError(
            f"{origin}: num_hidden_layers is {num_layers!r}, must be 1 to {_MAX_LAYERS}"
        )
    chosen = {key: config[key] for key in keys if key in config}
    for key, value in chosen.items():
        items = value if isinstance(value, list) else [value]
        sizes = [item for item in items if isinstance(item, int)]
        if len(items) > _MAX_ITEMS or not all(0 <= size <= _MAX_INTEGER for size in sizes):
            raise CheckpointError(
                f"{origin}: its config says {key} is {show(value)}, must be 0 to {_MAX_INTEGER}, "
                f"or at most {_MAX_ITEMS} such numbers"
            )
    return chosen


@contextmanager
def config_errors(origin: str, kind: str) -> Iterator[None]:
    """Turn what transformers raises over a senseless configuration into a ``CheckpointError``."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except (
        StrictDataclassError,
        TypeError,
        ValueError,
        LookupError,
        ArithmeticError,
        AssertionError,
        RuntimeError,
    ) as error:
        reason = str(error).replace("\n", " ")
        raise CheckpointError(f"{origin}: its config describes no {kind}: {reason}") from error


def open_weights(directory: Path) -> WeightSource:
    """Open the directory's tensors, safetensors first.

    Raises:
        CheckpointError: there is no weight file, or it is damaged.
    """
    from sovits_serve.checkpoints.load import load_state_dict

    for name in _WEIGHT_FILES:
        if (directory / name).is_file():
            return load_state_dict(directory / name)
    raise CheckpointError(f"{directory}: holds none of {', '.join(_WEIGHT_FILES)}")


class DerivedWeights:
    """A ``WeightSource`` that adds tensors computed from another source's, read on demand."""

    def __init__(self, source: WeightSource, derived: Mapping[str, Callable[[], Tensor]]) -> None:
        self._source = source
        self._derived = derived

    @property
    def origin(self) -> str:
        """Return the underlying source's origin."""
        return self._source.origin

    def names(self) -> Iterable[str]:
        """Return the underlying names and the added ones."""
        return {*self._source.names(), *self._derived}

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape; an added tensor is computed for it."""
        if name in self._derived:
            return tuple(self._derived[name]().shape)
        return self._source.shape(name)

    def tensor(self, name: str) -> Tensor:
        """Return a stored or an added tensor."""
        if name in self._derived:
            return self._derived[name]()
        return self._source.tensor(name)
