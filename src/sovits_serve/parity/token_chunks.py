"""How upstream cuts a token stream into chunks, duplicates included.

Only here to compare with recorded streams: our engine never sends a token twice. The arithmetic
is on generated tokens; the prompt is not part of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MUTE_TOKEN = 486
"""The token upstream takes for silence."""

_LOOKAHEAD = 2
_MAX_STEPS = 1500


@dataclass(frozen=True)
class Chunk:
    """One chunk as upstream's generator yields it; the last can be empty (None upstream)."""

    tokens: list[int]
    is_final: bool


@dataclass(frozen=True)
class ChunkRule:
    """Fixed length without ``similarity``, else cut where tokens sound most like silence.

    ``similarity`` is float32 (V,): the cosine of each token's embedding with the mute token's.
    """

    chunk_length: int
    similarity: Tensor | None = None
    threshold: float = 0.0

    def advance(self, pending: Sequence[int]) -> int:
        """Return how many pending tokens count as sent when all of them are sent; 0: wait.

        Source: GPT-SoVITS 48b1a01, AR/models/t2s_model.py, infer_panel_naive (streaming part).
        """
        if self.similarity is None:
            return len(pending) if len(pending) >= self.chunk_length else 0
        if len(pending) < self.chunk_length + _LOOKAHEAD:
            return 0
        score = self.similarity[torch.tensor(list(pending))] - self.threshold
        score = torch.where(score < 0, -1.0, score)
        score[:-1] = score[:-1] + score[1:].clone()
        best = int(score.argmax())
        return best + 1 if score[best] >= 0 and best + 1 >= self.chunk_length else 0


def split(tokens: Sequence[int], rule: ChunkRule, *, ended_by_eos: bool) -> Iterator[Chunk]:
    """Yield the chunks of a finished sequence.

    An end-of-sequence step comes after the last token was offered for sending; at the early stop
    the last token itself ends the loop.
    """
    sent = 0
    for end in range(1, len(tokens) + ended_by_eos):
        if advance := rule.advance(tokens[sent:end]):
            yield Chunk(list(tokens[sent:end]), False)
            sent += advance
    yield Chunk(list(tokens[sent:]), True)


def join(chunks: Sequence[Sequence[int]], rule: ChunkRule) -> list[int]:
    """Undo ``split``: return each token once.

    Raises:
        ValueError: a chunk could not have been sent under the rule.
    """
    tokens: list[int] = []
    for index, chunk in enumerate(chunks):
        if index == len(chunks) - 1:
            return tokens + list(chunk)
        advance = rule.advance(chunk)
        if advance == 0:
            raise ValueError(f"chunk {index} of {len(chunk)} tokens breaks the rule")
        tokens += chunk[:advance]
    return tokens


def was_ended_by_eos(num_tokens: int, early_stop: int) -> bool:
    """Return whether a serial run of this length ended by its end-of-sequence token."""
    return num_tokens != early_stop + 1 and num_tokens < _MAX_STEPS
