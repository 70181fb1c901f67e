"""Upstream's streaming decode, on our stages.

Upstream re-encodes everything said so far for each chunk, cross-fades the newest frames with those
of the chunk before, and joins the chunks by overlap-add. Our engine streams otherwise (windows
of one whole latent), so this exists only to reproduce recordings.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sovits_serve.models.sovits.model import SovitsModel

NOISE_SCALE = 0.5
"""What upstream's request handling always uses."""

_SHORT_CHUNK = 10
_SEARCH_SAMPLES = 320


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

    def join(self, decoded: Sequence[Tensor], num_tokens: Sequence[int]) -> Iterator[Tensor]:
        """Yield one piece of audio per chunk; the last chunk is taken as final.

        A final chunk without tokens has no audio of its own: pass its count as 0 and no audio,
        and what the chunk before held back is yielded.

        Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, TTS.run (streaming branch).
        """
        overlap = math.ceil(self.overlap_tokens * self.samples_per_token)
        previous: Tensor | None = None
        for index, (audio, count) in enumerate(zip(decoded, num_tokens, strict=False)):
            is_final = index == len(num_tokens) - 1
            current = audio
            if index > 0 and count < _SHORT_CHUNK:
                kept = int((self.overlap_tokens + count) * self.samples_per_token)
                current = audio[-kept:]
            if is_final:
                yield current
            elif previous is None:
                yield current[:-overlap]
            else:
                yield _overlap_add(previous, current, overlap)
            previous = current
        if len(num_tokens) > len(decoded) and previous is not None:
            yield previous[-overlap:]


def _overlap_add(previous: Tensor, current: Tensor, overlap: int) -> Tensor:
    """Return ``current`` faded in where it fits ``previous`` best, without its own tail.

    Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, TTS.sola_algorithm and its caller.
    """
    shift = best_shift(previous[-overlap:], current[: overlap + _SEARCH_SAMPLES])
    shifted = current[shift:].clone()
    window = torch.hann_window(2 * overlap, device=current.device)
    shifted[:overlap] = window[:overlap] * shifted[:overlap] + window[overlap:] * previous[-overlap:]
    return shifted[:-overlap]


def best_shift(tail: Tensor, head: Tensor) -> int:
    """Return where in ``head`` the signal ``tail`` fits best, by normalised correlation."""
    windows = head.unfold(0, tail.numel(), 1)  # (shifts, L)
    energy = windows.square().sum(1) + 1e-8
    return int((windows @ tail / energy.sqrt()).argmax())


def _lengths(rows: Tensor) -> Tensor:
    return torch.tensor([rows.size(1)] * rows.size(0))
