"""Stage 2: train the speech encoder (a small HuBERT) and the codebook of semantic tokens.

    python -m tools.builtin_voice.tokenizer --corpus FILE.npz ... --minutes 25 --output FILE

The encoder reads 16 kHz audio, a strided convolution halves its 50 Hz, the nearest of 1024 codes
is the token. What makes tokens carry speech and little else: from the codes and a speaker label
alone, a small network must tell log mel spectrogram, pitch relative to the speaker's own, voicing,
and (CTC) the phonemes. The helpers of training are thrown away.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import HubertConfig, HubertModel

from tools.builtin_voice import corpus, features

RATE_HZ, HOP = 16_000, 320
SSL_DIM, NUM_CODES = 256, 1024
NUM_SYMBOLS = 732
_MEL_BANDS = 80
_DECAY = 0.98
_FREE_STEPS = 250  # without quantisation
_REVIVE_EVERY = 50
_RATE = 1e-3
_BATCH_FRAMES = 2400
_PRINT_EVERY = 50
_WEIGHTS = {"mel": 1.0, "pitch": 0.5, "voiced": 0.3, "ctc": 0.2, "commitment": 0.25}

HUBERT_CONFIG: dict[str, object] = {
    "model_type": "hubert",
    "architectures": ["HubertModel"],
    "hidden_size": SSL_DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "conv_dim": [32, 64, 128, 128, 256],
    "conv_kernel": [10, 4, 4, 2, 2],
    "conv_stride": [5, 4, 4, 2, 2],
    "conv_bias": False,
    "num_feat_extract_layers": 5,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 16,
    "do_stable_layer_norm": False,
    "feat_proj_layer_norm": True,
}


class Encoder(nn.Module):
    """Waveforms to features (50 Hz) and to tokens (25 Hz), under the checkpoint's names."""

    embed: Tensor

    def __init__(self) -> None:
        super().__init__()
        settings = HubertConfig(**HUBERT_CONFIG, mask_time_prob=0.0, layerdrop=0.0)
        for name in (
            "hidden_dropout",
            "attention_dropout",
            "activation_dropout",
            "feat_proj_dropout",
        ):
            setattr(settings, name, 0.0)
        settings._attn_implementation = "sdpa"
        self.hubert = HubertModel(settings)
        self.ssl_proj = nn.Conv1d(SSL_DIM, SSL_DIM, 2, stride=2)
        self.register_buffer("embed", torch.zeros(NUM_CODES, SSL_DIM))

    def project(self, waveform: Tensor) -> Tensor:
        """Return what is quantised, (B, T_tok, D), of a waveform (B, T)."""
        hidden = self.hubert(waveform).last_hidden_state
        projected: Tensor = self.ssl_proj(hidden.transpose(1, 2)).transpose(1, 2)
        return projected

    def nearest(self, x: Tensor) -> Tensor:
        """Return the index of the code nearest to each row of ``x`` (..., D)."""
        distance = self.embed.square().sum(1) - 2 * x @ self.embed.t()
        return distance.argmin(-1)

    @torch.inference_mode()
    def tokens(self, waveform: Tensor) -> Tensor:
        """Return the tokens (T_tok) of one waveform (T)."""
        return self.nearest(self.project(waveform[None]))[0]


