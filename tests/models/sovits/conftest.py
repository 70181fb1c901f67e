from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    """Run every test of the package as the engine runs the model."""
    with torch.inference_mode():
        yield
