"""The audio of recorded requests: decoded from recorded tokens with recorded noise."""

from collections.abc import Iterator, Sequence
from itertools import count, islice

import numpy as np
import torch
from torch import Tensor

from sovits_serve.audio.postprocess import join_fragments, normalize_peak, silence, to_int16
from sovits_serve.parity import batching, limits, pcm, token_chunks
from sovits_serve.parity.generation import End
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.pcm import Pcm
from sovits_serve.parity.recorded_request import RecordedRequest, TokenCall, TokenStream
from sovits_serve.parity.report import Check
from sovits_serve.parity.request_tokens import RequestGolden, Spoken
from sovits_serve.parity.streaming import (
    NOISE_SCALE,
    FloatArray,
    Joiner,
    Voice,
    decode_chunk,
    plan_calls,
)

# Half precision leaves little between the best shifts of an overlap-add.
_HALF_TIE = 1e-2


def check(golden: RequestGolden) -> Iterator[Check]:
    """Decode a request as upstream did and compare every piece it yielded."""
    name, arrays = golden.request.name, golden.request.arrays
    recorded = output_keys(golden.request)
    if golden.request.is_streaming:
        yield from _check_chunks(golden)
    num_outputs = 0
    for num_outputs, ours in enumerate(outputs(golden), start=1):
        if num_outputs <= len(recorded):
            key = recorded[num_outputs - 1]
            theirs = np.asarray(arrays.array(key), dtype=np.int16)
            yield from _compare(f"{name}/{key}", ours, theirs, golden.precision)
    yield limits.same(f"{name}/num_outputs", num_outputs, len(recorded))


def outputs(golden: RequestGolden) -> Iterator[Pcm]:
    """Yield what a request yields, piece by piece."""
    return _streamed(golden) if golden.request.is_streaming else _whole(golden)


def output_keys(request: RecordedRequest) -> list[str]:
    """Return the names of what a request yielded, in order."""
    return [match.group(0) for match in request.arrays.match(r"out\d+")]


def _compare(name: str, ours: Pcm, recorded: Pcm, precision: Precision) -> list[Check]:
    if precision.is_exact or not recorded.any():
        return pcm.check(name, ours, recorded, limits.PCM_WHOLE)
    tensors = (torch.from_numpy(samples.astype(np.float32)) for samples in (ours, recorded))
    return [limits.correlation(name, *tensors)]


def _whole(golden: RequestGolden) -> Iterator[Pcm]:
    """Yield the audio of a request that does not stream: a piece per group of sentences."""
    calls, noise = iter(golden.calls), _noise(golden)
    request, rate_hz = golden.request, golden.voice().models.spec.sample_rate_hz
    for group in range(len(request.texts)):
        indices = request.recorded_batches(group)
        by_batch = [_decode_call(golden, call, noise) for call in islice(calls, len(indices))]
        fragments = batching.in_text_order(by_batch, indices)
        yield join_fragments(fragments, interval_s=request.interval_s, rate_hz=rate_hz)


