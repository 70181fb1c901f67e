"""Reading a checkpoint's config, and holding it against the shapes of its tensors.

Every complaint names the file, the key, what it says and what it should say.
"""

from collections.abc import Mapping

from sovits_serve.checkpoints.tensor_ref import TensorRef, show
from sovits_serve.errors import CheckpointError

_MAX_VALUE = 1_000_000


class ConfigReader:
    """Typed access to a config by dotted keys (``model.n_layers``)."""

    def __init__(self, origin: str, config: object) -> None:
        self._origin = origin
        self._config = config

    def integer(self, key: str) -> int:
        """Return a positive integer."""
        return self._integer(key, self._find(key))

    def integer_or_zero(self, key: str) -> int:
        """Return a positive integer; 0 where the config says nothing."""
        value = self._find(key, missing=0)
        return 0 if value == 0 else self._integer(key, value)

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a non-empty list of positive integers."""
        items = self._items(key, self._find(key))
        return tuple(self._integer(f"{key}[{index}]", item) for index, item in enumerate(items))

    def integer_lists(self, key: str) -> tuple[tuple[int, ...], ...]:
        """Return a non-empty list of such lists."""
        outer = self._items(key, self._find(key))
        rows = [self._items(f"{key}[{index}]", item) for index, item in enumerate(outer)]
        return tuple(tuple(self._integer(key, item) for item in row) for row in rows)

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """Return one of some words; the first where the config says nothing."""
        value = self._find(key, missing=choices[0])
        if value not in choices:
            raise CheckpointError(
                f"{self._origin}: config {key} is {show(value)}, one of {', '.join(choices)} is needed"
            )
        return choices[choices.index(value)]

    def require(self, key: str, actual: object, wanted: object) -> None:
        """Complain unless two values, the first from ``key``, are equal."""
        if actual != wanted:
            raise CheckpointError(f"{self._origin}: config {key} is {actual}, {wanted} is needed")

    def _find(self, key: str, missing: object = None) -> object:
        value = self._config
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                if missing is not None:
                    return missing
                raise CheckpointError(f"{self._origin}: config {key} is missing")
            value = value[part]
        return value

    def _integer(self, key: str, value: object) -> int:
        if type(value) is not int or not 0 < value <= _MAX_VALUE:
            raise CheckpointError(
                f"{self._origin}: config {key} is {show(value)}, an integer from 1 to "
                f"{_MAX_VALUE} is needed"
            )
        return value

    def _items(self, key: str, value: object) -> list[object]:
        if not isinstance(value, list | tuple) or not 0 < len(value) <= 64:
            raise CheckpointError(
                f"{self._origin}: config {key} is {show(value)}, a list of 1 to 64 is needed"
            )
        return list(value)


class ShapeChecker:
    """Compares tensors' shapes with what the config promises."""

    def __init__(self, origin: str, tensors: Mapping[str, TensorRef]) -> None:
        self._origin = origin
        self._tensors = tensors

    def shape(self, *names: str) -> tuple[int, ...]:
        """Return the shape of the first of ``names`` that exists.

        Raises:
            CheckpointError: none exists.
        """
        for name in names:
            if name in self._tensors:
                return self._tensors[name].shape
        raise CheckpointError(f"{self._origin}: tensor {names[0]!r} is missing")

    def require(self, names: str | tuple[str, ...], wanted: tuple[int, ...], keys: str) -> None:
        """Check one shape; ``keys`` says which config entries it follows from."""
        candidates = (names,) if isinstance(names, str) else names
        found = self.shape(*candidates)
        if found != wanted:
            raise CheckpointError(
                f"{self._origin}: tensor {candidates[0]!r} has shape {found}, "
                f"config {keys} says {wanted}"
            )

    def require_count(self, template: str, wanted: int, keys: str) -> None:
        """Check that ``template`` with 0, 1, 2... names exactly ``wanted`` tensors."""
        count = 0
        while template.format(count) in self._tensors:
            count += 1
        if count != wanted:
            raise CheckpointError(
                f"{self._origin}: has {count} tensors {template.format('N')!r}, "
                f"config {keys} says {wanted}"
            )
