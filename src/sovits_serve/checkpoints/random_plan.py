"""Names, shapes and value ranges of every tensor of a model, from its dimensions.

Enough to write checkpoints full of seeded noise that any loader takes for real ones. Weights have
the variance of one over their fan-in, so that signals neither vanish nor explode on the way. Knows
no files and no torch.

Source: GPT-SoVITS 48b1a01, the modules' parameter names (AR/models/t2s_model.py, module/models.py,
eres2net/ERes2NetV2.py) and those of Hugging Face's HubertModel and BertForMaskedLM.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sovits_serve.models.spec import ModelSpec, SovitsDims, T2SDims

_MRTE_CHANNELS = 512
_STYLE_HIDDEN = 128
_FLOW_LAYERS = 4
# Measured: how often babble ends a segment, and how loud it is.
_EOS_GAIN = 1.3
_LOUDNESS = 0.12


@dataclass(frozen=True)
class TensorPlan:
    """One tensor: ``offset + scale * noise``. ``is_counter`` marks an int64 zero.

    ``row_gain`` multiplies one row afterwards.
    """

    name: str
    shape: tuple[int, ...]
    offset: float = 0.0
    scale: float = 0.05
    is_counter: bool = False
    row_gain: tuple[int, float] | None = None


Plan = Iterator[TensorPlan]


def weight(name: str, shape: tuple[int, ...]) -> TensorPlan:
    """Plan a weight [out, in, kernel...] with a variance of one over its fan-in."""
    fan_in = 1
    for length in shape[1:]:
        fan_in *= length
    return TensorPlan(name, shape, scale=fan_in**-0.5)


def linear(name: str, *shape: int) -> Plan:
    """Plan a linear layer or a convolution: weight and bias."""
    yield weight(f"{name}.weight", shape)
    yield TensorPlan(f"{name}.bias", shape[:1])


def norm(name: str, size: int, factor: str = "weight", shift: str = "bias") -> Plan:
    """Plan a normalisation's factors near one and its shifts near zero."""
    yield TensorPlan(f"{name}.{factor}", (size,), offset=1.0, scale=0.1)
    yield TensorPlan(f"{name}.{shift}", (size,))


def _weight_norm(name: str, *shape: int) -> Plan:
    yield TensorPlan(f"{name}.bias", shape[:1])
    ones = (1,) * (len(shape) - 1)
    yield TensorPlan(f"{name}.weight_g", (shape[0], *ones), offset=1.0)
    yield weight(f"{name}.weight_v", shape)


def plan_t2s(dims: T2SDims) -> Plan:
    """Plan a GPT checkpoint."""
    hidden = dims.hidden
    yield from linear("model.bert_proj", hidden, dims.text_feature_dim)
    for kind, size in (("text", dims.phoneme_vocab_size), ("audio", dims.vocab_size)):
        embedding = f"model.ar_{kind}_embedding.word_embeddings.weight"
        yield TensorPlan(embedding, (size, hidden), scale=0.7)
        yield TensorPlan(f"model.ar_{kind}_position.alpha", (1,), offset=1.0)
    for index in range(dims.num_layers):
        layer = f"model.h.layers.{index}"
        yield weight(f"{layer}.self_attn.in_proj_weight", (3 * hidden, hidden))
        yield TensorPlan(f"{layer}.self_attn.in_proj_bias", (3 * hidden,), scale=0.1)
        yield from linear(f"{layer}.self_attn.out_proj", hidden, hidden)
        yield from linear(f"{layer}.linear1", 4 * hidden, hidden)
        yield from linear(f"{layer}.linear2", hidden, 4 * hidden)
        yield from norm(f"{layer}.norm1", hidden)
        yield from norm(f"{layer}.norm2", hidden)
    yield TensorPlan(
        "model.ar_predict_layer.weight",
        (dims.vocab_size, hidden),
        scale=2.5 * hidden**-0.5,
        row_gain=(dims.eos, _EOS_GAIN),
    )


def plan_sovits(spec: ModelSpec, dims: SovitsDims) -> Plan:
    """Plan a SoVITS checkpoint of a version with a generator."""
    yield from _plan_text_encoder(dims)
    yield from _plan_generator(dims)
    for index in range(0, 2 * _FLOW_LAYERS, 2):
        yield from _plan_coupling(f"flow.flows.{index}", dims)
    yield from _plan_style_encoder(spec, dims)
    yield from linear("ssl_proj", dims.ssl_dim, dims.ssl_dim, 2)
    codebook = "quantizer.vq.layers.0._codebook"
    yield TensorPlan(f"{codebook}.inited", (1,), offset=1.0, scale=0.0)
    yield TensorPlan(f"{codebook}.cluster_size", (dims.codebook_size,), offset=1.0, scale=0.0)
    for leaf in ("embed", "embed_avg"):
        yield TensorPlan(f"{codebook}.{leaf}", (dims.codebook_size, dims.ssl_dim), scale=0.6)
    if spec.has_speaker_embedding:
        yield from linear("sv_emb", dims.style_dim, dims.speaker_dim)
        yield from linear("ge_to512", _MRTE_CHANNELS, dims.style_dim)
        yield TensorPlan("prelu.weight", (dims.style_dim,), offset=1.0, scale=0.1)


