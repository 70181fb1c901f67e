"""Training against the clock: optimisers, averaged weights and, on CUDA, one graph per step."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

_WARM_RUNS = 3
_CLIP = 1.0


class TimedTraining:
    """Runs a step again and again until the time is up.

    The learning rate rises over ``warm_up`` steps, stays, and falls linearly over the last 60 % of
    the time. ``averages`` are exponential moving averages of the modules.
    """

    def __init__(
        self,
        modules: Sequence[tuple[nn.Module, float]],
        *,
        minutes: float,
        warm_up: int = 200,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.01,
        decay: float = 0.998,
    ) -> None:
        self._seconds = minutes * 60
        self._warm_up = warm_up
        self._decay = decay
        self._modules = [module for module, _ in modules]
        self._peaks = [peak for _, peak in modules]
        self._parameters: list[list[Tensor]] = [list(m.parameters()) for m in self._modules]
        self.averages = [copy.deepcopy(module).eval() for module in self._modules]
        self._averaged: list[list[Tensor]] = [list(m.parameters()) for m in self.averages]
        self._device = self._parameters[0][0].device
        is_cuda = self._device.type == "cuda"
        if is_cuda:
            torch.cuda.set_device(self._device)  # streams and graphs belong to the current one
        self._rates = [torch.tensor(0.0, device=self._device) for _ in modules]
        self._optimizers = [
            torch.optim.AdamW(
                parameters,
                rate if is_cuda else float(rate),
                betas=betas,
                weight_decay=weight_decay,
                foreach=is_cuda,
                capturable=is_cuda,
            )
            for parameters, rate in zip(self._parameters, self._rates, strict=True)
        ]

    def update(self, index: int, loss: Tensor) -> None:
        """Step module ``index`` down the gradient of ``loss`` and move its average."""
        parameters = self._parameters[index]
        gradients: Sequence[Tensor | None] = torch.autograd.grad(
            loss, parameters, allow_unused=True
        )
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.to(parameter.dtype).contiguous()
        nn.utils.clip_grad_norm_(parameters, _CLIP, foreach=True)
        self._optimizers[index].step()
        with torch.no_grad():
            torch._foreach_lerp_(self._averaged[index], parameters, 1 - self._decay)

    def run(self, step: Callable[[], None]) -> Iterator[int]:
        """Yield the number of steps done, after each."""
        play = self._prepare(step)
        started = time.monotonic()
        number = 0
        while (spent := time.monotonic() - started) < self._seconds:
            self._set_rates(number, spent / self._seconds)
            play()
            number += 1
            yield number
            if self._device.type == "cuda" and number % 20 == 0:
                torch.cuda.synchronize()  # the clock would run ahead of the device

    def _prepare(self, step: Callable[[], None]) -> Callable[[], None]:
        if self._device.type != "cuda":
            return step
        # With rates of zero: warming up must not move the weights.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_RUNS):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return graph.replay

    def _set_rates(self, number: int, share: float) -> None:
        factor = min(1.0, (number + 1) / self._warm_up)
        if share > 0.4:
            factor *= max(0.02, (1 - share) / 0.6)
        for rate, peak, optimizer in zip(self._rates, self._peaks, self._optimizers, strict=True):
            rate.fill_(peak * factor)
            if self._device.type != "cuda":
                optimizer.param_groups[0]["lr"] = peak * factor


def save_half(module: nn.Module, path: Path) -> None:
    """Write a module's weights in half precision."""
    torch.save({name: t.detach().half().cpu() for name, t in module.state_dict().items()}, path)


def choose(shares: Tensor, batch: int) -> Tensor:
    """Return ``batch`` indices drawn by ``shares`` (N), or one per row of ``shares`` (B, N).

    As ``torch.multinomial`` with replacement, which waits for the device and so fits no graph.
    """
    ends = shares.cumsum(-1)
    rows = shares.shape[:-1] or (1,)
    per_row = 1 if shares.dim() > 1 else batch
    chance = torch.rand(*rows, per_row, device=shares.device) * ends[..., -1:]
    index = torch.searchsorted(ends.view(*rows, -1), chance, right=True)
    return index.clamp(max=shares.shape[-1] - 1).flatten()
