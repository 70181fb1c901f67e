import numpy as np
import numpy.typing as npt
import pytest
import torch

from sovits_serve.parity.streaming import Joiner, StreamCall, cross_fade, plan_calls

RATE = 1280.0
FloatArray = npt.NDArray[np.float32]


@pytest.fixture
def signal() -> FloatArray:
    """Return noise, which fits itself at one place only."""
    return np.random.default_rng(0).uniform(-1, 1, 80_000).astype(np.float32)


def _chunks(signal: FloatArray, counts: list[int], overlap: int) -> list[FloatArray]:
    """Cut a signal as streaming decodes: each chunk begins with what the one before ended with."""
    chunks, start = [], 0
    for count in counts:
        end = start + int(count * RATE)
        chunks.append(signal[max(0, start - overlap) : end])
        start = end
    return chunks


@pytest.mark.parametrize("counts", [[16], [16, 20], [16, 20, 12, 10]])
def test_joined_chunks_are_the_signal(signal: FloatArray, counts: list[int]) -> None:
    """Chunks that agree where they overlap join to the signal, without a sample more or less."""
    chunks = _chunks(signal, counts, overlap=2560)
    sent = Joiner(2, RATE).join(chunks, counts, [len(chunk) - 2560 for chunk in chunks])
    joined = np.concatenate(sent)

    assert len(sent) == len(counts)
    np.testing.assert_allclose(joined, signal[: len(joined)], rtol=0, atol=1e-6)
    assert len(joined) == sum(counts) * RATE


def test_a_stream_without_a_last_token_sends_what_was_held_back(signal: FloatArray) -> None:
    """When nothing is left at the end, the overlap of the last chunk is sent alone."""
    counts = [16, 16]
    chunks = _chunks(signal, counts, overlap=2560)
    sent = Joiner(2, RATE).join(chunks, [*counts, 0], [len(chunk) - 2560 for chunk in chunks])

    assert [len(piece) for piece in sent] == [16 * 1280 - 2560, 16 * 1280, 2560]
    np.testing.assert_allclose(np.concatenate(sent), signal[: 32 * 1280], rtol=0, atol=1e-6)


def test_recorded_lengths_decide_between_equal_shifts() -> None:
    """Where all shifts fit equally well, the one that upstream took is taken."""
    silent = np.zeros(20_480, dtype=np.float32)
    joiner = Joiner(2, RATE)
    lengths = [17_920, 20_480 - 2560 - 77, 20_480]
    sent = joiner.join([silent] * 3, [16] * 3, lengths)

    assert [len(piece) for piece in sent] == lengths


def test_an_impossible_length_is_not_followed(signal: FloatArray) -> None:
    """A recorded length that no good shift explains changes nothing: the difference shows."""
    counts = [16, 16, 16]
    chunks = _chunks(signal, counts, overlap=2560)
    sent = Joiner(2, RATE).join(chunks, counts, [17_920, 20_400, 20_480])

    assert len(sent[1]) == 20_480


def test_short_chunks_are_decoded_with_more_overlap() -> None:
    """A later chunk of fewer than ten tokens overlaps by as many more."""
    calls = list(plan_calls([[1] * 16, [2] * 12, [3] * 4], overlap_tokens=2, frames_per_token=2))

    assert calls == [
        StreamCall([1] * 16, None, 0),
        StreamCall([1] * 16 + [2] * 12, 14, 4),
        StreamCall([1] * 16 + [2] * 12 + [3] * 4, 12, 16),
    ]


def test_cross_fade_moves_from_old_to_new() -> None:
    """The first frames come from the chunk before, what follows the overlap is untouched."""
    new, old = torch.full((1, 3, 10), 5.0), torch.full((1, 3, 4), 2.0)
    faded = cross_fade(new, old)

    assert torch.equal(faded[:, :, 4:], new[:, :, 4:])
    assert torch.equal(faded[:, :, 0], old[:, :, 0])
    assert faded.shape == new.shape
