"""What training computes is what serving computes, and what is exported loads like any model."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sovits_serve.checkpoints.load import load_sovits, load_t2s
from sovits_serve.engine.kv_cache import KVCache
from sovits_serve.models.reference.hubert import HubertEncoder
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.models.t2s import PrefillBatch, T2SModel
from tools.builtin_voice import export, loop, train_t2s
from tools.builtin_voice.networks import SOVITS_DIMS, SPEC, T2S_DIMS, Decoder, make_t2s, t2s_logits
from tools.builtin_voice.tokenizer import Encoder


def test_serving_continues_as_training_scores() -> None:
    """The logits behind a prompt are those of the training's row, at the same position."""
    torch.manual_seed(0)
    model = make_t2s().eval()
    phones, tokens = torch.randint(732, (1, 9)), torch.randint(1024, (1, 14))
    wide = torch.nn.functional.pad(phones, (0, 7), value=3)
    row = t2s_logits(model, wide, torch.tensor([9]), tokens, dropout=0.0)[0, -1]

    served = T2SModel.from_weights(
        T2S_DIMS,
        _Dict(export.t2s_tensors(model.state_dict()), half=False, model=model),
        device="cpu",
        dtype=torch.float32,
    )
    cache = KVCache(T2S_DIMS, num_slots=1, max_length=64)
    slot = cache.allocate()
    batch = PrefillBatch.collate(
        [phones[0]], [torch.zeros(9, T2S_DIMS.text_feature_dim)], [tokens[0]], [slot]
    )

    assert torch.allclose(served.prefill(batch, cache)[0], row, atol=1e-4)


class _Dict:
    """Weights in memory, in full precision whatever the export would round."""

    origin = "memory"

    def __init__(self, names: dict[str, Tensor], *, half: bool, model: torch.nn.Module) -> None:
        assert not half
        self._tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
        assert self._tensors.keys() == names.keys()

    def names(self) -> list[str]:
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name].shape)

    def tensor(self, name: str) -> Tensor:
        found: Tensor = self._tensors[name]
        return found


def test_what_is_exported_loads_and_computes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All parts come back from the files through the loaders that serve any checkpoint."""
    torch.manual_seed(1)
    encoder, decoder, t2s = Encoder().eval(), Decoder().eval(), make_t2s()
    encoder.embed.normal_()
    for name, module in (("encoder", encoder), ("decoder", decoder), ("t2s", t2s)):
        torch.save(module.state_dict(), tmp_path / f"{name}.pt")
    arguments = [f"--{name}={tmp_path / name}.pt" for name in ("encoder", "decoder", "t2s")]
    model = tmp_path / "model"
    monkeypatch.setattr("sys.argv", ["export", *arguments, f"--output={model}"])

    export.main()

    assert load_t2s(model / "gpt.safetensors").dims == T2S_DIMS
    checkpoint = load_sovits(model / "sovits.safetensors")
    assert checkpoint.dims == SOVITS_DIMS
    served = SovitsModel.from_weights(
        SPEC, checkpoint.dims, checkpoint.weights, device="cpu", dtype=torch.float32
    )
    hubert = HubertEncoder.from_directory(
        model / "chinese-hubert-base", device="cpu", dtype=torch.float32
    )
    wave = torch.randn(16_000) / 10
    with torch.inference_mode():
        features = hubert.encode([wave])[0]
        tokens, _ = served.extract_prompt_semantic(features[None], torch.tensor([len(features)]))
        expected = encoder.tokens(wave)
        assert (tokens[0] == expected).float().mean() > 0.9  # half precision flips near ties
        style = torch.randn(1, 512)
        piece, full = torch.randn(1, SOVITS_DIMS.inter_channels, 5), torch.tensor([5])
        assert torch.allclose(
            served.generate(piece, full, style), decoder.dec(piece, full, style), atol=2e-3
        )


def numbered_rows(directory: Path) -> train_t2s.Rows:
    """Return six sentences of two groups, and six prompts: each says its own number, again."""
    tokens = [np.full(12 + i, i, dtype=np.int16) for i in range(6)]
    phones = [np.full(3 + i, i, dtype=np.int16) for i in range(6)]
    for name in ("tokens", "prompts"):
        said = [row + 6 * (name == "prompts") for row in tokens]
        read = [row + 6 * (name == "prompts") for row in phones]
        np.savez(
            directory / f"{name}.npz",
            groups=np.array([0, 0, 0, 1, 1, 1]),
            group_names=np.frombuffer(b"ada-en mei-zh", dtype=np.uint8),
            tokens=np.concatenate(said),
            phones=np.concatenate(read),
            tokens_ends=np.cumsum([len(row) for row in said]),
            phones_ends=np.cumsum([len(row) for row in read]),
        )
    return train_t2s.Rows([directory], torch.device("cpu"), {})


def test_a_row_is_sentences_one_after_the_other(tmp_path: Path) -> None:
    """Phonemes and tokens of a row come from the same sentences, in the same order."""
    rows = numbered_rows(tmp_path)
    torch.manual_seed(2)

    phone_ids, phone_lengths, token_ids, token_lengths, prompts = rows.draw(64)

    assert 0 < (prompts > 0).sum() < 64
    for row in range(64):
        said = token_ids[row, : token_lengths[row]].tolist()
        order = list(dict.fromkeys(said))
        assert token_ids[row, token_lengths[row]] == T2S_DIMS.eos
        assert list(dict.fromkeys(phone_ids[row, : phone_lengths[row]].tolist())) == order
        # Only what leads a row comes from the prompts, and its length says so.
        assert (order[0] >= 6) == (prompts[row] > 0)
        assert all(number < 6 for number in order[1:])
        assert prompts[row] == 0 or prompts[row] == 12 + order[0] - 6


def test_rows_of_like_length_go_together_whole(tmp_path: Path) -> None:
    """On a CPU batches are cut to their longest row; each row keeps all it has, and its end."""
    torch.manual_seed(2)
    batches = list(itertools.islice(numbered_rows(tmp_path).draw_alike(4), 32))

    spreads = []
    for phone_ids, phone_lengths, token_ids, token_lengths, _ in batches:
        assert phone_ids.shape[1] == phone_lengths.max()
        assert token_ids.shape[1] == token_lengths.max() + 1
        assert (token_ids.gather(1, token_lengths[:, None]) == T2S_DIMS.eos).all()
        spreads.append(int(token_lengths.max() - token_lengths.min()))
    drawn = numbered_rows(tmp_path).draw(128)[3]
    assert np.mean(spreads) < 0.2 * float(drawn.max() - drawn.min())


def test_groups_of_several_folders_are_joined(tmp_path: Path) -> None:
    """A group's sentences lie together though they come from two folders."""
    numbered_rows(tmp_path)
    rows = train_t2s.Rows([tmp_path, tmp_path], torch.device("cpu"), {})

    assert rows.size.tolist() == [6, 6]
    assert rows.tokens[rows.token_starts[:12]].tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]


def test_shares_decide_how_often_something_is_drawn() -> None:
    """``choose`` follows the shares, also one row each."""
    torch.manual_seed(3)
    drawn = loop.choose(torch.tensor([0.0, 1.0, 3.0]), 4000)
    assert torch.bincount(drawn, minlength=3).tolist()[0] == 0
    assert 0.7 < (drawn == 2).float().mean() < 0.8
    rows = loop.choose(torch.eye(5), 5)
    assert rows.tolist() == [0, 1, 2, 3, 4]
