"""What training adds to the package's own model modules: dimensions, discriminators, helpers.

The modules that are trained are those that serve (``sovits_serve.models``), so what is exported
computes what was trained.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sovits_serve.models.layers.padding import RowPadding
from sovits_serve.models.reference.style import StyleEncoder
from sovits_serve.models.sovits.flow import Coupling, Flow
from sovits_serve.models.sovits.generator import Generator
from sovits_serve.models.sovits.text_encoder import TextEncoder
from sovits_serve.models.spec import SPECS, ModelVersion, SovitsDims, T2SDims
from sovits_serve.models.t2s.block import T2SBlock
from sovits_serve.models.t2s.model import T2SModel

SPEC = SPECS[ModelVersion.V2]
RATE_HZ = 16_000  # of the teachers' speech
SAMPLES_PER_TOKEN = 640
# The window of the decoder's training.
MAX_DECODER_TOKENS = 160  # 6.4 s
MAX_DECODER_PHONES = 120
NOISE_SCALE = 0.5
T2S_DIMS = T2SDims(
    hidden=256,
    num_heads=8,
    num_layers=5,
    vocab_size=1025,
    phoneme_vocab_size=732,
    max_sec=30,
    text_feature_dim=16,  # of zeros: no BERT
    reads_text_features=False,
)
SOVITS_DIMS = SovitsDims(
    inter_channels=96,
    hidden_channels=80,
    filter_channels=256,
    num_heads=2,
    num_layers=4,
    kernel_size=3,
    style_dim=512,
    num_symbols=732,
    upsample_rates=(10, 8, 2, 2, 2),
    upsample_kernel_sizes=(16, 16, 8, 2, 2),
    upsample_initial_channels=256,
    resblock_kernel_sizes=(3, 7),
    resblock_dilation_sizes=((1, 3, 5),) * 2,
    ssl_dim=256,
    codebook_size=1024,
)


def make_padding_differentiable() -> None:
    """Let ``RowPadding.zero_`` return a new tensor, for what it overwrites is needed again."""

    def zero(self: RowPadding, x: Tensor, rate: int = 1) -> Tensor:
        if self.is_empty:
            return x
        behind = self._behind(rate)
        return x.masked_fill(behind.view(x.size(0), *[1] * (x.dim() - 2), -1), 0)

    RowPadding.zero_ = zero  # type: ignore[method-assign]
    RowPadding.zeroed = zero  # type: ignore[method-assign]


class Decoder(nn.Module):
    """All of a SoVITS checkpoint that is trained here; names as in the checkpoint."""

    def __init__(self, dims: SovitsDims = SOVITS_DIMS) -> None:
        super().__init__()
        self.enc_p = TextEncoder(dims)
        self.flow = Flow(dims.inter_channels, dims.hidden_channels, dims.style_dim)
        self.dec = Generator(dims)
        self.ref_enc = StyleEncoder(SPEC, dims).ref_enc
        for coupling in self.flow.flows[::2]:
            assert isinstance(coupling, Coupling)
            nn.init.normal_(coupling.post.weight, std=1e-3)
        for module in self.dec.modules():
            if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
                nn.init.normal_(module.weight, std=0.02)

    def latent(
        self, codes: Tensor, frames: Tensor, phones: Tensor, phone_lengths: Tensor, style: Tensor
    ) -> Tensor:
        """Return the generator's latent (B, inter, T) of codebook vectors ``codes`` (B, D, T)."""
        encoded = self.enc_p(codes, frames, phones, phone_lengths, style)
        mean, log_deviation = self.enc_p.project(encoded.x, frames)
        noise = torch.randn_like(mean, dtype=torch.float32)
        drawn = mean + noise * log_deviation.float().clamp(max=2).exp() * NOISE_SCALE
        z: Tensor = self.flow(drawn.to(mean.dtype), frames, style)
        return z


class PeriodDiscriminator(nn.Module):
    """Judges a waveform folded by a period."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self.period = period
        widths = (1, 16, 64, 128, 256)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0)) for a, b in pairwise(widths)
        )
        self.layers.append(nn.Conv2d(256, 256, (5, 1), 1, (2, 0)))
        self.out = nn.Conv2d(256, 1, (3, 1), 1, (1, 0))

    def forward(self, waveform: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores and inner maps for ``waveform`` (B, T)."""
        x = functional.pad(waveform, (0, -waveform.shape[1] % self.period))
        x = x.view(x.shape[0], 1, -1, self.period).contiguous(memory_format=torch.channels_last)
        maps = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.1)
            maps.append(x)
        return self.out(x), maps