def _decode_call(
    golden: RequestGolden, call: TokenCall, noise: Iterator[Tensor]
) -> list[FloatArray]:
    """Decode the sentences of a T2S call: as one, or each alone if they are stretched.

    Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, TTS.run.
    """
    phone_ids = [text.phone_ids for text in call.texts]
    if golden.request.speed != 1.0:
        rows = zip(call.codes, phone_ids, strict=True)
        return [_decode(golden, codes, ids, next(noise)) for codes, ids in rows]
    codes = [token for row in call.codes for token in row]
    whole = _decode(golden, codes, [index for row in phone_ids for index in row], next(noise))
    ends = np.cumsum([len(row) for row in call.codes]) * (len(whole) // len(codes))
    return np.split(whole, ends[:-1])


def _decode(
    golden: RequestGolden, codes: Sequence[int], phone_ids: Sequence[int], noise: Tensor
) -> FloatArray:
    voice = golden.voice()
    model, device, style = voice.models.sovits, voice.models.device, voice.conditioning.style[None]
    latents = model.encode_latent(
        torch.tensor([codes], device=device),
        torch.tensor([len(codes)]),
        torch.tensor([phone_ids], device=device),
        torch.tensor([len(phone_ids)]),
        style,
        speeds=[golden.request.speed],
        noise=noise.to(device),
        noise_scale=NOISE_SCALE,
    )
    return _samples(model.generate(latents.z, latents.lengths, style)[0])


def _samples(audio: Tensor) -> FloatArray:
    samples: FloatArray = audio.float().cpu().numpy()
    return samples


def _noise(golden: RequestGolden) -> Iterator[Tensor]:
    """Yield the noise of upstream's decoding calls, in order."""
    return (golden.request.arrays.tensor(f"noise{index}") for index in count())


def _split(golden: RequestGolden, spoken: Spoken) -> list[list[int]]:
    """Cut the tokens of a stream as upstream does; the last chunk can be empty."""
    recorded = spoken.recorded
    chunks = token_chunks.split(
        recorded.tokens, golden.voice().chunk_rule, ended_by_eos=recorded.end is End.EOS
    )
    return [chunk.tokens for chunk in chunks]


def _check_chunks(golden: RequestGolden) -> Iterator[Check]:
    """Compare how tokens are cut into chunks, and which decoding calls follow."""
    frames_per_token = golden.voice().models.spec.frames_per_token
    for spoken, stream in zip(golden.spoken, golden.request.streams(), strict=True):
        name = f"{golden.request.name}/{spoken.key}"
        ours = [chunk for chunk in _split(golden, spoken) if chunk]
        yield limits.same(f"{name}_chunks", ours, stream.chunks)
        calls = plan_calls(
            stream.chunks,
            overlap_tokens=golden.request.overlap_tokens,
            frames_per_token=frames_per_token,
        )
        yield limits.same(f"{name}_calls", list(calls), stream.calls)


def _streamed(golden: RequestGolden) -> Iterator[Pcm]:
    """Yield the audio of a streamed request: the chunks of each text, then silence."""
    noise = _noise(golden)
    lengths = [len(golden.request.arrays.array(key)) for key in output_keys(golden.request)]
    rate_hz = golden.voice().models.spec.sample_rate_hz
    num_sent = 0
    for spoken, stream in zip(golden.spoken, golden.request.streams(), strict=True):
        decoded = _decode_stream(golden, stream, noise)
        counts = [len(chunk) for chunk in stream.chunks]
        if not _split(golden, spoken)[-1]:
            counts.append(0)
        pieces = _joiner(golden).join(decoded, counts, lengths[num_sent:])
        for piece in pieces:
            yield to_int16(normalize_peak(piece))
        yield silence(golden.request.interval_s, rate_hz)
        num_sent += len(pieces) + 1


def _decode_stream(
    golden: RequestGolden, stream: TokenStream, noise: Iterator[Tensor]
) -> list[FloatArray]:
    voice = golden.voice()
    phone_ids = torch.tensor([stream.text.phone_ids], device=voice.models.device)
    spoken = Voice(voice.models.sovits, phone_ids, voice.conditioning.style[None])
    decoded, latent = [], None
    for call in stream.calls:
        result = decode_chunk(spoken, call, latent, speed=golden.request.speed, noise=next(noise))
        decoded.append(_samples(result.audio))
        latent = result.latent
    return decoded


def _joiner(golden: RequestGolden) -> Joiner:
    models = golden.voice().models
    frames_per_token = models.spec.frames_per_token / golden.request.speed
    samples_per_token = models.sovits.dims.samples_per_frame * frames_per_token
    overlap = golden.request.overlap_tokens
    if golden.precision.is_exact:
        return Joiner(overlap, samples_per_token)
    return Joiner(overlap, samples_per_token, tie=_HALF_TIE)
