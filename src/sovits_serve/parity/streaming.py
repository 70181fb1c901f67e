"""Upstream's streaming decode, on our stages.

Upstream re-encodes everything said so far for each chunk, cross-fades the newest frames with those
of the chunk before, and joins the chunks by overlap-add. Our engine streams otherwise (windows
of one whole latent), so this exists only to reproduce recordings.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sovits_serve.audio.crossfade import find_shift, sola
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.parity.postprocess import tied_shifts

FloatArray = npt.NDArray[np.float32]

NOISE_SCALE = 0.5
"""What upstream's request handling always uses."""

_SHORT_CHUNK = 10


@dataclass(frozen=True)
class Voice:
    """What stays the same over all chunks of a text: one row each."""

    model: SovitsModel
    phone_ids: Tensor  # int64 (1, T_ph), the target's
    style: Tensor  # (1, D_style)


@dataclass(frozen=True)
class StreamCall:
    """One streaming decode: all tokens so far, and how much of the result is wanted."""

    tokens: list[int]
    result_tokens: int | None
    overlap_frames: int


@dataclass(frozen=True)
class StreamResult:
    """``latent`` (1, hidden, T) is what the next call cross-fades with; ``audio`` is (T_wav,)."""

    latent: Tensor
    audio: Tensor


def cross_fade(new: Tensor, old: Tensor) -> Tensor:
    """Fade from ``old`` (1, C, L) into the first L frames of ``new`` (1, C, T).

    The window is a half sine whose first half weighs the new frames and whose second half weighs
    the old ones, so the weights do not sum to one.

    Source: GPT-SoVITS 48b1a01, module/models.py, TextEncoder.forward (overlap_frames).
    """
    length = old.size(2)
    steps = torch.arange(2 * length, device=new.device)
    window = torch.sin(steps * torch.pi / (2 * length)).to(new.dtype)
    faded = window[:length] * new[:, :, :length] + window[length:] * old
    return torch.cat([faded, new[:, :, length:]], dim=2)


def decode_chunk(
    voice: Voice, call: StreamCall, previous: Tensor | None, *, speed: float, noise: Tensor
) -> StreamResult:
    """Decode one chunk with recorded noise (1, inter, T).

    Source: GPT-SoVITS 48b1a01, module/models.py, SynthesizerTrn.decode_streaming.
    """
    model, device = voice.model, voice.style.device
    tokens = torch.tensor([call.tokens], device=device)
    encoded = model.encode_semantic(
        tokens, _lengths(tokens), voice.phone_ids, _lengths(voice.phone_ids), voice.style
    )
    latent = encoded.x
    if call.result_tokens is not None:
        latent = latent[:, :, -call.result_tokens * model.spec.frames_per_token :]
    if previous is not None:
        latent = cross_fade(latent, previous[:, :, -call.overlap_frames :])
    x, lengths = model.apply_speed(latent, torch.tensor([latent.size(2)]), [speed])
    mean, log_deviation = model.project(x, lengths)
    z = model.sample_latent(
        mean,
        log_deviation,
        lengths,
        voice.style,
        noise=noise.to(device),
        noise_scale=NOISE_SCALE,
    )
    return StreamResult(latent, model.generate(z, lengths, voice.style)[0])


def plan_calls(
    chunks: Sequence[Sequence[int]], *, overlap_tokens: int, frames_per_token: int
) -> Iterator[StreamCall]:
    """Yield the decode calls that upstream makes for chunks of tokens.

    Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, TTS.run (streaming branch).
    """
    said: list[int] = []
    for index, chunk in enumerate(chunks):
        said = said + list(chunk)
        if index == 0:
            yield StreamCall(said, None, 0)
            continue
        overlap = overlap_tokens + max(0, _SHORT_CHUNK - len(chunk))
        yield StreamCall(said, len(chunk) + overlap, overlap * frames_per_token)


@dataclass(frozen=True)
class Joiner:
    """Turns decoded chunks into what upstream yields, chunk by chunk."""

    overlap_tokens: int
    samples_per_token: float
    tie: float = 1e-4  # correlations closer than this are tied

    def join(
        self, decoded: Sequence[FloatArray], num_tokens: Sequence[int], lengths: Sequence[int]
    ) -> list[FloatArray]:
        """Return what is sent after each chunk; the last chunk is the final one.

        A stream can end without a token left: then there is a count more (0) than decoded
        chunks, and the last piece is what the chunk before held back. ``lengths`` of what was
        recorded tell upstream's shifts: they decide where several fit equally well.

        Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, TTS.run (streaming branch). The final
        chunk is not faded in, and neither is that here.
        """
        overlap = math.ceil(self.overlap_tokens * self.samples_per_token)
        pieces = [
            self._kept(audio, count, is_first=index == 0)
            for index, (audio, count) in enumerate(zip(decoded, num_tokens, strict=False))
        ]
        sent = [pieces[0][:-overlap]]
        for (previous, current), length in zip(pairwise(pieces), lengths[1:], strict=False):
            shift = self._shift(previous, current, overlap, length)
            joined = sola([previous, current[shift:]], overlap, 0)
            sent.append(joined[len(previous) - overlap : -overlap])
        if len(num_tokens) > len(decoded):
            return [*sent, pieces[-1][-overlap:]]
        return [*sent[:-1], pieces[-1]]

    def _shift(self, previous: FloatArray, current: FloatArray, overlap: int, length: int) -> int:
        recorded = len(current) - overlap - length
        is_tied = recorded in tied_shifts(previous, current, overlap, tie=self.tie)
        return recorded if is_tied else find_shift(previous, current, overlap)

    def _kept(self, audio: FloatArray, count: int, *, is_first: bool) -> FloatArray:
        """Cut off the additional overlap that a short chunk was decoded with."""
        if is_first or count >= _SHORT_CHUNK:
            return audio
        return audio[-int((self.overlap_tokens + count) * self.samples_per_token) :]


def _lengths(rows: Tensor) -> Tensor:
    return torch.tensor([rows.size(1)] * rows.size(0))
