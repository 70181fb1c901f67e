"""Semantic tokens to audio windows, with the state that lives between windows.

A sequence's latent is encoded once, from all of its tokens; the generator then runs over windows
of it with exactly as many frames of context as its receptive field has. So audio that leaves in
windows equals audio decoded whole, and noise belongs to (seed, segment, frame).
"""

from collections.abc import Callable
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from sovits_serve.audio.postprocess import PcmArray
from sovits_serve.engine.batch import NOT_FINITE, AudioWindow
from sovits_serve.engine.random_stream import normal
from sovits_serve.engine.request import Sequence
from sovits_serve.errors import SynthesisError
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.protocol.messages import SynthesisRequest

if TYPE_CHECKING:
    from sovits_serve.engine.audio_graphs import LatentGraphs

# Lengths are rounded up: oneDNN compiles its convolutions anew for each length, and keeps a
# thousand of them, at 0.3 MB or so; cuDNN plans anew. Steps of tokens and phonemes, and of the
# generator's frames, which are finer where a listener waits: ``(step, up to)``.
_LENGTH_STEP = 16
_FRAME_STEPS = ((4, 32), (16, 128))
_FRAME_STEP = 32


@dataclass(frozen=True)
class DecoderState:
    """One sequence's latent (inter, T_frames) and style (D_style), on the model's device."""

    z: Tensor
    style: Tensor
    num_tokens: int  # what it was made of


@dataclass(frozen=True)
class _Tail:
    """What would follow a window that was sent."""

    samples: PcmArray
    num_tokens: int


@dataclass(frozen=True)
class FastParts:
    """What replaces parts of the SoVITS model on a CUDA device.

    Attributes:
        generate: as ``SovitsModel.generate``, with lengths on the device.
        noise: rows (seed, segment, frames) and T to float32 (B, inter, T), zero behind each end.
        latents: as ``LatentGraphs``; None: ``SovitsModel.encode_latent`` always.
    """

    generate: Callable[[Tensor, Tensor, Tensor], Tensor]
    noise: Callable[[Rows[tuple[int, int, int]], int], Tensor]
    latents: "LatentGraphs | None" = None


@dataclass(frozen=True)
class PendingAudio:
    """Windows that are being decoded. ``pcm`` is int16 (B, N), ``is_finite`` bool (B)."""

    windows: Rows[AudioWindow]
    begins: Rows[int]  # each row's first frame
    pcm: Tensor
    is_finite: Tensor


