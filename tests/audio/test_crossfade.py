import json

import numpy as np
import numpy.typing as npt
import pytest

from sovits_serve.audio.crossfade import find_shift, sola
from tests.golden import DATA

CASES = json.loads((DATA / "postprocess.meta.json").read_text(encoding="utf-8"))["sola"]


@pytest.fixture
def signal() -> npt.NDArray[np.float32]:
    """Return noise, which fits itself at one place only."""
    return np.random.default_rng(0).uniform(-1, 1, 5_000).astype(np.float32)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_join_equals_upstream(case: dict[str, int]) -> None:
    """Recorded fragments join to upstream's audio, within rounding."""
    with np.load(DATA / "postprocess.npz") as arrays:
        names = [name for name in arrays.files if name.startswith(f"s{case['case']}_in")]
        fragments = [arrays[name] for name in names]
        recorded = arrays[f"s{case['case']}_out"]

    joined = sola(fragments, case["overlap_len"], case["search_len"])

    assert joined.dtype == np.float32
    np.testing.assert_allclose(joined, recorded, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", [0, 1, 77, 320])
def test_shift_is_found(signal: npt.NDArray[np.float32], shift: int) -> None:
    """A fragment that begins earlier by any searched shift is moved back by it."""
    previous, current = signal[:3_000], signal[2_600 - shift :]

    assert find_shift(previous, current, overlap=400) == shift
    np.testing.assert_allclose(sola([previous, current], 400), signal, rtol=0, atol=1e-6)


def test_inputs_are_left_alone(signal: npt.NDArray[np.float32]) -> None:
    """Joining changes no fragment."""
    fragments = [signal[:3_000].copy(), signal[2_600:].copy()]

    sola(fragments, 400)

    np.testing.assert_array_equal(fragments[0], signal[:3_000])
    np.testing.assert_array_equal(fragments[1], signal[2_600:])


def test_one_fragment_is_itself(signal: npt.NDArray[np.float32]) -> None:
    """A single fragment has no joints."""
    np.testing.assert_array_equal(sola([signal], 400), signal)


@pytest.mark.parametrize("overlap", [0, -1, 1_001])
def test_impossible_overlap_is_refused(signal: npt.NDArray[np.float32], overlap: int) -> None:
    """An overlap that is not positive, or longer than a fragment, is a ValueError naming it."""
    with pytest.raises(ValueError, match=f"overlap is {overlap}"):
        sola([signal[:1_000], signal], overlap)


def test_no_fragments_are_refused() -> None:
    """Joining nothing is a ValueError."""
    with pytest.raises(ValueError, match="at least one"):
        sola([], 400)
