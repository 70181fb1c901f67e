"""Stage 4: train text to semantic tokens, on a CUDA device (or, to try it, a CPU).

    python -m tools.builtin_voice.train_t2s --data DIR ... --minutes 2 --output FILE [--resume FILE]

A row is a prompt, encoded as serving encodes a reference, and one to three sentences, or sentences
without a prompt. What is said after the prompt is what is trained. Half the rows are
trained under the repetition penalty that requests use by default, so that the model is sure enough
of a code to say it twice. On CUDA all sampling happens on the device inside one graph; the host
only sets the learning rate. On a CPU rows of like length go together, cut to the longest, and
``--dropout 0`` (for data seen a few times only) is twice as fast.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sovits_serve.models.t2s.model import T2SModel
from tools.builtin_voice.loop import TimedTraining, choose, save_half
from tools.builtin_voice.networks import T2S_DIMS, make_t2s, t2s_logits

_COUNTS = (0.15, 0.5, 0.2, 0.15)  # how often a row has 1, 2, 3 and 4 sentences
_PROMPTS = 0.85  # how often the first of them is a prompt; then one more follows at least
_PENALTY = 1.35
_NOISE = 0.04  # of the input tokens are another one
_POOL = 16  # batches that are drawn at once to be sorted by length
# Who may speak the prompt of whose sentences, beside the speaker's own sentences in the language.
_GUESTS = {
    "mei-zh": ("ada-en", "mei-en"),
    "bo-zh": ("max-en", "bo-en"),
    "ada-en": ("mei-zh",),
    "max-en": ("bo-zh",),
    "mei-en": ("mei-zh",),
    "bo-en": ("bo-zh",),
}
_GUEST_SHARE = 0.3
Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # as Rows.draw returns it


class Rows:
    """Draws batches on the device."""

    def __init__(
        self,
        directories: Sequence[Path],
        device: torch.device,
        weights: dict[str, float],
        *,
        max_tokens: int = 416,
        max_phones: int = 224,
        counts: Sequence[float] = _COUNTS,
        prompts: float = _PROMPTS,
    ) -> None:
        self.max_tokens, self.max_phones = max_tokens + 1, max_phones  # one more than is read
        sentences = _Spoken([directory / "tokens.npz" for directory in directories])
        bank = _Spoken([directory / "prompts.npz" for directory in directories])
        names = sentences.names
        assert bank.names == names
        self.device = device
        self.tokens = torch.cat([sentences.tokens, bank.tokens]).to(device)
        self.phones = torch.cat([sentences.phones, bank.phones]).to(device)
        ends = [
            bank.token_ends + sentences.token_ends[-1],
            bank.phone_ends + sentences.phone_ends[-1],
        ]
        token_ends = torch.cat([sentences.token_ends, ends[0]])
        phone_ends = torch.cat([sentences.phone_ends, ends[1]])
        self.token_starts, self.token_lengths = _spans(token_ends, device)
        self.phone_starts, self.phone_lengths = _spans(phone_ends, device)
        sizes = torch.bincount(sentences.groups, minlength=len(names))
        self.first, self.size = (sizes.cumsum(0) - sizes).to(device), sizes.to(device)
        prompt_counts = torch.bincount(bank.groups, minlength=len(names))
        before = len(sentences.groups) + prompt_counts.cumsum(0) - prompt_counts
        self.first_prompt, self.num_prompts = before.to(device), prompt_counts.to(device)
        self.prompt_share = prompts
        leads = torch.zeros(len(names), len(names))
        for row, name in enumerate(names):
            guests = [names.index(g) for g in _GUESTS.get(name, ()) if g in names]
            leads[row, row] = 1 - _GUEST_SHARE * bool(guests)
            for guest in guests:
                leads[row, guest] = _GUEST_SHARE / len(guests)
        self.leads = leads.to(device)
        shares = torch.tensor([weights.get(name, 1.0) for name in names]) * sizes.sqrt()
        self.shares = shares.to(device)
        self.counts = torch.tensor(counts, device=device)

    def draw(self, batch: int) -> Batch:
        """Return phones (B, P) and lengths, tokens with their end (B, T + 1), lengths, prompts'."""
        group = choose(self.shares, batch)
        prompt = choose(self.leads[group], batch)[:, None]
        chance = torch.rand(batch, 4, device=self.device)
        # What follows the first sentence may be in the other language, as in a mixed text.
        other = choose(self.leads[group], batch)
        groups = torch.stack([group, group, other, other], 1)  # (B, 4)
        rows = self.first[groups] + (chance * self.size[groups]).long()
        lead = self.first_prompt[prompt] + (chance[:, :1] * self.num_prompts[prompt]).long()
        count = choose(self.counts, batch) + 1
        has_prompt = torch.rand(batch, device=self.device) < self.prompt_share
        count = torch.where(has_prompt, count.clamp(min=2), count)
        rows[:, 0] = torch.where(has_prompt, lead[:, 0], rows[:, 0])
        wanted = torch.arange(4, device=self.device) < count[:, None]
        tokens, phones = self.token_lengths[rows] * wanted, self.phone_lengths[rows] * wanted
        fits = (tokens.cumsum(1) < self.max_tokens) & (phones.cumsum(1) <= self.max_phones)
        fits = wanted & (fits.long().cumprod(1) > 0)
        phone_ids, phone_lengths = _join(
            self.phones, self.phone_starts[rows], phones * fits, self.max_phones, 0
        )
        token_ids, token_lengths = _join(
            self.tokens, self.token_starts[rows], tokens * fits, self.max_tokens, T2S_DIMS.eos
        )
        prompt_lengths = tokens[:, 0] * has_prompt
        return phone_ids, phone_lengths, token_ids, token_lengths, prompt_lengths

    def draw_alike(self, batch: int) -> Iterator[Batch]:
        """Yield batches without end whose rows are of like length, cut to the longest."""
        while True:
            drawn = self.draw(batch * _POOL)
            order = (drawn[1] + drawn[3]).argsort().view(_POOL, batch)
            for index in order[torch.randperm(_POOL)]:
                phones, phone_lengths, tokens, lengths, prompts = (part[index] for part in drawn)
                num_phones, num_tokens = int(phone_lengths.max()), int(lengths.max()) + 1
                tokens = tokens[:, : max(num_tokens, 2)]
                yield phones[:, :num_phones], phone_lengths, tokens, lengths, prompts