def _plan_text_encoder(dims: SovitsDims) -> Plan:
    hidden = dims.hidden_channels
    half = dims.num_layers // 2
    yield from linear("enc_p.ssl_proj", hidden, dims.ssl_dim, 1)
    yield from _plan_transformer("enc_p.encoder_ssl", dims, half)
    yield from _plan_transformer("enc_p.encoder_text", dims, dims.num_layers)
    yield TensorPlan("enc_p.text_embedding.weight", (dims.num_symbols, hidden), scale=0.5)
    for leaf in ("q", "k", "v", "o"):
        name = f"enc_p.mrte.cross_attention.conv_{leaf}"
        yield from linear(name, _MRTE_CHANNELS, _MRTE_CHANNELS, 1)
    yield from linear("enc_p.mrte.c_pre", _MRTE_CHANNELS, hidden, 1)
    yield from linear("enc_p.mrte.text_pre", _MRTE_CHANNELS, hidden, 1)
    yield from linear("enc_p.mrte.c_post", hidden, _MRTE_CHANNELS, 1)
    yield from _plan_transformer("enc_p.encoder2", dims, half)
    yield TensorPlan("enc_p.proj.weight", (2 * dims.inter_channels, hidden, 1))
    yield TensorPlan("enc_p.proj.bias", (2 * dims.inter_channels,))


def _plan_transformer(name: str, dims: SovitsDims, num_layers: int) -> Plan:
    hidden, filters, kernel = dims.hidden_channels, dims.filter_channels, dims.kernel_size
    head = hidden // dims.num_heads
    for index in range(num_layers):
        attention = f"{name}.attn_layers.{index}"
        for leaf in ("k", "v"):
            yield TensorPlan(f"{attention}.emb_rel_{leaf}", (1, 9, head), scale=head**-0.5 / 3)
        for leaf in ("q", "k", "v", "o"):
            yield from linear(f"{attention}.conv_{leaf}", hidden, hidden, 1)
        for leaf in ("norm_layers_1", "norm_layers_2"):
            yield from norm(f"{name}.{leaf}.{index}", hidden, "gamma", "beta")
        yield from linear(f"{name}.ffn_layers.{index}.conv_1", filters, hidden, kernel)
        yield from linear(f"{name}.ffn_layers.{index}.conv_2", hidden, filters, kernel)


def _plan_generator(dims: SovitsDims) -> Plan:
    channels = dims.upsample_initial_channels
    yield from linear("dec.conv_pre", channels, dims.inter_channels, 7)
    yield from linear("dec.cond", channels, dims.style_dim, 1)
    block = 0
    for index, kernel in enumerate(dims.upsample_kernel_sizes):
        # A transposed convolution: [in, out, kernel], normed per input channel, bias per output.
        yield TensorPlan(f"dec.ups.{index}.bias", (channels // 2,))
        yield TensorPlan(f"dec.ups.{index}.weight_g", (channels, 1, 1), offset=1.4)
        yield weight(f"dec.ups.{index}.weight_v", (channels, channels // 2, kernel))
        channels //= 2
        for size, dilations in zip(
            dims.resblock_kernel_sizes, dims.resblock_dilation_sizes, strict=True
        ):
            for position in range(len(dilations)):
                for leaf in ("convs1", "convs2"):
                    name = f"dec.resblocks.{block}.{leaf}.{position}"
                    yield from _weight_norm(name, channels, channels, size)
            block += 1
    output = "dec.conv_post.weight"
    yield TensorPlan(output, (1, channels, 7), scale=_LOUDNESS * channels**-0.5)


def _plan_coupling(name: str, dims: SovitsDims) -> Plan:
    hidden, half = dims.hidden_channels, dims.inter_channels // 2
    yield from linear(f"{name}.pre", hidden, half, 1)
    for index in range(_FLOW_LAYERS):
        yield from _weight_norm(f"{name}.enc.in_layers.{index}", 2 * hidden, hidden, 5)
        outputs = hidden if index == _FLOW_LAYERS - 1 else 2 * hidden
        yield from _weight_norm(f"{name}.enc.res_skip_layers.{index}", outputs, hidden, 1)
    width = 2 * hidden * _FLOW_LAYERS
    yield from _weight_norm(f"{name}.enc.cond_layer", width, dims.style_dim, 1)
    yield from linear(f"{name}.post", half, hidden, 1)


def _plan_style_encoder(spec: ModelSpec, dims: SovitsDims) -> Plan:
    size = _STYLE_HIDDEN
    yield from linear("ref_enc.spectral.0.fc", size, spec.style_bins)
    yield from linear("ref_enc.spectral.3.fc", size, size)
    for index in range(2):
        yield from linear(f"ref_enc.temporal.{index}.conv1.conv", 2 * size, size, 5)
    for leaf in ("w_qs", "w_ks", "w_vs", "fc"):
        yield from linear(f"ref_enc.slf_attn.{leaf}", size, size)
    yield from linear("ref_enc.fc.fc", dims.style_dim, size)
