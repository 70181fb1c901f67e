"""Running the golden T2S models: rows, prompts, and a loop that generates a batch."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sovits_serve.engine.kv_cache import KVCache
from sovits_serve.engine.sampling import SamplingState, sample
from sovits_serve.models.spec import T2SDims
from sovits_serve.models.t2s import PrefillBatch, T2SModel
from sovits_serve.models.weights import DictWeights
from sovits_serve.parity.recipe import Recipe
from sovits_serve.protocol.messages import SamplingParams
from tests.golden import DATA

# Below this gap between the best two logits, upstream's own rounding can decide (goldens/README).
MARGIN = 2e-3
# What two orders of the same float32 sums may differ by, with logits up to 9.
ROUNDING = 1e-4
NUM_FORCED = 6


@dataclass(frozen=True)
class Row:
    """One sequence's input."""

    phone_ids: Tensor
    text_features: Tensor
    prompt: Tensor

    @property
    def num_tokens(self) -> int:
        """Return how many tokens a cache has of it after the prefill."""
        return len(self.phone_ids) + len(self.prompt)


@dataclass(frozen=True)
class Golden:
    """A golden model with its arrays."""

    dims: T2SDims
    model: T2SModel
    arrays: dict[str, np.ndarray[Any, Any]]
    meta: dict[str, Any]
    prompt: Tensor

    def row(self, index: int, prompt: Tensor | None = None) -> Row:
        """Return a recorded text with the recorded prompt, or another one."""
        return Row(
            torch.from_numpy(self.arrays[f"x{index}"]),
            torch.from_numpy(self.arrays[f"bert{index}"]).float().T,
            self.prompt if prompt is None else prompt,
        )

    @property
    def rows(self) -> list[Row]:
        """Return all recorded texts with the recorded prompt."""
        return [self.row(index) for index in range(len(self.arrays["lens"]))]

    def new_cache(self, num_slots: int = 4, max_length: int = 640) -> KVCache:
        """Return an empty cache of the model's dimensions."""
        positions = self.model.positions
        return KVCache(
            self.dims,
            num_slots=num_slots,
            max_length=max_length,
            device=positions.device,
            dtype=positions.dtype,
        )

    def generated(self, name: str, prompt_length: int | None = None) -> list[int]:
        """Return a recorded sequence without its prompt."""
        length = len(self.prompt) if prompt_length is None else prompt_length
        return [int(token) for token in self.arrays[name][length:]]


@cache
def load_golden(name: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Golden:
    """Return ``t2s_v65`` or ``t2s_v1025``."""
    recipe = Recipe.read(DATA / f"{name}.weights.json")
    config: Any = recipe.config
    dims = T2SDims(
        hidden=config["model"]["hidden_dim"],
        num_heads=config["model"]["head"],
        num_layers=config["model"]["n_layer"],
        vocab_size=config["model"]["vocab_size"],
        phoneme_vocab_size=config["model"]["phoneme_vocab_size"],
        max_sec=config["data"]["max_sec"],
    )
    model = T2SModel.from_weights(dims, DictWeights(recipe.build()), device=device, dtype=dtype)
    arrays = dict(np.load(DATA / f"{name}.npz"))
    meta = json.loads((DATA / f"{name}.meta.json").read_text(encoding="utf-8"))
    return Golden(dims, model, arrays, meta, torch.from_numpy(arrays["prompt"]))


def prefill(model: T2SModel, cache: KVCache, rows: list[Row], slots: list[int]) -> Tensor:
    """Start rows in slots; return the logits of their first tokens."""
    batch = PrefillBatch.collate(
        [row.phone_ids for row in rows],
        [row.text_features for row in rows],
        [row.prompt for row in rows],
        slots,
    )
    return model.prefill(batch, cache)


def force(model: T2SModel, cache: KVCache, row: Row, tokens: list[int]) -> Tensor:
    """Return the logits (len(tokens) + 1, V) before and after each forced token."""
    slot = cache.allocate()
    logits = [prefill(model, cache, [row], [slot])]
    for step, token in enumerate(tokens):
        position = torch.tensor([len(row.prompt) + step])
        logits.append(model.decode(torch.tensor([token]), position, [slot], cache))
    cache.free(slot)
    return torch.cat(logits)


def generate(
    golden: Golden,
    rows: list[Row],
    params: SamplingParams,
    max_tokens: int,
    noise: list[Tensor] | None = None,
) -> list[list[int]]:
    """Generate all rows in one batch that rows leave at EOS or ``max_tokens``.

    Row i draws as segment i. ``noise[step]`` is (V) for a single row.
    """
    cache = golden.new_cache(len(rows))
    state = SamplingState(len(rows), golden.dims.vocab_size, cache.device)
    slots = [cache.allocate() for _ in rows]
    for slot, row in zip(slots, rows, strict=True):
        state.set_row(slot, params, segment=slot, seen=row.prompt)
    logits = prefill(golden.model, cache, rows, slots)
    generated: list[list[int]] = [[] for _ in rows]
    for step in range(max_tokens):
        positions = torch.full((len(slots),), step)
        drawn = noise[step][None] if noise is not None else None
        result = sample(logits, state, torch.tensor(slots), positions, drawn)
        going = [index for index in range(len(slots)) if not result.is_eos[index]]
        for index in set(range(len(slots))) - set(going):
            cache.free(slots[index])
        tokens, slots = result.tokens[going], [slots[index] for index in going]
        for slot, token in zip(slots, tokens.tolist(), strict=True):
            generated[slot].append(token)
        if not slots:
            break
        places = torch.tensor([len(rows[slot].prompt) + step for slot in slots])
        logits = golden.model.decode(tokens, places, slots, cache)
    cache.check_integrity()
    return generated


def mixed_rows(golden: Golden) -> list[Row]:
    """Return rows whose texts and prompts all have different lengths, one without prompt."""
    prompts = [golden.prompt[:length] for length in (37, 5, 0, 20)]
    return [golden.row(index, prompt) for index, prompt in enumerate(prompts)]


def forced_tokens(row: int) -> list[int]:
    """Return what the mixed rows are fed in tests of batching."""
    return [(11 * row + 7 * step) % 64 for step in range(NUM_FORCED)]


def alone(golden: Golden) -> list[Tensor]:
    """Return each mixed row's logits (NUM_FORCED + 1, V) when it is the only one."""
    return [
        force(golden.model, golden.new_cache(1, 128), row, forced_tokens(index))
        for index, row in enumerate(mixed_rows(golden))
    ]


def step_rows(
    golden: Golden, cache: KVCache, chosen: list[tuple[int, int, int]], *, is_fixed: bool
) -> Tensor:
    """Feed each (row, slot, step) its next forced token; return their logits in order."""
    prompts = [len(row.prompt) for row in mixed_rows(golden)]
    slots = [slot for _, slot, _ in chosen]
    tokens = torch.tensor([forced_tokens(row)[step] for row, _, step in chosen])
    places = torch.tensor([prompts[row] + step for row, _, step in chosen])
    if not is_fixed:
        return golden.model.decode(tokens, places, slots, cache)
    all_tokens, all_places = torch.zeros(2, cache.num_slots, dtype=torch.int64)
    all_tokens[slots], all_places[slots] = tokens, places
    active = [slot in slots for slot in range(cache.num_slots)]
    every = range(cache.num_slots)
    return golden.model.decode(all_tokens, all_places, every, cache, active)[slots]
