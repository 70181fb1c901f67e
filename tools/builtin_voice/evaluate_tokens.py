"""How well T2S foresees the teacher's tokens in sentences it has not seen.

    python -m tools.builtin_voice.evaluate_tokens --encoder FILE --t2s FILE --count 40

Quick, and what to watch while training: the loss (mean cross-entropy, nats) and the share of
tokens that are the likeliest one, behind the teacher's earlier tokens and a prompt. ``--corpus``
does the same for sentences of a corpus, to see what was learned by heart.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from sovits_serve.models.t2s.model import T2SModel
from tools.builtin_voice import corpus
from tools.builtin_voice.networks import make_t2s, t2s_logits
from tools.builtin_voice.prepare import PROMPT_SILENCE
from tools.builtin_voice.tokenizer import Encoder


def foresight(
    model: T2SModel, encoder: Encoder, prompt: corpus.Utterance, said: Sequence[corpus.Utterance]
) -> tuple[float, float]:
    """Return the mean loss and the share of tokens foreseen in ``said`` behind ``prompt``."""
    lead = _tokens(encoder, np.pad(prompt.samples, (0, PROMPT_SILENCE)))
    loss, hits, count = 0.0, 0, 0
    for utterance in said:
        tokens = _tokens(encoder, utterance.samples)
        phones = torch.tensor([prompt.phone_ids + utterance.phone_ids])
        with torch.inference_mode():
            logits = t2s_logits(
                model,
                phones,
                torch.tensor([phones.shape[1]]),
                torch.cat([lead, tokens])[None],
                dropout=0.0,
            )[0, len(lead) - 1 : -1]
        loss += functional.cross_entropy(logits, tokens, reduction="sum").item()
        hits += int((logits.argmax(-1) == tokens).sum())
        count += len(tokens)
    return loss / count, hits / count


def _tokens(encoder: Encoder, samples: np.ndarray) -> torch.Tensor:
    return encoder.tokens(torch.from_numpy(samples.astype(np.float32) / 32_768))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--t2s", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--corpus", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    from tools.builtin_voice import texts  # not needed on machines that only train

    encoder = Encoder()
    encoder.load_state_dict(torch.load(args.encoder, weights_only=True))
    encoder.eval()
    sets: dict[str, list[corpus.Utterance]] = {}
    for group in ("ada-en", "max-en", "mei-zh", "bo-zh", "mei-en", "bo-en"):
        speaker, language = group.split("-")
        lines = texts.held_out(language, args.count + 20)
        made = (corpus.make_utterance(line, speaker, language) for line in lines)
        sets[group] = [utterance for utterance in made if utterance is not None]
    for path in args.corpus:
        sets[path.name] = corpus.load(path)[:: max(1, 400 // args.count)]
    for path in args.t2s:
        model = make_t2s().eval()
        state = torch.load(path, weights_only=True)
        model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        for name, utterances in sets.items():
            prompt, *said = utterances[: args.count + 1]
            loss, share = foresight(model, encoder, prompt, said)
            print(f"{path.name} {name}: loss {loss:.3f}, foreseen {share:.1%}", flush=True)


if __name__ == "__main__":
    main()
