import json
from typing import Any

import numpy as np
import pytest

from sovits_serve.audio.postprocess import join_fragments, normalize_peak, silence, to_int16
from tests.golden import DATA

CASES = json.loads((DATA / "postprocess.meta.json").read_text(encoding="utf-8"))["post"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_joined_fragments_equal_upstream(case: dict[str, Any]) -> None:
    """Fragments in text order join to upstream's int16, but for its wrapped positive peaks."""
    order = [index for batch in case["batch_index_list"] for index in batch]
    with np.load(DATA / "postprocess.npz") as arrays:
        fragments = [arrays[f"p{case['case']}_in{index}"] for index in range(len(order))]
        recorded = arrays[f"p{case['case']}_out"].astype(int)
    if case["split_bucket"]:
        fragments = [fragments[order.index(place)] for place in range(len(order))]

    joined = join_fragments(fragments, interval_s=case["fragment_interval"], rate_hz=32_000).astype(
        int
    )

    is_wrapped = (recorded == -32_768) & (joined == 32_767)
    assert joined.shape == recorded.shape
    assert np.abs(joined - recorded)[~is_wrapped].max() <= 1


def test_int16_saturates() -> None:
    """Full scale and what lies past it saturate; fractions are cut off toward zero."""
    samples = np.array([1, 2, -1, -2, 0.5, 1.9 / 32_768, -1.9 / 32_768], dtype=np.float32)

    assert to_int16(samples).tolist() == [32767, 32767, -32768, -32768, 16384, 1, -1]


def test_only_peaks_over_one_are_normalised() -> None:
    """A fragment within full scale stays as it is; a louder one gets the peak 1."""
    quiet = np.array([0.5, -1.0], dtype=np.float32)

    assert normalize_peak(quiet) is quiet
    assert normalize_peak(2 * quiet).tolist() == [0.5, -1.0]
    assert normalize_peak(np.zeros(0, dtype=np.float32)).shape == (0,)


@pytest.mark.parametrize(("duration_s", "num_samples"), [(0.3, 9_600), (0, 0), (-1, 0)])
def test_silence_has_the_length_asked_for(duration_s: float, num_samples: int) -> None:
    """Silence is zeros; a negative duration is none."""
    assert silence(duration_s, 32_000).tolist() == [0] * num_samples


def test_no_fragments_give_no_audio() -> None:
    """Nothing in gives nothing out."""
    assert join_fragments([], interval_s=0.3, rate_hz=32_000).shape == (0,)
