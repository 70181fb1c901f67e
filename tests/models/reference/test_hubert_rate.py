"""A HuBERT that steps otherwise than 50 times a second is refused, not misread."""

import pytest
import torch

from sovits_serve.checkpoints.random_configs import hubert_config
from sovits_serve.errors import CheckpointError
from sovits_serve.models.reference.hubert import HubertEncoder
from sovits_serve.models.weights import DictWeights


def test_other_strides_are_named() -> None:
    """The message has the file, the key, the hop and the one that is needed."""
    config = hubert_config("tiny") | {"conv_stride": [5, 2, 2, 2, 2, 2, 1]}

    with pytest.raises(
        CheckpointError, match="here: config conv_stride steps 160 samples, not 320"
    ):
        HubertEncoder.from_weights(
            config, DictWeights({}, "here"), device="cpu", dtype=torch.float32
        )
