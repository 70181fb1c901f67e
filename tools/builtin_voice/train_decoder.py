"""Stage 5: train the decoder (text encoder, flow, generator, style encoder) on a CUDA device.

    python -m tools.builtin_voice.train_decoder --data DIR --minutes 6 --output DIR [--resume DIR]

The decoder is trained as it serves: true tokens, phonemes and the style of another recording of
the speaker in, a waveform out. No posterior encoder, for the teachers are deterministic: what the
tokens leave open is little. First spectra alone judge, then discriminators as well.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from torch.nn import functional

from sovits_serve.models.reference.spectrogram import linear_spectrogram
from tools.builtin_voice import features
from tools.builtin_voice.loop import TimedTraining, choose, save_half
from tools.builtin_voice.networks import (
    MAX_DECODER_PHONES,
    MAX_DECODER_TOKENS,
    RATE_HZ,
    SAMPLES_PER_TOKEN,
    SOVITS_DIMS,
    SPEC,
    Decoder,
    Discriminator,
    make_padding_differentiable,
)

_FRAMES = 2 * MAX_DECODER_TOKENS
_HOP = 640
_SEGMENT = 32  # frames that become samples
_SIDE = 4  # more frames before and behind, whose samples are not judged
_SCALES = ((2048, 512, 128), (1024, 256, 80), (512, 128, 40))  # fft, hop, bands at 32 kHz
_MEL_WEIGHT, _MATCH_WEIGHT, _AUX_WEIGHT, _SPEAKER_WEIGHT = 15.0, 2.0, 2.0, 0.3
_BANDS = 80
_WRONG_TOKENS = 0.04
_NEIGHBOURS = 8


class Recordings:
    """All utterances and their targets on the device, padded to one width."""

    def __init__(self, directory: Path, device: torch.device) -> None:
        with np.load(directory / "decoder.npz", allow_pickle=False) as data:
            names = data["group_names"].tobytes().decode().split()
            groups = data["groups"].astype(np.int64)
            codebook = torch.from_numpy(data["codebook"]).float()
            tokens = np.split(data["tokens"].astype(np.int64), data["tokens_ends"][:-1])
            phones = np.split(data["phones"].astype(np.int64), data["phones_ends"][:-1])
        waves: list[np.ndarray] = []
        for number, name in enumerate(names):
            audio, _ = soundfile.read(directory / f"{name}.flac", dtype="float32")
            lengths = [len(t) for t, g in zip(tokens, groups, strict=True) if g == number]
            ends = np.cumsum(lengths) * SAMPLES_PER_TOKEN
            waves += np.split(audio[: ends[-1]], ends[:-1])
        speakers = sorted({name.split("-")[0] for name in names})
        self.num_speakers = len(speakers)
        who = torch.tensor([speakers.index(names[g].split("-")[0]) for g in groups])
        self.codebook = codebook.to(device)
        self.tokens = _stack(tokens, MAX_DECODER_TOKENS).to(device)
        self.lengths = torch.tensor([2 * len(t) for t in tokens], device=device)
        self.phones = _stack(phones, MAX_DECODER_PHONES).to(device)
        self.phone_lengths = torch.tensor([len(p) for p in phones], device=device)
        counts = torch.bincount(who)
        order = torch.argsort(who, stable=True)
        self.order = order.to(device)
        self.first = (counts.cumsum(0) - counts)[who].to(device)
        self.count = counts[who].to(device)
        self.speaker = who.to(device)
        self._fill(waves, device)
        share = torch.from_numpy(1 / np.sqrt(np.bincount(groups)[groups])).float()
        self.share = share.to(device)
        distance = torch.cdist(self.codebook, self.codebook)
        self.near = distance.topk(_NEIGHBOURS + 1, largest=False).indices[:, 1:]

    def _fill(self, waves: list[np.ndarray], device: torch.device) -> None:
        width = _FRAMES * _HOP
        count = len(waves)
        self.audio = torch.zeros(count, width, dtype=torch.float16, device=device)
        bins = SPEC.style_bins
        self.spectrum = torch.zeros(count, bins, _FRAMES, dtype=torch.float16, device=device)
        self.mel = torch.zeros(count, _BANDS + 2, _FRAMES, dtype=torch.float16, device=device)
        for start in range(0, count, 64):
            chunk = waves[start : start + 64]
            stop = start + len(chunk)
            narrow = torch.zeros(len(chunk), width // 2)
            for row, wave in enumerate(chunk):
                narrow[row, : len(wave)] = torch.from_numpy(wave)
            narrow = narrow.to(device)
            wide = _double_rate(narrow)
            self.audio[start:stop] = wide.half()
            self.spectrum[start:stop] = linear_spectrogram(wide)[:, :bins, :_FRAMES].half()
            hop = RATE_HZ // 50
            mel = features.log_mel(narrow, rate_hz=RATE_HZ, fft=1024, hop=hop, bands=_BANDS)
            hertz, voiced = features.pitch(narrow, rate_hz=RATE_HZ, hop=hop)
            tone = (hertz.log() - 5.0) / 0.3 * voiced
            self.mel[start:stop] = torch.cat([mel, tone[:, None], voiced[:, None].float()], 1)

    def draw(self, batch: int) -> Tensor:
        """Return row numbers (B)."""
        return choose(self.share, batch)

    def companion(self, rows: Tensor) -> Tensor:
        """Return, for each row, another recording of its speaker."""
        chance = torch.rand(len(rows), device=rows.device)
        return self.order[self.first[rows] + (chance * self.count[rows]).long()]

    def codes(self, rows: Tensor) -> Tensor:
        """Return codebook vectors at frame rate, (B, D, T), a few of them a near other one."""
        tokens = self.tokens[rows]
        other = torch.randint(_NEIGHBOURS, tokens.shape, device=rows.device)
        wrong = self.near[tokens].gather(2, other[..., None])[..., 0]
        is_wrong = torch.rand(tokens.shape, device=rows.device) < _WRONG_TOKENS
        vectors = self.codebook[torch.where(is_wrong, wrong, tokens)]
        return vectors.repeat_interleave(2, 1).transpose(1, 2)


def _stack(rows: list[np.ndarray], width: int) -> Tensor:
    out = torch.zeros(len(rows), width, dtype=torch.int64)
    for index, row in enumerate(rows):
        out[index, : len(row)] = torch.from_numpy(row)
    return out


def _double_rate(waveform: Tensor) -> Tensor:
    """Return (B, 2 T) at twice the rate: every second sample is the old one."""
    taps = torch.arange(-31, 32, device=waveform.device) / 2
    kernel = torch.sinc(taps) * torch.hann_window(63, periodic=False, device=waveform.device)
    spread = torch.zeros(len(waveform), 1, 2 * waveform.shape[1], device=waveform.device)
    spread[:, 0, ::2] = waveform
    return functional.conv1d(spread, kernel[None, None], padding=31)[:, 0]


class Trainer:
    """One step of either phase."""

    def __init__(self, data: Recordings, batch: int, device: torch.device) -> None:
        self.data, self.batch, self.device = data, batch, device
        self.decoder = Decoder().to(device).train()
        self.judge = Discriminator().to(device).train()
        inter = SOVITS_DIMS.inter_channels
        # Thrown away: what the latent and the style must tell.
        self.decoder.add_module("aux", nn.Conv1d(inter, _BANDS + 2, 1).to(device))
        self.decoder.add_module("who", nn.Linear(512, data.num_speakers).to(device))
        self.sums = torch.zeros(6, device=device)
        self.training: TimedTraining | None = None

    def run(
        self, *, adversarial: bool, minutes: float, rate: float, started: float, output: Path
    ) -> None:
        """Train for a while; save now and then, and at the end."""
        modules: list[tuple[nn.Module, float]] = [(self.decoder, rate)]
        if adversarial:
            modules.append((self.judge, rate))
        self.training = TimedTraining(
            modules, minutes=minutes, betas=(0.8, 0.99) if adversarial else (0.9, 0.98)
        )
        step = self._adversarial_step if adversarial else self._plain_step
        for number in self.training.run(step):
            if number % 200 == 0:
                means = [round(float(v) / 200, 3) for v in self.sums]
                spent = time.monotonic() - started
                kind = "gan" if adversarial else "mel"
                print(
                    f"{kind} {number} {spent:.0f}s mel,aux,who,adv,match,judge {means}", flush=True
                )
                self.sums.zero_()
            if number % 2000 == 0:
                _save(self, output)
        _save(self, output)

    def _generate(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return made and true segments (B, T), and the losses of the helpers."""
        data, rows = self.data, self.data.draw(self.batch)
        other = data.companion(rows)
        lengths = data.lengths[rows]
        with torch.autocast(self.device.type, torch.bfloat16):
            style = self.decoder.ref_enc(data.spectrum[other].float(), data.lengths[other])
            z = self.decoder.latent(
                data.codes(rows), lengths, data.phones[rows], data.phone_lengths[rows], style
            )
            guess = self.decoder.get_submodule("aux")(z).float()
            names = self.decoder.get_submodule("who")(style).float()
        truth = data.mel[rows].float()
        inside = (torch.arange(_FRAMES, device=self.device) < lengths[:, None])[:, None]
        voiced = truth[:, -1:] * inside
        mel = ((guess[:, :_BANDS] - truth[:, :_BANDS]).abs() * inside).sum() / inside.sum() / _BANDS
        tone = ((guess[:, -2:-1] - truth[:, -2:-1]).abs() * voiced).sum() / voiced.sum()
        binary = functional.binary_cross_entropy_with_logits(guess[:, -1:], truth[:, -1:], inside)
        speaker = functional.cross_entropy(names, data.speaker[rows])
        helpers = _AUX_WEIGHT * (mel + tone + binary) + _SPEAKER_WEIGHT * speaker
        self.sums[1] += mel.detach() + tone.detach()
        self.sums[2] += speaker.detach()
        # Segments with their surroundings; in front of the start and behind the end are zeros.
        room = (lengths - _SEGMENT).clamp(min=0) + 1
        start = (torch.rand(self.batch, device=self.device) * room).long()
        width = _SEGMENT + 2 * _SIDE
        padded = functional.pad(z, (_SIDE, _SIDE + width))
        frames = start[:, None] + torch.arange(width, device=self.device)
        piece = padded.gather(2, frames[:, None].expand(-1, z.shape[1], -1))
        full = torch.full((self.batch,), width)  # on the host: nothing is masked
        with torch.autocast(self.device.type, torch.bfloat16):
            made = self.decoder.dec(piece, full, style)
        made = made[:, _SIDE * _HOP : -_SIDE * _HOP]
        samples = start[:, None] * _HOP + torch.arange(_SEGMENT * _HOP, device=self.device)
        samples = samples.clamp(max=_FRAMES * _HOP - 1)
        return made, data.audio[rows[:, None], samples].float(), helpers

    def _spectral(self, made: Tensor, true: Tensor) -> Tensor:
        total = made.new_zeros(())
        for fft, hop, bands in _SCALES:
            a = features.log_mel(made, rate_hz=2 * RATE_HZ, fft=fft, hop=hop, bands=bands)
            b = features.log_mel(true, rate_hz=2 * RATE_HZ, fft=fft, hop=hop, bands=bands)
            total = total + (a - b).abs().mean() / len(_SCALES)
        self.sums[0] += total.detach()
        return total

    def _plain_step(self) -> None:
        assert self.training is not None
        made, true, helpers = self._generate()
        self.training.update(0, _MEL_WEIGHT * self._spectral(made, true) + helpers)

    def _adversarial_step(self) -> None:
        assert self.training is not None
        made, true, helpers = self._generate()
        with torch.autocast(self.device.type, torch.bfloat16):
            scores, _ = self.judge(torch.cat([true, made.detach()]))
        loss = made.new_zeros(())
        for score in scores:
            real, fake = score.float().chunk(2)
            loss = loss + (1 - real).square().mean() + fake.square().mean()
        self.sums[5] += loss.detach()
        self.training.update(1, loss)
        with torch.autocast(self.device.type, torch.bfloat16):
            scores, maps = self.judge(torch.cat([true, made]))
        adversarial = made.new_zeros(())
        match = made.new_zeros(())
        for score in scores:
            adversarial = adversarial + (1 - score.float().chunk(2)[1]).square().mean()
        for inner in maps:
            real, fake = inner.float().chunk(2)
            match = match + (real.detach() - fake).abs().mean()
        self.sums[3] += adversarial.detach()
        self.sums[4] += match.detach()
        loss = _MEL_WEIGHT * self._spectral(made, true) + helpers
        self.training.update(0, loss + adversarial + _MATCH_WEIGHT * match)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--plain-share", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    make_padding_differentiable()
    started = time.monotonic()
    device = torch.device(args.device)
    trainer = Trainer(Recordings(args.data, device), args.batch, device)
    print(f"data ready {time.monotonic() - started:.0f}s", flush=True)
    if args.resume:
        for module, name in ((trainer.decoder, "decoder.pt"), (trainer.judge, "judge.pt")):
            path = args.resume / name
            if path.exists():
                state = torch.load(path, weights_only=True, map_location=device)
                module.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    args.output.mkdir(parents=True, exist_ok=True)
    plain = args.minutes * args.plain_share
    if plain > 0:
        trainer.run(
            adversarial=False,
            minutes=plain,
            rate=2 * args.rate,
            started=started,
            output=args.output,
        )
    trainer.run(
        adversarial=True,
        minutes=args.minutes - plain,
        rate=args.rate,
        started=started,
        output=args.output,
    )
    print(f"done {time.monotonic() - started:.0f}s", flush=True)


def _save(trainer: Trainer, directory: Path) -> None:
    assert trainer.training is not None
    save_half(trainer.training.averages[0], directory / "decoder.pt")
    save_half(trainer.judge, directory / "judge.pt")


if __name__ == "__main__":
    main()
