"""Every setting, declared once: type, default, bounds and help.

Configs are frozen and checked when made; "auto" is resolved once by the engine's loader. A bad
value raises ``ConfigError`` with the key, the value and what is allowed.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from sovits_serve.errors import ConfigError


def setting(
    default: object,
    help_text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare one setting of a config dataclass: default, help and what is allowed."""
    allowed = {"help": help_text, "minimum": minimum, "maximum": maximum, "choices": choices}
    return field(default=default, metadata=allowed)


@dataclass(frozen=True)
class EngineConfig:
    """What one engine may use, and how it batches."""

    device: str = setting("auto", "cpu, cuda, cuda:N, or auto: the GPU if there is one")
    dtype: str = setting(
        "auto",
        "precision of weights and activations; auto: float16 on CUDA, float32 on the CPU",
        choices=("auto", "float32", "float16", "bfloat16"),
    )
    num_threads: int = setting(
        0, "CPU threads for computing; 0: all cores", minimum=0, maximum=1024
    )
    max_running: int = setting(
        16, "segments decoded together; each holds one KV slot", minimum=1, maximum=1024
    )
    max_sequence_length: int = setting(
        3072,
        "phonemes + prompt + generated tokens of one segment; the models know 4000 places",
        minimum=64,
        maximum=4000,
    )
    max_waiting: int = setting(
        1024, "requests accepted and not finished; more are refused", minimum=1, maximum=1_000_000
    )
    max_segments: int = setting(10_000, "segments of one request", minimum=1, maximum=1_000_000)
    max_auxiliary: int = setting(
        4, "auxiliary recordings of one request, averaged into the style", minimum=0, maximum=64
    )
    max_prefill_rows: int = setting(8, "segments prefilled in one step", minimum=1, maximum=256)
    max_audio_rows: int = setting(8, "audio windows decoded in one step", minimum=1, maximum=256)
    first_window_frames: int = setting(
        32, "first audio window of a streaming request, in 20 ms frames", minimum=4, maximum=3000
    )
    max_window_frames: int = setting(
        400, "longest audio window, in 20 ms frames", minimum=4, maximum=3000
    )
    batch_invariant: str = setting(
        "auto",
        "on: a request's tokens are bit for bit independent of its neighbours (every step "
        "computes all slots, everything else runs row by row); auto: on for CUDA",
        choices=("auto", "on", "off"),
    )
    reference_cache_bytes: int = setting(
        64 << 20, "references kept encoded, in bytes", minimum=0, maximum=1 << 40
    )
    long_reference: str = setting(
        "reject",
        "what happens to a reference longer than 10 s",
        choices=("reject", "trim"),
    )

    def __post_init__(self) -> None:
        """Check every setting against its declaration."""
        check_settings(self)
        if self.first_window_frames > self.max_window_frames:
            raise ConfigError(
                f"first_window_frames: {self.first_window_frames} is more than "
                f"max_window_frames ({self.max_window_frames})"
            )


@dataclass(frozen=True)
class FrontendConfig:
    """How text becomes segments and phonemes."""

    cut: str = setting(
        "auto",
        "how text is cut into segments; cut0 to cut5 are upstream's methods",
        choices=("auto", "cut0", "cut1", "cut2", "cut3", "cut4", "cut5"),
    )
    max_characters: int = setting(
        50_000, "characters of one request's text", minimum=1, maximum=1 << 24
    )
    dictionary: str = setting("", "file of words and how to say them; read again when it changes")
    g2pw: str = setting(
        "", "directory of the g2pW model, for Chinese characters with several readings"
    )
    g2pw_vocabulary: str = setting(
        "", "directory with the vocab.txt that g2pW was trained with, if it is not in its own"
    )

    def __post_init__(self) -> None:
        """Check every setting against its declaration."""
        check_settings(self)


def check_settings(config: "EngineConfig | FrontendConfig") -> None:
    """Check the values of a config against its declarations.

    Raises:
        ConfigError: names the key, the value and what is allowed.
    """
    for declared in fields(config):
        value = getattr(config, declared.name)
        choices = declared.metadata["choices"]
        if not isinstance(value, type(declared.default)) or isinstance(value, bool):
            raise ConfigError(
                f"{declared.name}: {value!r} is not of type {type(declared.default).__name__}"
            )
        if choices and value not in choices:
            raise ConfigError(f"{declared.name}: {value!r} is not one of {', '.join(choices)}")
        low, high = declared.metadata["minimum"], declared.metadata["maximum"]
        if (low is not None and value < low) or (high is not None and value > high):
            raise ConfigError(
                f"{declared.name}: {value} is not between {low} and "
                f"{'any number' if high is None else high}"
            )