class SpectrumDiscriminator(nn.Module):
    """Judges the magnitudes of one short-time Fourier transform."""

    window: Tensor

    def __init__(self, fft: int) -> None:
        super().__init__()
        self.fft, self.hop = fft, fft // 4
        width = 32
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(1, width, (3, 9), 1, (1, 4)),
                nn.Conv2d(width, width, (3, 9), (1, 2), (1, 4)),
                nn.Conv2d(width, width, (3, 9), (1, 2), (1, 4)),
                nn.Conv2d(width, width, (3, 9), (1, 2), (1, 4)),
                nn.Conv2d(width, width, (3, 3), 1, (1, 1)),
            ]
        )
        self.out = nn.Conv2d(width, 1, (3, 3), 1, (1, 1))
        self.register_buffer("window", torch.hann_window(fft), persistent=False)

    def forward(self, waveform: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores and inner maps for ``waveform`` (B, T)."""
        spectrum = torch.stft(
            waveform.float(), self.fft, self.hop, window=self.window, return_complex=True
        )
        x = (spectrum.real.square() + spectrum.imag.square() + 1e-8).pow(0.25)
        x = x.transpose(1, 2)[:, None].contiguous(memory_format=torch.channels_last)
        maps = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.1)
            maps.append(x)
        return self.out(x), maps


class Discriminator(nn.Module):
    """Several judges: periods at 16 kHz (nothing trained on has more), spectra at 32 kHz."""

    lowpass: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(p) for p in (2, 3, 5, 7, 11))
        self.spectra = nn.ModuleList(SpectrumDiscriminator(n) for n in (512, 1024, 2048))
        taps = torch.arange(-16, 17) / 2
        kernel = torch.sinc(taps) * torch.hann_window(33, periodic=False) / 2
        self.register_buffer("lowpass", (kernel / kernel.sum())[None, None], persistent=False)

    def forward(self, waveform: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return all scores and all inner maps for ``waveform`` (B, T) at 32 kHz."""
        with torch.autocast(waveform.device.type, enabled=False):
            halved = functional.conv1d(
                waveform.float()[:, None], self.lowpass, stride=2, padding=16
            )
        results = [judge(halved[:, 0]) for judge in self.periods]
        results += [judge(waveform) for judge in self.spectra]
        return [score for score, _ in results], [m for _, maps in results for m in maps]


def make_t2s(dims: T2SDims = T2S_DIMS) -> T2SModel:
    """Return a T2S model with weights to start training from; its text features read nothing."""
    model = T2SModel(dims)
    nn.init.zeros_(model.bert_proj.weight)
    nn.init.zeros_(model.bert_proj.bias)
    for scale in (model.ar_text_position, model.ar_audio_position):
        nn.init.ones_(scale.alpha)
    for embedding in (model.ar_text_embedding, model.ar_audio_embedding):
        nn.init.normal_(embedding.word_embeddings.weight, std=0.5)
    for block in model.h.layers:
        assert isinstance(block, T2SBlock)
        nn.init.xavier_uniform_(block.self_attn.in_proj_weight)
        nn.init.zeros_(block.self_attn.in_proj_bias)
    return model


def t2s_logits(
    model: T2SModel,
    phones: Tensor,
    phone_lengths: Tensor,
    tokens: Tensor,
    *,
    dropout: float,
) -> Tensor:
    """Return the logits (B, T, V) of the token after each of ``tokens`` (B, T).

    Row t of the result follows the tokens up to t, so the first token has no prediction: it is
    always part of a prompt.
    """
    num_phones, num_tokens = phones.shape[1], tokens.shape[1]
    positions = model.positions
    text = model.ar_text_embedding(phones) + model.ar_text_position.alpha * positions[:num_phones]
    audio = model.ar_audio_embedding(tokens)
    audio = audio + model.ar_audio_position.alpha * positions[:num_tokens]
    x = functional.dropout(torch.cat([text, audio], 1), dropout)
    is_text = torch.arange(num_phones, device=x.device) < phone_lengths[:, None]  # (B, P)
    causal = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=x.device).tril()
    size = (len(phones), num_phones + num_tokens)
    mask = torch.zeros(size[0], size[1], size[1], dtype=torch.bool, device=x.device)
    mask[:, :, :num_phones] = is_text[:, None]
    mask[:, num_phones:, num_phones:] = causal
    for block in model.h.layers:
        assert isinstance(block, T2SBlock)
        query, pair = block.project_prompt(x)
        attended = functional.scaled_dot_product_attention(
            query, pair[:, 0], pair[:, 1], attn_mask=mask[:, None], dropout_p=dropout
        )
        attended = block.self_attn.out_proj(attended.transpose(1, 2).reshape(x.shape))
        x = block.norm1(x + functional.dropout(attended, dropout))
        hidden = functional.relu(block.linear1(x))
        x = block.norm2(x + functional.dropout(block.linear2(hidden), dropout))
    out: Tensor = model.ar_predict_layer(x[:, num_phones:])
    return out
