"""Filling modules from checkpoint tensors, one tensor at a time.

Modules are built on the meta device under upstream's parameter names and then filled, so that
loading holds the module plus one tensor, never a second copy. Knows no files: any
``WeightSource`` will do (a checkpoint reader, a safetensors file, a dict).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sovits_serve.errors import CheckpointError


class WeightSource(Protocol):
    """Named tensors, read on demand."""

    @property
    def origin(self) -> str:
        """Where the tensors come from, for error messages (a file name)."""

    def names(self) -> Iterable[str]:
        """Return all tensor names."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""

    def tensor(self, name: str) -> Tensor:
        """Read one tensor to the CPU in its stored dtype. The caller must not change it."""


class DictWeights:
    """A ``WeightSource`` over tensors already in memory."""

    def __init__(self, tensors: Mapping[str, Tensor], origin: str = "memory") -> None:
        self._tensors = tensors
        self._origin = origin

    @property
    def origin(self) -> str:
        """Return the label given at construction."""
        return self._origin

    def names(self) -> Iterable[str]:
        """Return all tensor names."""
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return tuple(self._tensors[name].shape)

    def tensor(self, name: str) -> Tensor:
        """Return the tensor itself."""
        return self._tensors[name]


ModuleT = TypeVar("ModuleT", bound=nn.Module)


def build_module(
    factory: Callable[[], ModuleT],
    source: WeightSource,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    prefix: str = "",
) -> ModuleT:
    """Build ``factory()`` on the meta device, then fill it from ``prefix + state dict name``.

    Weight norm is folded on the way: where the module has ``x.weight`` and the source only
    ``x.weight_g`` and ``x.weight_v``, the product is computed in float32. Floating-point tensors
    take ``dtype``; the module comes back frozen and in eval mode on ``device``. Names of the
    source that the module lacks are ignored; buffers must be persistent or made in ``forward``.

    Raises:
        CheckpointError: ``factory`` raises ``ValueError``; or a tensor is missing, has another
            shape, holds integers where the module has none, or a value that is not finite (also
            after conversion to ``dtype``).
    """
    try:
        with torch.device("meta"), _SkipInitialisation():
            module = factory()
    except ValueError as error:
        raise CheckpointError(f"{source.origin}: {error}") from error
    available = set(source.names())
    for name, wanted in module.state_dict().items():
        tensor = _read(source, available, prefix + name, tuple(wanted.shape))
        _require_shape(source, prefix + name, tuple(tensor.shape), tuple(wanted.shape))
        if wanted.is_floating_point() and not tensor.is_floating_point():
            raise CheckpointError(
                f"{source.origin}: tensor {prefix + name!r} holds {tensor.dtype}, "
                "the model needs floating-point numbers"
            )
        _assign(module, name, _convert(tensor, source, prefix + name, device, dtype))
    return module.eval().requires_grad_(False)


class _SkipInitialisation(TorchFunctionMode):
    """Makes the functions of ``torch.nn.init`` return their tensor untouched.

    Values drawn on the meta device are thrown away, and drawing the first one makes torch import
    its compiler: 2.5 s alone, over 10 s on a busy machine.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return args[0] if func in _DRAWING else func(*args, **kwargs)


_DRAWING = frozenset({Tensor.normal_, Tensor.uniform_})


def _require_shape(
    source: WeightSource, name: str, found: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    if found != wanted:
        raise CheckpointError(
            f"{source.origin}: tensor {name!r} has shape {found}, the model needs {wanted}"
        )


def _read(source: WeightSource, available: set[str], name: str, wanted: tuple[int, ...]) -> Tensor:
    if name in available:
        return source.tensor(name)
    if name.endswith(".weight") and {name + "_g", name + "_v"} <= available:
        lengths = (*wanted[:1], *[1] * (len(wanted) - 1))
        _require_shape(source, name + "_g", source.shape(name + "_g"), lengths)
        _require_shape(source, name + "_v", source.shape(name + "_v"), wanted)
        magnitude = source.tensor(name + "_g").float()
        direction = source.tensor(name + "_v").float()
        norm: Tensor = direction.flatten(1).norm(dim=1).view(lengths)
        return direction * (magnitude / norm)
    raise CheckpointError(f"{source.origin}: tensor {name!r} is missing")


def _convert(
    tensor: Tensor,
    source: WeightSource,
    name: str,
    device: torch.device | str,
    dtype: torch.dtype,
) -> Tensor:
    # One copy, straight into the tensor that stays: a second one would leave holes in the heap.
    kept = torch.empty(
        tensor.shape, dtype=dtype if tensor.is_floating_point() else tensor.dtype, device=device
    )
    kept.copy_(tensor)
    if not _is_finite(kept):
        raise CheckpointError(
            f"{source.origin}: tensor {name!r} holds a value that is not finite in {dtype}"
        )
    return kept


def _is_finite(tensor: Tensor) -> bool:
    """Tell without further memory: the extremes are NaN if any element is."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def _assign(module: nn.Module, name: str, tensor: Tensor) -> None:
    *path, leaf = name.split(".")
    owner = module.get_submodule(".".join(path))
    if leaf in owner._parameters:
        owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    else:
        owner._buffers[leaf] = tensor
