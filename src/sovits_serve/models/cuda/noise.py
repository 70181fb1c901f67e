"""Unit normal noise of latent frames as one Triton kernel; ``engine.random_stream.normal`` is its reference."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from sovits_serve.models.cuda.math import cos, log, sin
from sovits_serve.models.cuda.staging import Uploads, as_int32

_BLOCK_LANES, _BLOCK_FRAMES = 4, 64
_NUM_FIELDS = tl.constexpr(4)


@triton.jit
def _noise_kernel(
    out_ptr,  # float32 (B, C, T)
    rows_ptr,  # int32 (B, 4): seed's low and high word, segment, frames
    channels,
    frames,
    domain: tl.constexpr,
    block_lanes: tl.constexpr,
    block_frames: tl.constexpr,
):
    """Draw four channels per lane and frame; zero behind each row's end."""
    row = tl.program_id(0)
    lane = tl.program_id(1) * block_lanes + tl.arange(0, block_lanes)[:, None]
    frame = tl.program_id(2) * block_frames + tl.arange(0, block_frames)[None, :]
    fields = rows_ptr + row * _NUM_FIELDS
    low = tl.load(fields).to(tl.uint32, bitcast=True).to(tl.uint64)
    high = tl.load(fields + 1).to(tl.uint32, bitcast=True).to(tl.uint64)
    segment = tl.load(fields + 2)
    length = tl.load(fields + 3)
    same = tl.zeros((block_lanes, block_frames), tl.int32)
    w0, w1, w2, w3 = tl.philox(
        low | (high << 32), lane + same, frame + same, same + segment, same + domain
    )
    at = out_ptr + (row.to(tl.int64) * channels + lane * 4) * frames + frame
    is_there = frame < length
    for pair in tl.static_range(2):
        radius = tl.sqrt_rn(-2.0 * log(_uniform(w0 if pair == 0 else w2)))
        angle = _uniform(w1 if pair == 0 else w3) * 6.283185307179586
        first, second = radius * cos(angle), radius * sin(angle)
        channel = lane * 4 + pair * 2
        there = (channel < channels) & (frame < frames)
        tl.store(at + pair * 2 * frames, tl.where(is_there, first, 0.0), mask=there)
        there = (channel + 1 < channels) & (frame < frames)
        tl.store(at + (pair * 2 + 1) * frames, tl.where(is_there, second, 0.0), mask=there)


@triton.jit
def _uniform(words):
    """Map uint32 to float32 in the open interval (0, 1), by the upper 23 bits."""
    return ((words >> 9).to(tl.int32, bitcast=True).to(tl.float32) + 0.5) * 1.1920928955078125e-07


class LatentNoise:
    """Draws the noise of a batch of rows, without waiting for the device."""

    def __init__(self, channels: int, max_rows: int, domain: int, device: torch.device) -> None:
        self._channels, self._domain = channels, domain
        self._rows = torch.zeros(max_rows * 4, dtype=torch.int32, device=device)
        self._uploads = Uploads(max_rows * 4, device)

    def __call__(self, rows: Sequence[tuple[int, int, int]], num_frames: int) -> Tensor:
        """Draw noise.

        Args:
            rows: per row its seed (int64), segment and number of frames.
            num_frames: T.

        Returns:
            float32 (B, C, T), zero behind each row's end.
        """
        values: list[int] = []
        for seed, segment, frames in rows:
            values += [as_int32(seed), as_int32(seed >> 32), as_int32(segment), frames]
        self._uploads.upload(values, self._rows)
        out = torch.empty(len(rows), self._channels, num_frames, device=self._rows.device)
        lanes = triton.cdiv(self._channels, 4)
        grid = (
            len(rows),
            triton.cdiv(lanes, _BLOCK_LANES),
            triton.cdiv(num_frames, _BLOCK_FRAMES),
        )
        _noise_kernel[grid](
            out,
            self._rows,
            self._channels,
            num_frames,
            domain=self._domain,
            block_lanes=_BLOCK_LANES,
            block_frames=_BLOCK_FRAMES,
        )
        return out
