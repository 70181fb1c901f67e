"""The speaker encoder of v2Pro and v2ProPlus: ERes2NetV2 over Kaldi filterbanks.

Input is 16 kHz mono; output is one vector of 20480 numbers per reference. Parameter names are
those of the published checkpoint, so that it loads as it is.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sovits_serve.models.weights import WeightSource, build_module

SPEAKER_RATE_HZ = 16_000

_FRAME_LENGTH = 400  # 25 ms
_FRAME_SHIFT = 160  # 10 ms
_FFT_SIZE = 512
_NUM_BANDS = 80
_LOWEST_HZ = 20.0
_PREEMPHASIS = 0.97
_POVEY_EXPONENT = 0.85
_ENERGY_FLOOR = torch.finfo(torch.float32).eps

_STEM_CHANNELS = 64
_BASE_WIDTH = 24
_SCALE = 4
_EXPANSION = 4
_NUM_BLOCKS = (3, 4, 6, 3)
_FUSION_RATIO = 4
# The blocks' activation is clipped; the stem's is not.
_ACTIVATION_CEILING = 20.0


def kaldi_fbank(waveform: Tensor) -> Tensor:
    """Return Kaldi's log mel filterbank energies.

    Args:
        waveform: float (T,) at 16 kHz in [-1, 1], T >= 400.

    Returns:
        float32 (frames, 80); only frames that lie wholly inside the signal.

    Source: GPT-SoVITS 48b1a01, eres2net/kaldi.py, fbank with dither 0, 80 bins and defaults.
    Differs: always float32, which upstream leaves when it runs in half precision.
    """
    frames = waveform.float().unfold(0, _FRAME_LENGTH, _FRAME_SHIFT)  # (frames, 400)
    frames = frames - frames.mean(1, keepdim=True)
    previous = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = frames - _PREEMPHASIS * previous
    window = torch.hann_window(_FRAME_LENGTH, periodic=False, device=waveform.device)
    frames = frames * window.pow(_POVEY_EXPONENT)
    power = torch.fft.rfft(frames, n=_FFT_SIZE).abs().square()  # (frames, 257)
    filters = _kaldi_filters().to(waveform.device)
    energies: Tensor = power[:, :-1] @ filters  # Kaldi leaves the Nyquist bin out
    return energies.clamp(min=_ENERGY_FLOOR).log()


@lru_cache(maxsize=1)
def _kaldi_filters() -> Tensor:
    """Return Kaldi's triangular filters, linear on its mel scale: (256, 80)."""
    bins_mel = _kaldi_mel(torch.arange(_FFT_SIZE // 2) * (SPEAKER_RATE_HZ / _FFT_SIZE))
    limits_mel = _kaldi_mel(torch.tensor([_LOWEST_HZ, SPEAKER_RATE_HZ / 2], dtype=torch.float64))
    lowest, highest = limits_mel.tolist()
    width = (highest - lowest) / (_NUM_BANDS + 1)
    left = lowest + torch.arange(_NUM_BANDS) * width
    rising = (bins_mel[:, None] - left) / width
    falling = (left + 2 * width - bins_mel[:, None]) / width
    return torch.minimum(rising, falling).clamp(min=0)


def _kaldi_mel(frequency_hz: Tensor) -> Tensor:
    return 1127 * torch.log1p(frequency_hz / 700)


class _AttentionalFusion(nn.Module):
    """Two feature maps into one, weighted per position by what both hold."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // _FUSION_RATIO
        self.local_att = nn.Sequential(
            nn.Conv2d(2 * channels, inner, 1),
            nn.BatchNorm2d(inner),
            nn.SiLU(),
            nn.Conv2d(inner, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        balance = torch.tanh(self.local_att(torch.cat([first, second], dim=1)))
        return first * (1 + balance) + second * (1 - balance)


class _Res2Block(nn.Module):
    """A residual block whose channel groups feed each other one after the other."""

    def __init__(self, in_channels: int, planes: int, stride: int, *, fused: bool) -> None:
        super().__init__()
        self.width = math.floor(planes * _BASE_WIDTH / 64)
        inner, out_channels = self.width * _SCALE, planes * _EXPANSION
        self.conv1 = nn.Conv2d(in_channels, inner, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.convs = nn.ModuleList(
            nn.Conv2d(self.width, self.width, 3, padding=1, bias=False) for _ in range(_SCALE)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(self.width) for _ in range(_SCALE))
        num_fusions = _SCALE - 1 if fused else 0
        self.fuse_models = nn.ModuleList(_AttentionalFusion(self.width) for _ in range(num_fusions))
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        groups = torch.split(_clipped_relu(self.bn1(self.conv1(x))), self.width, dim=1)
        outputs = [self._transform(0, groups[0])]
        for index, group in enumerate(groups[1:], start=1):
            merged = (
                self.fuse_models[index - 1](outputs[-1], group)
                if self.fuse_models
                else outputs[-1] + group
            )
            outputs.append(self._transform(index, merged))
        merged = self.bn3(self.conv3(torch.cat(outputs, dim=1)))
        return _clipped_relu(merged + self.shortcut(x))

    def _transform(self, index: int, x: Tensor) -> Tensor:
        return _clipped_relu(self.bns[index](self.convs[index](x)))


def _clipped_relu(x: Tensor) -> Tensor:
    return x.clamp(0, _ACTIVATION_CEILING)


class _ERes2NetV2(nn.Module):
    """Filterbank (B, 80, frames) -> embedding (B, 20480), the mean over time of the last map."""

    def __init__(self) -> None:
        super().__init__()
        planes = [_STEM_CHANNELS * 2**stage for stage in range(4)]
        widths = [_STEM_CHANNELS, *(count * _EXPANSION for count in planes)]
        self.conv1 = nn.Conv2d(1, _STEM_CHANNELS, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_CHANNELS)
        self.layer1 = _stage(widths[0], planes[0], _NUM_BLOCKS[0], stride=1, fused=False)
        self.layer2 = _stage(widths[1], planes[1], _NUM_BLOCKS[1], stride=2, fused=False)
        self.layer3 = _stage(widths[2], planes[2], _NUM_BLOCKS[2], stride=2, fused=True)
        self.layer4 = _stage(widths[3], planes[3], _NUM_BLOCKS[3], stride=2, fused=True)
        self.layer3_ds = nn.Conv2d(widths[3], widths[4], 3, stride=2, padding=1, bias=False)
        self.fuse34 = _AttentionalFusion(widths[4])

    def forward(self, filterbank: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(filterbank[:, None])))  # (B, 64, 80, frames)
        third = self.layer3(self.layer2(self.layer1(x)))
        fourth = self.layer4(third)  # (B, 2048, 10, frames / 8)
        fused: Tensor = self.fuse34(fourth, self.layer3_ds(third))
        return fused.flatten(1, 2).mean(-1, dtype=torch.float32)


def _stage(
    in_channels: int, planes: int, num_blocks: int, *, stride: int, fused: bool
) -> nn.Sequential:
    widths = [in_channels, *[planes * _EXPANSION] * num_blocks]
    strides = [stride, *[1] * (num_blocks - 1)]
    return nn.Sequential(
        *(
            _Res2Block(width, planes, stride, fused=fused)
            for (width, _), stride in zip(pairwise(widths), strides, strict=True)
        )
    )


class SpeakerEncoder:
    """Turns reference waveforms into speaker embeddings."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        weight = next(model.parameters())
        self._device, self._dtype = weight.device, weight.dtype

    @classmethod
    def from_weights(
        cls, source: WeightSource, *, device: torch.device | str, dtype: torch.dtype
    ) -> "SpeakerEncoder":
        """Build the encoder from the published checkpoint's tensors.

        Raises:
            CheckpointError: a tensor is missing or has another shape.
        """
        return cls(build_module(_ERes2NetV2, source, device=device, dtype=dtype))

    def embed(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Return one embedding per waveform.

        Rows run one by one: convolutions over time would see padding, and each row equals that
        row alone to the last bit.

        Args:
            waveforms: float (T,) each, at 16 kHz in [-1, 1], T >= 400.

        Returns:
            float32 (B, 20480) on the encoder's device.

        Source: GPT-SoVITS 48b1a01, sv.py, SV.compute_embedding3 and
        eres2net/ERes2NetV2.py, forward3. Differs: mean over time in float32.
        """
        return torch.cat([self._embed_one(waveform) for waveform in waveforms])

    def _embed_one(self, waveform: Tensor) -> Tensor:
        filterbank = kaldi_fbank(waveform.to(self._device)).T  # (80, frames)
        embedding: Tensor = self._model(filterbank[None].to(self._dtype))
        return embedding
