"""Dimensions and configs of random models: those of the published ones, and tiny ones.

Tiny keeps what the architecture fixes (768 HuBERT features, 1024 text features, the speaker
encoder's 20480 values) and shrinks the rest.
"""

from typing import Literal

from sovits_serve.models.spec import SPECS, ModelVersion, SovitsDims, T2SDims

Size = Literal["tiny", "full"]

V1_SYMBOLS = 322
V2_SYMBOLS = 732
_V1_PHONEMES = 512
_PUBLISHED_VOCABULARY = 21_128
_COMMON_CHARACTERS = (
    "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好"
    "都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长世界今气你好欢迎语音合成"
)
_PUNCTUATION = "，。！？、：；…—《》“”‘’（）·"


def t2s_dims(version: ModelVersion, size: Size) -> T2SDims:
    """Return the GPT model's dimensions."""
    phonemes = _V1_PHONEMES if version is ModelVersion.V1 else V2_SYMBOLS
    if size == "tiny":
        return T2SDims(64, 4, 2, vocab_size=1025, phoneme_vocab_size=phonemes, max_sec=6)
    return T2SDims(512, 16, 24, vocab_size=1025, phoneme_vocab_size=phonemes, max_sec=54)


def sovits_dims(version: ModelVersion, size: Size) -> SovitsDims:
    """Return the SoVITS model's dimensions."""
    is_tiny, is_plus = size == "tiny", version is ModelVersion.V2PROPLUS
    has_speaker = SPECS[version].has_speaker_embedding
    full_channels = 768 if is_plus else 512
    return SovitsDims(
        inter_channels=16 if is_tiny else 192,
        hidden_channels=192,
        filter_channels=32 if is_tiny else 768,
        num_heads=2,
        num_layers=2 if is_tiny else 6,
        kernel_size=3,
        style_dim=(64 if is_tiny else 1024) if has_speaker else 512,
        num_symbols=V1_SYMBOLS if version is ModelVersion.V1 else V2_SYMBOLS,
        upsample_rates=(10, 8, 2, 2, 2),
        upsample_kernel_sizes=(20 if is_plus else 16, 16, 8, 2, 2),
        upsample_initial_channels=64 if is_tiny else full_channels,
        resblock_kernel_sizes=(3, 7, 11),
        resblock_dilation_sizes=((1, 3, 5),) * 3,
    )


def t2s_config(dims: T2SDims) -> dict[str, object]:
    """Return the config that a GPT checkpoint of these dimensions carries."""
    # Ours alone: upstream's models all read BERT and end by themselves, and none says so.
    own: dict[str, object] = {} if dims.reads_text_features else {"text_features": "none"}
    if dims.tokens_per_phoneme:
        own["tokens_per_phoneme"] = dims.tokens_per_phoneme
    return {
        "train": {"seed": 1234, "epochs": 15, "precision": "16-mixed", "if_dpo": False},
        "data": {"max_eval_sample": 8, "max_sec": dims.max_sec, "num_workers": 4, "pad_val": 1024},
        "model": {
            "vocab_size": dims.vocab_size,
            "phoneme_vocab_size": dims.phoneme_vocab_size,
            "embedding_dim": dims.hidden,
            "hidden_dim": dims.hidden,
            "head": dims.num_heads,
            "linear_units": 4 * dims.hidden,
            "n_layer": dims.num_layers,
            "dropout": 0,
            "EOS": dims.eos,
            "random_bert": 0,
            **own,
        },
        "inference": {"top_k": 15},
    }


def sovits_config(version: ModelVersion, dims: SovitsDims) -> dict[str, object]:
    """Return the config that a SoVITS checkpoint of these dimensions carries."""
    spec = SPECS[version]
    return {
        "train": {"segment_size": 20480, "fp16_run": True, "betas": [0.8, 0.99]},
        "data": {
            "sampling_rate": spec.sample_rate_hz,
            "filter_length": 2 * (spec.num_spectrogram_bins - 1),
            "hop_length": spec.spectrogram_hop,
            "win_length": 2 * (spec.num_spectrogram_bins - 1),
            "mel_fmax": None,
            "n_speakers": 300,
        },
        "model": {
            "inter_channels": dims.inter_channels,
            "hidden_channels": dims.hidden_channels,
            "filter_channels": dims.filter_channels,
            "n_heads": dims.num_heads,
            "n_layers": dims.num_layers,
            "kernel_size": dims.kernel_size,
            "p_dropout": 0.1,
            "resblock": "1",
            "resblock_kernel_sizes": list(dims.resblock_kernel_sizes),
            "resblock_dilation_sizes": [list(row) for row in dims.resblock_dilation_sizes],
            "upsample_rates": list(dims.upsample_rates),
            "upsample_initial_channel": dims.upsample_initial_channels,
            "upsample_kernel_sizes": list(dims.upsample_kernel_sizes),
            "n_layers_q": 3,
            "use_spectral_norm": False,
            "gin_channels": dims.style_dim,
            "semantic_frame_rate": "25hz",
            "freeze_quantizer": True,
            "version": version.value,
        },
        "content_module": "cnhubert",
    }


def hubert_config(size: Size) -> dict[str, object]:
    """Return ``chinese-hubert-base/config.json``."""
    is_tiny = size == "tiny"
    return {
        "model_type": "hubert",
        "architectures": ["HubertModel"],
        "hidden_size": 768,
        "num_hidden_layers": 2 if is_tiny else 12,
        "num_attention_heads": 12,
        "intermediate_size": 64 if is_tiny else 3072,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "feat_extract_norm": "group",
        "feat_extract_activation": "gelu",
        "conv_dim": [32 if is_tiny else 512] * 7,
        "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "conv_bias": False,
        "num_feat_extract_layers": 7,
        "num_conv_pos_embeddings": 32 if is_tiny else 128,
        "num_conv_pos_embedding_groups": 16,
        "do_stable_layer_norm": False,
        "feat_proj_layer_norm": True,
    }


def bert_config(size: Size, vocabulary_size: int) -> dict[str, object]:
    """Return ``chinese-roberta-wwm-ext-large/config.json``.

    A tiny one has three layers: the third hidden state from the end has passed one of them.
    """
    is_tiny = size == "tiny"
    return {
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "vocab_size": vocabulary_size,
        "hidden_size": 1024,
        "num_hidden_layers": 3 if is_tiny else 24,
        "num_attention_heads": 16,
        "intermediate_size": 64 if is_tiny else 4096,
        "hidden_act": "gelu",
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }


def bert_vocabulary(size: Size) -> list[str]:
    """Return the lines of ``vocab.txt``: one token per character; tiny knows common ones only."""
    special = ["[PAD]", *(f"[unused{index}]" for index in range(1, 100))]
    special += ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if size == "tiny":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    ascii_characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    han = [chr(code) for code in range(ord("一"), ord("龥") + 1)]
    characters = _COMMON_CHARACTERS if size == "tiny" else han
    vocabulary = list(dict.fromkeys([*special, *ascii_characters, *_PUNCTUATION, *characters]))
    if size == "full":
        fillers = range(100, 100 + _PUBLISHED_VOCABULARY - len(vocabulary))
        vocabulary += [f"[unused{index}]" for index in fillers]
    return vocabulary