class _Spoken:
    """Files of phonemes and tokens, as one: sorted by group."""

    def __init__(self, paths: Sequence[Path]) -> None:
        found: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for path in paths:
            with np.load(path, allow_pickle=False) as data:
                names = data["group_names"].tobytes().decode().split()
                parts = [
                    np.split(data[key].astype(np.int64), data[f"{key}_ends"][:-1])
                    for key in ("tokens", "phones")
                ]
                for group, tokens, phones in zip(data["groups"], *parts, strict=True):
                    pair = torch.from_numpy(tokens), torch.from_numpy(phones)
                    found.setdefault(names[group], []).append(pair)
        self.names = sorted(found)
        rows = [pair for name in self.names for pair in found[name]]
        sizes = torch.tensor([len(found[name]) for name in self.names])
        self.groups = torch.arange(len(self.names)).repeat_interleave(sizes)
        self.tokens, self.token_ends = _one_after_the_other([tokens for tokens, _ in rows])
        self.phones, self.phone_ends = _one_after_the_other([phones for _, phones in rows])


def _one_after_the_other(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return torch.cat(list(rows)), torch.tensor([len(row) for row in rows]).cumsum(0)


def _spans(ends: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    starts = functional.pad(ends, (1, 0))[:-1]
    return starts.to(device), (ends - starts).to(device)


def _join(
    values: Tensor, starts: Tensor, lengths: Tensor, width: int, fill: int
) -> tuple[Tensor, Tensor]:
    """Lay the spans of each row one after the other: (B, width), filled behind, and lengths."""
    ends = lengths.cumsum(1)
    position = torch.arange(width, device=values.device).expand(len(starts), -1)
    part = torch.searchsorted(ends, position.contiguous(), right=True)
    inside = part < lengths.shape[1]
    part = part.clamp(max=lengths.shape[1] - 1)
    source = starts.gather(1, part) + position - (ends - lengths).gather(1, part)
    taken = values[source.clamp(0, len(values) - 1)]
    return taken.masked_fill(~inside, fill), ends[:, -1]


def make_loss(model: T2SModel, batch: Batch, *, dropout: float) -> Tensor:
    """Return the mean cross-entropy of a drawn batch."""
    phones, phone_lengths, tokens, lengths, prompts = batch
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    wrong = torch.randint_like(inputs, T2S_DIMS.eos)
    corrupted = torch.where(torch.rand(inputs.shape, device=inputs.device) < _NOISE, wrong, inputs)
    # CPUs without matrix units are faster in single precision.
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.is_cuda):
        logits = t2s_logits(model, phones, phone_lengths, corrupted, dropout=dropout)
    logits = logits.float()
    step = torch.arange(inputs.shape[1], device=inputs.device)
    first = torch.full_like(logits[:, 0], inputs.shape[1], dtype=torch.int64)  # when first seen
    first = first.scatter_reduce(1, inputs, step.expand_as(inputs), "amin")
    first[:, T2S_DIMS.eos] = inputs.shape[1]
    seen = first[:, None] <= step[:, None]
    penalised = torch.where(logits < 0, logits * _PENALTY, logits / _PENALTY)
    chosen = torch.rand(len(inputs), 1, 1, device=inputs.device) < 0.5
    logits = torch.where(seen & chosen, penalised, logits)
    # Positions up to and with the end count; a row without an end in the window has none.
    valid = (step < lengths[:, None]) & (step >= prompts[:, None] - 1)
    valid &= (lengths > prompts)[:, None]  # else only the prompt fits, and nothing follows it
    losses = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return (losses * valid.flatten()).sum() / valid.sum()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--max-tokens", type=int, default=416)
    parser.add_argument("--max-phones", type=int, default=224)
    parser.add_argument("--decay", type=float, default=0.998, help="of the averaged weights")
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument(
        "--counts", type=float, nargs=4, default=_COUNTS, help="shares of 1, 2, 3, 4 sentences"
    )
    parser.add_argument("--prompts", type=float, default=_PROMPTS, help="share of rows with one")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--every", type=int, default=200, help="steps between two lines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    model = make_t2s().to(device).train()
    model.positions = model.positions.to(device)
    if args.resume:
        state = torch.load(args.resume, weights_only=True, map_location=device)
        model.load_state_dict({k: v.float() for k, v in state.items()})
    rows = Rows(
        args.data,
        device,
        {"mei-en": 0.5, "bo-en": 0.5, "mei-zh": 0.7, "bo-zh": 0.7},
        max_tokens=args.max_tokens,
        max_phones=args.max_phones,
        counts=args.counts,
        prompts=args.prompts,
    )
    training = TimedTraining(
        [(model, args.rate)],
        minutes=args.minutes,
        warm_up=200 if args.resume is None else 20,
        decay=args.decay,
    )
    loss_sum = torch.zeros((), device=device)
    alike = rows.draw_alike(args.batch)

    def step() -> None:
        batch = rows.draw(args.batch) if device.type == "cuda" else next(alike)
        loss = make_loss(model, batch, dropout=args.dropout)
        training.update(0, loss)
        loss_sum.add_(loss.detach())

    started = time.monotonic()
    for number in training.run(step):
        if number % args.every == 0:
            spent = time.monotonic() - started
            print(f"t2s {number} {spent:.0f}s loss {float(loss_sum) / args.every:.3f}", flush=True)
            loss_sum.zero_()
        if number % (10 * args.every) == 0:
            save_half(training.averages[0], args.output)
    save_half(training.averages[0], args.output)


if __name__ == "__main__":
    main()