class AudioDecoder:
    """Runs the SoVITS model over finished sequences. Holds one ``DecoderState`` for each."""

    def __init__(
        self, sovits: SovitsModel, device: torch.device, fast: FastParts | None = None
    ) -> None:
        self._sovits = sovits
        self._device = device
        self._fast = fast
        self._step = 1 if device.type == "cuda" and fast is None else _LENGTH_STEP
        self._states: dict[tuple[str, int], DecoderState] = {}
        self._tails: dict[tuple[str, int], _Tail] = {}

    def __len__(self) -> int:
        """Return how many sequences have a latent."""
        return len(self._states)

    def has_latent(self, window: AudioWindow) -> bool:
        """Return whether ``begin`` has run for the tokens that a window is made of."""
        state = self._states.get(window.sequence.key)
        return state is not None and state.num_tokens == window.num_tokens

    def drop(self, sequence: Sequence) -> None:
        """Forget a sequence; one that is not known is left alone."""
        self._states.pop(sequence.key, None)
        self._tails.pop(sequence.key, None)

    def begin(self, windows: Rows[AudioWindow], styles: Rows[Tensor]) -> None:
        """Encode the latents that windows are cut from, as one batch.

        Args:
            windows: of different sequences.
            styles: one (D_style) each.
        """
        z = self._graph_latents(windows, styles)
        if z is None:
            z = self._latents(windows, styles)
        for row, (window, style) in enumerate(zip(windows, styles, strict=True)):
            own = z[row, :, : window.num_latent_frames].clone()
            self._states[window.sequence.key] = DecoderState(own, style, window.num_tokens)

    def _graph_latents(self, windows: Rows[AudioWindow], styles: Rows[Tensor]) -> Tensor | None:
        """Return latents (at least B, inter, T) from a graph; None if there is none."""
        graphs = self._fast.latents if self._fast is not None else None
        if graphs is None or any(_message(window).speed != 1 for window in windows):
            return None
        tokens = [_tokens(window) for window in windows]
        phones = [window.sequence.text.phone_ids for window in windows]
        if not graphs.fits(tokens, phones):
            return None
        return graphs(tokens, phones, styles, self._scaled_noise(windows))

    def _latents(self, windows: Rows[AudioWindow], styles: Rows[Tensor]) -> Tensor:
        tokens = [torch.tensor(_tokens(window)) for window in windows]
        phones = [torch.tensor(window.sequence.text.phone_ids) for window in windows]
        latents = self._sovits.encode_latent(
            _padded(tokens, self._step).to(self._device),
            _lengths(tokens),
            _padded(phones, self._step).to(self._device),
            _lengths(phones),
            torch.stack(list(styles)),
            speeds=[_message(window).speed for window in windows],
            noise=self._scaled_noise(windows),
            noise_scale=1.0,
        )
        frames = [window.num_latent_frames for window in windows]
        assert latents.lengths.tolist() == frames, (latents.lengths, frames)
        return latents.z

    def decode(self, windows: Rows[AudioWindow]) -> list[bytes | SynthesisError]:
        """Decode windows as one batch: ``launch`` and ``finish``."""
        pending = self.launch(windows)
        return self.finish(pending, pending.pcm.cpu(), pending.is_finite.cpu())

    def launch(self, windows: Rows[AudioWindow]) -> PendingAudio:
        """Decode windows as one batch, without waiting for a CUDA device.

        The state of a sequence is dropped with its last window.
        """
        context = self._sovits.generator_context_frames
        states = [self._states[window.sequence.key] for window in windows]
        begins = [max(0, window.start - context) for window in windows]
        slices = [
            state.z[:, begin : window.start + window.num_frames + context].T
            for state, window, begin in zip(states, windows, begins, strict=True)
        ]
        z = _padded(slices, self._frame_step(slices)).transpose(1, 2)  # (B, inter, T)
        lengths, style = _lengths(slices), torch.stack([state.style for state in states])
        if self._fast is None:
            samples = self._sovits.generate(z, lengths, style)
        else:
            lengths = lengths.to(self._device, non_blocking=True)  # else the host would wait
            samples = self._fast.generate(z.to(self._sovits.dtype), lengths, style)
        for window in windows:
            if window.is_last:
                self._states.pop(window.sequence.key, None)
        return PendingAudio(windows, begins, _to_int16(samples), samples.isfinite().all(1))

    def finish(
        self, pending: PendingAudio, pcm: Tensor, is_finite: Tensor
    ) -> list[bytes | SynthesisError]:
        """Return what windows became.

        Args:
            pending: of ``launch``.
            pcm, is_finite: its tensors, on the CPU.

        Returns:
            Per window int16 little-endian PCM, or the error if its samples are not finite.
        """
        per_frame = self._sovits.dims.samples_per_frame
        rows, finite = pcm.numpy(), is_finite.tolist()
        results: list[bytes | SynthesisError] = []
        for row, (window, begin) in enumerate(zip(pending.windows, pending.begins, strict=True)):
            first = (window.start - begin) * per_frame
            last = first + window.num_frames * per_frame
            samples = self._joined(window, rows[row, first:last], rows[row, last:][:per_frame])
            if finite[row]:
                results.append(samples.astype("<i2", copy=False).tobytes())
            else:
                results.append(SynthesisError(f"the decoder's samples are {NOT_FINITE}"))
        return results

    def _joined(self, window: AudioWindow, samples: PcmArray, behind: PcmArray) -> PcmArray:
        """Fade over from audio that fewer tokens were known for, and keep what a fade will need.

        Args:
            window: what the samples are.
            samples: int16 (T), the window's own.
            behind: int16 (a frame or less), what follows it if no more tokens come.
        """
        if window.sequence.request.is_closed:  # while it was decoded: its name may be in use again
            return samples
        tail = self._tails.pop(window.sequence.key, None)
        if tail is not None and tail.num_tokens != window.num_tokens:
            length = min(len(tail.samples), len(samples))
            weight = (np.arange(length, dtype=np.float32) + 0.5) / length
            faded = samples.copy()
            faded[:length] = samples[:length] * weight + tail.samples[:length] * (1 - weight)
            samples = faded
        if not window.is_last:
            self._tails[window.sequence.key] = _Tail(behind.copy(), window.num_tokens)
        return samples

    def _frame_step(self, slices: Rows[Tensor]) -> int:
        if self._step == 1:
            return 1
        longest = max(row.size(0) for row in slices)
        steps = (step for step, up_to in _FRAME_STEPS if longest <= up_to)
        return next(steps, _FRAME_STEP)

    def _scaled_noise(self, windows: Rows[AudioWindow]) -> Tensor:
        scales = [_message(window).noise_scale for window in windows]
        noise = self._noise(windows)
        if len(set(scales)) == 1:
            return noise * scales[0]
        return noise * torch.tensor(scales).to(self._device, non_blocking=True)[:, None, None]

    def _noise(self, windows: Rows[AudioWindow]) -> Tensor:
        """Return unit normal noise (B, inter, T_frames), a function of seed, segment and frame."""
        channels = self._sovits.dims.inter_channels
        step = self._step * self._sovits.spec.frames_per_token
        names = [
            (_message(window).sampling.seed, window.sequence.index, window.num_latent_frames)
            for window in windows
        ]
        if self._fast is not None:
            longest = max(frames for _, _, frames in names)
            return self._fast.noise(names, -(-longest // step) * step)
        rows = [
            normal(seed, segment, 0, frames, channels, device=self._device).T
            for seed, segment, frames in names
        ]
        return _padded(rows, step).transpose(1, 2)


def _message(window: AudioWindow) -> SynthesisRequest:
    return window.sequence.request.message


def _tokens(window: AudioWindow) -> list[int]:
    return window.sequence.tokens[: window.num_tokens]


def _padded(rows: Rows[Tensor], step: int) -> Tensor:
    """Return rows (T, ...) as one batch (B, T', ...), with zeros up to a multiple of ``step``."""
    batch = pad_sequence(list(rows), batch_first=True)
    behind = -batch.size(1) % step
    return functional.pad(batch, (*[0, 0] * (batch.dim() - 2), 0, behind)) if behind else batch


def _lengths(rows: Rows[Tensor]) -> Tensor:
    return torch.tensor([row.size(0) for row in rows])


def _to_int16(samples: Tensor) -> Tensor:
    """Do as ``audio.postprocess.to_int16``, on any device."""
    return (samples * 32_768).clamp_(-32_768, 32_767).to(torch.int16)
