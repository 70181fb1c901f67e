"""Rows of different lengths in one batch: zeroing and masking what lies behind each row's end.

A row of a padded batch equals that row alone when every convolution reads zeros behind the row's
end, as it would read its own zero padding. ``RowPadding`` puts those zeros there, as cheaply as
the device allows. Knows nothing of models; lengths are in the unit of the last dimension.
"""

import torch
from torch import Tensor


class RowPadding:
    """The padding of one right-padded batch.

    Lengths on the CPU let full batches skip all masking and never wait for a device. Lengths on
    another device are never read back: every operation is queued, so it can be captured in a graph.
    """

    def __init__(self, lengths: Tensor, width: int, device: torch.device) -> None:
        """Describe rows of ``lengths`` (B) int64 inside ``width`` columns of a tensor on ``device``."""
        self.lengths = lengths
        self.width = width
        self._device = device
        self._rows = tuple(lengths.tolist()) if lengths.device.type == "cpu" else None
        self._masks: dict[int, Tensor] = {}

    @property
    def is_empty(self) -> bool:
        """Tell whether every row is known to fill the whole width."""
        return self._rows is not None and all(length >= self.width for length in self._rows)

    def zero_(self, x: Tensor, rate: int = 1) -> Tensor:
        """Zero ``x`` (B, ..., width * rate) behind each row's ``length * rate``, in place."""
        if self.is_empty:
            return x
        if self._rows is not None and x.device.type == "cpu":
            for row, length in enumerate(self._rows):
                x[row, ..., length * rate :].zero_()
            return x
        return x.masked_fill_(self._behind(rate).view(x.size(0), *[1] * (x.dim() - 2), -1), 0)

    def zeroed(self, x: Tensor) -> Tensor:
        """Return ``x`` (B, ..., width) with zeros behind each row's end; ``x`` stays as it is."""
        return x if self.is_empty else self.zero_(x.clone(memory_format=torch.preserve_format))

    def hidden_keys(self) -> Tensor | None:
        """Return a bool mask (B, 1, 1, width), true where attention must not look, if any is."""
        return None if self.is_empty else self._behind(1)[:, None, None, :]

    def _behind(self, rate: int) -> Tensor:
        """Return a bool mask (B, width * rate), true behind each row's end."""
        if rate not in self._masks:
            ends = (self.lengths * rate).to(self._device, non_blocking=True)
            positions = torch.arange(self.width * rate, device=self._device)
            self._masks[rate] = positions >= ends[:, None]
        return self._masks[rate]