class Judge(nn.Module):
    """What must be readable from the codes: trained along, then thrown away."""

    def __init__(self, num_speakers: int) -> None:
        super().__init__()
        width = 192
        self.speaker = nn.Embedding(num_speakers, width)
        self.first = nn.Conv1d(SSL_DIM, width, 3, padding=1)
        self.middle = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(2))
        self.out = nn.Conv1d(width, _MEL_BANDS + 2, 1)
        self.phonemes = nn.Conv1d(SSL_DIM, NUM_SYMBOLS + 1, 3, padding=1)

    def forward(self, codes: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Return mel, pitch and voicing (B, 82, 2 T) and CTC logits (B, 2 T, 733)."""
        x = codes.transpose(1, 2).repeat_interleave(2, 2)
        logits = self.phonemes(x).transpose(1, 2)
        x = functional.gelu(self.first(x) + self.speaker(speaker)[:, :, None])
        for layer in self.middle:
            x = x + functional.gelu(layer(x))
        return self.out(x), logits


class Codebook:
    """Moving averages of what each code stands for, and the revival of unused ones."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._counts = torch.zeros(NUM_CODES)
        self._sums = torch.zeros(NUM_CODES, SSL_DIM)

    def start(self, x: Tensor) -> None:
        """Choose codes among the rows of ``x``, with a few rounds of k-means."""
        chosen = x[torch.randperm(len(x))[:NUM_CODES]]
        chosen = chosen.repeat(-(-NUM_CODES // len(chosen)), 1)[:NUM_CODES].clone()
        for _ in range(8):
            self._encoder.embed.copy_(chosen)
            index = self._encoder.nearest(x)
            counts = torch.bincount(index, minlength=NUM_CODES).float()
            sums = torch.zeros_like(chosen).index_add_(0, index, x)
            used = counts > 0
            chosen[used] = sums[used] / counts[used, None]
            chosen[~used] = x[torch.randint(len(x), (int((~used).sum()),))]
        self._encoder.embed.copy_(chosen)
        self._counts.fill_(1.0)
        self._sums.copy_(chosen)

    def update(self, x: Tensor, index: Tensor) -> None:
        """Move the codes towards the rows of ``x`` that chose them."""
        counts = torch.bincount(index, minlength=NUM_CODES).float()
        sums = torch.zeros(NUM_CODES, SSL_DIM).index_add_(0, index, x)
        self._counts.mul_(_DECAY).add_(counts, alpha=1 - _DECAY)
        self._sums.mul_(_DECAY).add_(sums, alpha=1 - _DECAY)
        self._encoder.embed.copy_(self._sums / self._counts.clamp(min=1e-5)[:, None])

    def revive(self, x: Tensor) -> int:
        """Give codes that nobody uses a place where there are rows."""
        dead = self._counts < 0.02
        rows = x[torch.randint(len(x), (int(dead.sum()),))]
        self._sums[dead] = rows
        self._counts[dead] = 1.0
        self._encoder.embed[dead] = rows
        return int(dead.sum())


@dataclass
class Data:
    """Utterances with all targets, and each speaker's own pitch."""

    audio: list[Tensor]
    mel: list[Tensor]
    pitch: list[Tensor]
    voiced: list[Tensor]
    phones: list[Tensor]
    speaker: list[int]


def load_data(paths: Sequence[Path], speakers: Sequence[str]) -> Data:
    """Read corpora named ``<speaker>-<language>...npz`` and compute the targets."""
    data = Data([], [], [], [], [], [])
    for path in paths:
        speaker = speakers.index(path.name.split("-")[0])
        for utterance in corpus.load(path):
            data.audio.append(torch.from_numpy(utterance.samples.astype(np.float32) / 32_768))
            data.phones.append(torch.tensor(utterance.phone_ids))
            data.speaker.append(speaker)
    for audio in data.audio:
        mel = features.log_mel(audio[None], rate_hz=RATE_HZ, fft=1024, hop=HOP, bands=_MEL_BANDS)
        hertz, voiced = features.pitch(audio[None], rate_hz=RATE_HZ, hop=HOP)
        data.mel.append(mel[0])
        data.pitch.append(hertz[0].log())
        data.voiced.append(voiced[0])
    for speaker in set(data.speaker):
        rows = [i for i, who in enumerate(data.speaker) if who == speaker]
        values = torch.cat([data.pitch[i][data.voiced[i]] for i in rows])
        middle = values.median()
        for i in rows:
            data.pitch[i] = ((data.pitch[i] - middle) / 0.2).clamp(-3, 3)
    return data


def draw_batch(data: Data, rng: np.random.Generator, num_frames: int) -> tuple[Tensor, ...]:
    """Return whole utterances of about ``num_frames`` frames together, of similar length."""
    pivot = int(rng.integers(len(data.audio)))
    length = len(data.audio[pivot])
    near = [i for i, a in enumerate(data.audio) if 0.85 * length <= len(a) <= length]
    count = max(1, min(len(near), num_frames * HOP // length))
    rows = rng.choice(near, count, replace=False)
    frames = length // HOP

    def padded(items: list[Tensor], fill: float) -> Tensor:
        return torch.stack(
            [functional.pad(x, (0, frames - x.shape[-1]), value=fill) for x in items]
        )

    audio = torch.stack(
        [functional.pad(data.audio[i], (0, length - len(data.audio[i]))) for i in rows]
    )
    gains = torch.from_numpy(rng.uniform(0.6, 1.4, (count, 1)).astype(np.float32))
    return (
        audio * gains + 1e-4 * torch.randn_like(audio),
        padded([data.mel[i] for i in rows], float(np.log(1e-4))),
        padded([data.pitch[i] for i in rows], 0.0),
        padded([data.voiced[i].float() for i in rows], 0.0),
        torch.tensor([data.speaker[i] for i in rows]),
        torch.cat([data.phones[i] for i in rows]),
        torch.tensor([len(data.phones[i]) for i in rows]),
    )


class Trainer:
    """The networks, the codebook and what the last steps quantised."""

    def __init__(self, num_speakers: int) -> None:
        self.encoder, self.judge = Encoder(), Judge(num_speakers)
        self.codebook = Codebook(self.encoder)
        self.parameters = [*self.encoder.parameters(), *self.judge.parameters()]
        self._recent: list[Tensor] = []

    def losses(self, batch: tuple[Tensor, ...], step: int, *, revives: bool) -> dict[str, Tensor]:
        """Return the parts of the loss; codes move and are revived on the way."""
        audio, mel, pitch, voiced, speaker, phones, phone_lengths = batch
        x = self.encoder.project(audio)
        codes, commitment = self._quantize(x, step, revives=revives)
        out, logits = self.judge(codes, speaker)
        frames = min(out.shape[2], mel.shape[2])
        out, mel = out[..., :frames], mel[..., :frames]
        pitch, voiced = pitch[:, :frames], voiced[:, :frames]
        lengths = torch.full((len(audio),), logits.shape[1])
        return {
            "mel": (out[:, :_MEL_BANDS] - mel).abs().mean(),
            "pitch": ((out[:, -2] - pitch).abs() * voiced).sum() / voiced.sum().clamp(min=1),
            "voiced": functional.binary_cross_entropy_with_logits(out[:, -1], voiced),
            "ctc": functional.ctc_loss(
                logits.log_softmax(-1).transpose(0, 1),
                phones,
                lengths,
                phone_lengths,
                blank=NUM_SYMBOLS,
                zero_infinity=True,
            ),
            "commitment": commitment,
        }

    def _quantize(self, x: Tensor, step: int, *, revives: bool) -> tuple[Tensor, Tensor]:
        """Return codes for ``x`` (B, T, D), with the gradient passed through, and their distance."""
        flat = x.detach().reshape(-1, SSL_DIM)
        if step < _FREE_STEPS:
            self._recent = [*self._recent[-30:], flat]
            return x, torch.zeros(())
        if step == _FREE_STEPS:
            self.codebook.start(torch.cat(self._recent))
        index = self.encoder.nearest(flat)
        quantized = self.encoder.embed[index].view_as(x)
        commitment = (x - quantized).square().mean()
        self.codebook.update(flat, index)
        self._recent = [*self._recent[-8:], flat]
        if step % _REVIVE_EVERY == 0 and revives:
            self.codebook.revive(torch.cat(self._recent))
        return x + (quantized - x).detach(), commitment


def train(data: Data, *, num_speakers: int, minutes: float, seed: int, output: Path) -> None:
    """Train until the time is up; save every few hundred steps."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    trainer = Trainer(num_speakers)
    deadline, started = minutes * 60, time.monotonic()
    optimizer = torch.optim.AdamW(trainer.parameters, _RATE, betas=(0.9, 0.98), weight_decay=0.01)
    sums = dict.fromkeys(_WEIGHTS, 0.0)
    step = 0
    while (spent := time.monotonic() - started) < deadline:
        share = spent / deadline
        rate = _RATE * min(1.0, (step + 1) / 100) * (1 - share if share > 0.3 else 1.0)
        optimizer.param_groups[0]["lr"] = max(rate, 1e-5)
        parts = trainer.losses(draw_batch(data, rng, _BATCH_FRAMES), step, revives=share < 0.6)
        loss = sum((_WEIGHTS[name] * part for name, part in parts.items()), torch.zeros(()))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trainer.parameters, 1.0)
        optimizer.step()
        step += 1
        for name, part in parts.items():
            sums[name] += part.item() / _PRINT_EVERY
        if step % _PRINT_EVERY == 0:
            shown = ", ".join(f"{name} {value:.3f}" for name, value in sums.items())
            print(f"{step} {spent:.0f}s {shown}", flush=True)
            sums = dict.fromkeys(_WEIGHTS, 0.0)
        if step % 200 == 0:
            torch.save(trainer.encoder.state_dict(), output)
    torch.save(trainer.encoder.state_dict(), output)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    speakers = sorted({path.name.split("-")[0] for path in args.corpus})
    data = load_data(args.corpus, speakers)
    print(len(data.audio), "utterances", flush=True)
    train(
        data, num_speakers=len(speakers), minutes=args.minutes, seed=args.seed, output=args.output
    )


if __name__ == "__main__":
    main()
