"""Tensor plans of the encoders beside the model: HuBERT, BERT and the speaker encoder.

See ``random_plan`` for what a plan is.
"""

from sovits_serve.checkpoints.random_plan import Plan, TensorPlan, linear, norm, weight
from sovits_serve.models.spec import SovitsDims

_SPEAKER_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
_SPEAKER_WIDTH = 24
_SPEAKER_SCALE = 4
_SPEAKER_EXPANSION = 4


def plan_hubert(config: dict[str, object]) -> Plan:
    """Plan a HubertModel with group norm, under the names of ``pytorch_model.bin``."""
    hidden, inner = _size(config, "hidden_size"), _size(config, "intermediate_size")
    channels, kernels = config["conv_dim"], config["conv_kernel"]
    assert isinstance(channels, list)
    assert isinstance(kernels, list)
    yield TensorPlan("masked_spec_embed", (hidden,), scale=0.1)
    previous = 1
    for index, (width, kernel) in enumerate(zip(channels, kernels, strict=True)):
        name = f"feature_extractor.conv_layers.{index}"
        yield weight(f"{name}.conv.weight", (width, previous, kernel))
        if index == 0:
            yield from norm(f"{name}.layer_norm", width)
        previous = width
    yield from norm("feature_projection.layer_norm", previous)
    yield from linear("feature_projection.projection", hidden, previous)
    taps, groups = _size(config, "num_conv_pos_embeddings"), 16
    position = "encoder.pos_conv_embed.conv"
    yield TensorPlan(f"{position}.bias", (hidden,))
    yield TensorPlan(f"{position}.weight_g", (1, 1, taps), offset=1.0)
    yield weight(f"{position}.weight_v", (hidden, hidden // groups, taps))
    yield from norm("encoder.layer_norm", hidden)
    for index in range(_size(config, "num_hidden_layers")):
        layer = f"encoder.layers.{index}"
        for leaf in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield from linear(f"{layer}.attention.{leaf}", hidden, hidden)
        yield from norm(f"{layer}.layer_norm", hidden)
        yield from linear(f"{layer}.feed_forward.intermediate_dense", inner, hidden)
        yield from linear(f"{layer}.feed_forward.output_dense", hidden, inner)
        yield from norm(f"{layer}.final_layer_norm", hidden)


def plan_bert(config: dict[str, object], num_stored_layers: int) -> Plan:
    """Plan a BertForMaskedLM whose decoder is tied to its word embeddings.

    Nothing reads the last two layers, so a file may leave them out.
    """
    hidden, inner = _size(config, "hidden_size"), _size(config, "intermediate_size")
    vocabulary = _size(config, "vocab_size")
    embeddings = "bert.embeddings"
    positions, types = _size(config, "max_position_embeddings"), _size(config, "type_vocab_size")
    yield TensorPlan(f"{embeddings}.word_embeddings.weight", (vocabulary, hidden), scale=0.3)
    yield TensorPlan(f"{embeddings}.position_embeddings.weight", (positions, hidden), scale=0.3)
    yield TensorPlan(f"{embeddings}.token_type_embeddings.weight", (types, hidden), scale=0.3)
    yield from norm(f"{embeddings}.LayerNorm", hidden)
    for index in range(num_stored_layers):
        layer = f"bert.encoder.layer.{index}"
        for leaf in ("self.query", "self.key", "self.value", "output.dense"):
            yield from linear(f"{layer}.attention.{leaf}", hidden, hidden)
        yield from norm(f"{layer}.attention.output.LayerNorm", hidden)
        yield from linear(f"{layer}.intermediate.dense", inner, hidden)
        yield from linear(f"{layer}.output.dense", hidden, inner)
        yield from norm(f"{layer}.output.LayerNorm", hidden)
    yield TensorPlan("cls.predictions.bias", (vocabulary,))
    yield from linear("cls.predictions.transform.dense", hidden, hidden)
    yield from norm("cls.predictions.transform.LayerNorm", hidden)


def plan_speaker(dims: SovitsDims) -> Plan:
    """Plan the ERes2NetV2 whose pooled map has ``dims.speaker_dim`` values.

    Its sizes are fixed by the published checkpoint; the embedding head ``seg_1``, which nothing
    here or upstream uses, is left out.
    """
    yield weight("conv1.weight", (64, 1, 3, 3))
    yield from _batch_norm("bn1", 64)
    channels = 64
    for stage, (num_blocks, planes) in enumerate(_SPEAKER_STAGES, start=1):
        for index in range(num_blocks):
            yield from _speaker_block(f"layer{stage}.{index}", channels, planes, stage >= 3)
            channels = planes * _SPEAKER_EXPANSION
    assert channels * 10 == dims.speaker_dim
    yield weight("layer3_ds.weight", (channels, channels // 2, 3, 3))
    yield from _attentional_fusion("fuse34", channels)


def _speaker_block(name: str, channels: int, planes: int, is_fused: bool) -> Plan:
    width = planes * _SPEAKER_WIDTH // 64
    outputs = planes * _SPEAKER_EXPANSION
    yield weight(f"{name}.conv1.weight", (width * _SPEAKER_SCALE, channels, 1, 1))
    yield from _batch_norm(f"{name}.bn1", width * _SPEAKER_SCALE)
    for index in range(_SPEAKER_SCALE):
        yield weight(f"{name}.convs.{index}.weight", (width, width, 3, 3))
        yield from _batch_norm(f"{name}.bns.{index}", width)
    for index in range(_SPEAKER_SCALE - 1 if is_fused else 0):
        yield from _attentional_fusion(f"{name}.fuse_models.{index}", width)
    yield weight(f"{name}.conv3.weight", (outputs, width * _SPEAKER_SCALE, 1, 1))
    yield from _batch_norm(f"{name}.bn3", outputs)
    if channels != outputs or name.endswith(".0"):
        yield weight(f"{name}.shortcut.0.weight", (outputs, channels, 1, 1))
        yield from _batch_norm(f"{name}.shortcut.1", outputs)


def _attentional_fusion(name: str, channels: int) -> Plan:
    inner = channels // 4
    yield from linear(f"{name}.local_att.0", inner, 2 * channels, 1, 1)
    yield from _batch_norm(f"{name}.local_att.1", inner)
    yield from linear(f"{name}.local_att.3", channels, inner, 1, 1)
    yield from _batch_norm(f"{name}.local_att.4", channels)


def _batch_norm(name: str, size: int) -> Plan:
    yield from norm(name, size)
    yield TensorPlan(f"{name}.running_mean", (size,))
    yield TensorPlan(f"{name}.running_var", (size,), offset=1.0, scale=0.03)
    yield TensorPlan(f"{name}.num_batches_tracked", (), is_counter=True)


def _size(config: dict[str, object], key: str) -> int:
    value = config[key]
    assert isinstance(value, int)
    return value
