"""Stage 3: corpora and a trained encoder to what the two trainings read.

    python -m tools.builtin_voice.prepare --encoder FILE --corpus FILE.npz ... --output DIR

Writes ``tokens.npz`` (phonemes and semantic tokens of every utterance, for T2S), ``prompts.npz``
(the same of a few utterances as references are encoded: with silence behind them) and, for those
that fit the decoder's window, ``decoder.npz`` with the audio of ``<group>.flac`` beside it. A
group is a speaker in a language, such as ``ada-en``.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import torch

from tools.builtin_voice import corpus
from tools.builtin_voice.networks import (
    MAX_DECODER_PHONES,
    MAX_DECODER_TOKENS,
    RATE_HZ,
    SAMPLES_PER_TOKEN,
)
from tools.builtin_voice.tokenizer import Encoder

# Minutes of audio that the decoder learns from. 12 bits are kept: what is cut off lies 50 dB
# below the speech, and the data must travel.
_MINUTES = {"ada-en": 14, "max-en": 9, "mei-zh": 14, "bo-zh": 8, "mei-en": 5, "bo-en": 5}
_STEP = 16
Array = npt.NDArray[np.int16]
_NUM_PROMPTS = 300  # of each group
_PROMPT_S = (2.5, 7.0)
PROMPT_SILENCE = 9_600  # samples that serving puts behind a reference, see models/reference


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    encoder = Encoder()
    encoder.load_state_dict(torch.load(args.encoder, weights_only=True))
    encoder.eval()
    args.output.mkdir(parents=True, exist_ok=True)
    groups = sorted({"-".join(path.name.split("-")[:2]) for path in args.corpus})
    everything: dict[str, list[Array]] = {"tokens": [], "phones": []}
    prompts: dict[str, list[Array]] = {"tokens": [], "phones": []}
    chosen: dict[str, list[Array]] = {"tokens": [], "phones": []}
    token_groups: list[int] = []
    prompt_groups: list[int] = []
    chosen_groups: list[int] = []
    for number, group in enumerate(groups):
        audio: list[Array] = []
        left: float = _MINUTES[group] * 60 * RATE_HZ
        for path in sorted(args.corpus):
            if not path.name.startswith(group + "-"):
                continue
            for utterance in corpus.load(path):
                wave = utterance.samples.astype(np.float32) / 32_768
                tokens = encoder.tokens(torch.from_numpy(wave)).numpy().astype(np.int16)
                phones = np.array(utterance.phone_ids, dtype=np.int16)
                everything["tokens"].append(tokens)
                everything["phones"].append(phones)
                token_groups.append(number)
                is_prompt = _PROMPT_S[0] <= len(wave) / RATE_HZ <= _PROMPT_S[1]
                if is_prompt and prompt_groups.count(number) < _NUM_PROMPTS:
                    padded = torch.from_numpy(np.pad(wave, (0, PROMPT_SILENCE)))
                    prompts["tokens"].append(encoder.tokens(padded).numpy().astype(np.int16))
                    prompts["phones"].append(phones)
                    prompt_groups.append(number)
                fits = len(tokens) <= MAX_DECODER_TOKENS and len(phones) <= MAX_DECODER_PHONES
                if fits and left > 0:
                    length = len(tokens) * SAMPLES_PER_TOKEN
                    whole = np.pad(utterance.samples, (0, SAMPLES_PER_TOKEN))[:length]
                    samples = np.round(whole / _STEP).astype(np.int16) * _STEP
                    audio.append(samples)
                    chosen["tokens"].append(tokens)
                    chosen["phones"].append(phones)
                    chosen_groups.append(number)
                    left -= length
        soundfile.write(args.output / f"{group}.flac", np.concatenate(audio), RATE_HZ)
        print(group, len(token_groups), len(chosen_groups), flush=True)
    for name, rows, ids in (
        ("tokens", everything, token_groups),
        ("prompts", prompts, prompt_groups),
        ("decoder", chosen, chosen_groups),
    ):
        arrays: dict[str, Any] = {
            "groups": np.array(ids, dtype=np.int16),
            "group_names": np.frombuffer(" ".join(groups).encode(), dtype=np.uint8),
            "codebook": encoder.embed.numpy(),
        }
        for key, values in rows.items():
            arrays[key] = np.concatenate(values)
            arrays[f"{key}_ends"] = np.cumsum([len(value) for value in values])
        np.savez_compressed(args.output / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
