"""Stage 7: the recordings that the built-in voices are cloned from, said by the teachers.

    python -m tools.builtin_voice.voices --output DIR

Writes ``<voice>.wav`` (16 kHz, mono, 16 bits) and ``<voice>.txt`` for every voice.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile

from tools.builtin_voice import teacher

_ENGLISH = "The garden behind our house is full of yellow flowers, and the birds like it."
_MANDARIN = "今天天气很好，我们一起去公园看花。"
_TEXTS = {"en": _ENGLISH, "zh": _MANDARIN}
VOICES = {
    "default": ("ada", "en"),
    "ada-en": ("ada", "en"),
    "max-en": ("max", "en"),
    "mei-en": ("mei", "en"),
    "bo-en": ("bo", "en"),
    "mei-zh": ("mei", "zh"),
    "bo-zh": ("bo", "zh"),
}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for voice, (speaker, language) in VOICES.items():
        text = _TEXTS[language]
        samples, rate_hz = teacher.synthesize(text, speaker, language)
        path = args.output / f"{voice}.wav"
        quantized = np.round(samples * 32_767).astype(np.int16)
        soundfile.write(path, quantized, rate_hz, subtype="PCM_16")
        path.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
        print(f"{voice}: {len(samples) / rate_hz:.2f} s")


if __name__ == "__main__":
    main()
