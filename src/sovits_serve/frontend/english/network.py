"""Guesses how a word is said that no dictionary has: a small recurrent network in numpy.

The weights (29 letters in, 74 phonemes out, 256 units) come from the package ``g2p_en``, which is
not imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from sovits_serve.frontend.english.files import package_file

Array = npt.NDArray[np.float32]
_LETTERS = ("<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz")
_UNKNOWN_LETTER, _END_OF_WORD = 1, 2
# Sorted, each vowel with the stresses 0 to 2, and a plain UW that only training data had.
_PHONEMES = (
    "<pad> <unk> <s> </s> AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 "
    "B CH D DH EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG "
    "OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
).split()
_START, _END = 2, 3
_MAX_PHONEMES = 20
_SILENT = frozenset({"<pad>", "<s>", "</s>", "UW"})


@dataclass(frozen=True, slots=True)
class _Cell:
    """A gated recurrent unit."""

    embedding: Array  # (symbols, D)
    w_ih: Array  # (D, 3 * H)
    w_hh: Array  # (H, 3 * H)
    b_ih: Array  # (3 * H,)
    b_hh: Array  # (3 * H,)

    @classmethod
    def of(cls, weights: Mapping[str, Array], part: str) -> Self:
        def get(name: str) -> Array:
            return weights[f"{part}_{name}"]

        return cls(
            get("emb"),
            np.ascontiguousarray(get("w_ih").T),
            np.ascontiguousarray(get("w_hh").T),
            get("b_ih"),
            get("b_hh"),
        )

    def step(self, symbol: int, state: Array) -> Array:
        """Return the state after one more symbol."""
        size = len(state)
        given = self.embedding[symbol] @ self.w_ih + self.b_ih
        kept = state @ self.w_hh + self.b_hh
        gates = 1 / (1 + np.exp(-(given[: 2 * size] + kept[: 2 * size])))
        reset, update = gates[:size], gates[size:]
        new = np.tanh(given[2 * size :] + reset * kept[2 * size :])
        result: Array = (1 - update) * new + update * state
        return result


class PronunciationNetwork:
    """Reads a word letter by letter, then says its phonemes, the likeliest each time.

    Source: g2p_en 2.1.0, g2p.py, G2p.predict. Differs: no batch dimension.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._encoder = _Cell.of(weights, "enc")
        self._decoder = _Cell.of(weights, "dec")
        self._output = np.ascontiguousarray(weights["fc_w"].T)  # (H, phonemes)
        self._output_bias = weights["fc_b"]

    @classmethod
    def load(cls) -> Self:
        """Read the weights."""
        with np.load(package_file("g2p_en", "checkpoint20.npz"), allow_pickle=False) as weights:
            return cls({name: weights[name] for name in weights.files})

    def predict(self, word: str) -> tuple[str, ...]:
        """Return the phonemes of a word in lower case; what it cannot tell is "UNK"."""
        letters = [_LETTERS.index(x) if x in _LETTERS[3:] else _UNKNOWN_LETTER for x in word]
        state = np.zeros(len(self._output), np.float32)
        for letter in (*letters, _END_OF_WORD):
            state = self._encoder.step(letter, state)
        said: list[str] = []
        symbol = _START
        for _ in range(_MAX_PHONEMES):
            state = self._decoder.step(symbol, state)
            symbol = int((state @ self._output + self._output_bias).argmax())
            if symbol == _END:
                break
            said.append(_PHONEMES[symbol])
        return tuple("UNK" if one == "<unk>" else one for one in said if one not in _SILENT)
