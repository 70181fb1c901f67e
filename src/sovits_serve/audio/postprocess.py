"""Float samples to int16: peaks, saturation, and the silence between fragments.

Samples are float32 (T,) and finite; the caller checks that, because only it can fail a request.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
PcmArray = npt.NDArray[np.int16]


def normalize_peak(samples: FloatArray) -> FloatArray:
    """Divide by the largest magnitude if that is over 1; quieter audio stays as it is.

    Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, audio_postprocess.
    """
    peak = np.abs(samples).max(initial=0)
    return samples if peak <= 1 else np.asarray(samples / peak, dtype=np.float32)


def to_int16(samples: FloatArray) -> PcmArray:
    """Scale by 32768, cut off the fraction, and saturate.

    Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, audio_postprocess. Differs: +1.0 becomes
    32767; upstream's cast wraps it to -32768 on x86, an audible click at the loudest sample.
    """
    scaled = np.asarray(samples, dtype=np.float32) * np.float32(32_768)
    return np.asarray(np.clip(scaled, -32_768, 32_767), dtype=np.int16)


def silence(duration_s: float, rate_hz: int) -> PcmArray:
    """Return zeros; a fraction of a sample is cut off, a negative duration is none."""
    return np.zeros(max(0, int(rate_hz * duration_s)), dtype=np.int16)


def join_fragments(fragments: Iterable[FloatArray], *, interval_s: float, rate_hz: int) -> PcmArray:
    """Normalise fragments one by one and join them, with silence after each, also the last.

    Source: GPT-SoVITS 48b1a01, TTS_infer_pack/TTS.py, audio_postprocess. Differs: ``rate_hz`` is
    that of the audio, where upstream measures the silence at 32 kHz for every version.
    """
    gap = silence(interval_s, rate_hz)
    parts = [part for item in fragments for part in (to_int16(normalize_peak(item)), gap)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)
