"""What 8-bit weights change: the built-in voice's T2S, float and rounded, on the same tokens.

    python bench/int8_quality.py [--sentences 40] [--language en]

The float model speaks sentences with a seed each; both models then read what it drew, token by token
(teacher forcing). Prints in how many places the likeliest token is another one, and both losses.
"""

import argparse
from itertools import islice

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sovits_serve.bench.texts import texts
from sovits_serve.builtin import builtin_model_directory
from sovits_serve.checkpoints.locate import locate_model
from sovits_serve.engine.kv_cache import KVCache
from sovits_serve.engine.loader import load_models
from sovits_serve.engine.sampling import SamplingState, sample
from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.models.t2s import PrefillBatch, T2SModel
from sovits_serve.protocol.messages import SamplingParams

MAX_TOKENS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=40)
    parser.add_argument("--language", default="en", choices=("en", "zh"))
    args = parser.parse_args()
    files = locate_model(builtin_model_directory())
    exact, rounded = (load_models(files, torch.device("cpu"), torch.float32).t2s for _ in range(2))
    rounded.use_int8()
    frontend = TextFrontend()
    logits: list[tuple[Tensor, Tensor]] = []
    targets: list[Tensor] = []
    for seed, text in enumerate(islice(texts(args.language, "medium"), args.sentences)):
        phone_ids = torch.tensor(frontend.one_segment(text, args.language).phonemized().phone_ids)
        tokens = speak(exact, phone_ids, seed)
        logits.append((read(exact, phone_ids, tokens), read(rounded, phone_ids, tokens)))
        targets.append(torch.tensor([*tokens, exact.dims.eos]))
    target = torch.cat(targets)
    both = [torch.cat(own) for own in zip(*logits, strict=True)]
    changed = (both[0].argmax(1) != both[1].argmax(1)).float().mean().item()
    losses = [cross_entropy(own, target).item() for own in both]
    print(f"{len(target)} tokens: the likeliest is another one in {changed:.1%}")
    print(f"loss {losses[0]:.3f} in float32, {losses[1]:.3f} with 8-bit weights")


def start(model: T2SModel, phone_ids: Tensor) -> tuple[KVCache, Tensor]:
    """Return a cache with a text in its first slot, and the first token's logits."""
    length = len(phone_ids) + MAX_TOKENS + 1
    cache = KVCache(model.dims, num_slots=1, max_length=length)
    features = torch.zeros(len(phone_ids), model.dims.text_feature_dim)
    nothing = torch.zeros(0, dtype=torch.int64)
    batch = PrefillBatch.collate([phone_ids], [features], [nothing], [cache.allocate()])
    return cache, model.prefill(batch, cache)


def step(model: T2SModel, cache: KVCache, token: int, place: int) -> Tensor:
    """Return the logits after one more token."""
    return model.decode(torch.tensor([token]), torch.tensor([place]), [0], cache)


def speak(model: T2SModel, phone_ids: Tensor, seed: int) -> list[int]:
    """Return what a model draws for a text."""
    cache, logits = start(model, phone_ids)
    state = SamplingState(1, model.dims.vocab_size, torch.device("cpu"))
    state.set_row(0, SamplingParams(seed=seed), segment=0, seen=torch.zeros(0, dtype=torch.int64))
    tokens: list[int] = []
    while len(tokens) < MAX_TOKENS:
        drawn = sample(logits, state, torch.tensor([0]), torch.tensor([len(tokens)]))
        if drawn.is_eos.item():
            break
        tokens.append(int(drawn.tokens.item()))
        logits = step(model, cache, tokens[-1], len(tokens) - 1)
    return tokens


def read(model: T2SModel, phone_ids: Tensor, tokens: list[int]) -> Tensor:
    """Return the logits (len(tokens) + 1, V) before and after each token."""
    cache, logits = start(model, phone_ids)
    rows = [logits, *(step(model, cache, token, place) for place, token in enumerate(tokens))]
    return torch.cat(rows)


if __name__ == "__main__":
    main()
