"""Settings: declared once, checked when made."""

import pytest

from sovits_serve.config import EngineConfig
from sovits_serve.errors import ConfigError


def test_defaults_are_allowed() -> None:
    """The defaults pass their own checks."""
    assert EngineConfig().max_running == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_running": -1}, "max_running: -1 is not between 0 and 1024"),
        ({"max_running": True}, "max_running: True is not of type int"),
        ({"max_running": "16"}, "max_running: '16' is not of type int"),
        ({"dtype": "int8"}, "dtype: 'int8' is not one of auto, float32, float16, bfloat16"),
        ({"first_window_frames": 500}, "first_window_frames: 500 is more than max_window"),
        ({"max_sequence_length": 4001}, "max_sequence_length: 4001 is not between 64 and 4000"),
        ({"num_threads": -1}, "num_threads: -1 is not between 0 and 1024"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, object], words: str) -> None:
    """A bad value stops the start with key, value and what is allowed."""
    with pytest.raises(ConfigError, match=words):
        EngineConfig(**settings)  # type: ignore[arg-type]
