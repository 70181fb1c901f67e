"""Every setting, declared once: type, default, bounds and help.

Configs are frozen and checked when made; "auto" is resolved once by the engine's loader. A bad
value raises ``ConfigError`` with the key, the value and what is allowed.
"""

import math
import re
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal

from sovits_serve.errors import ConfigError

# How the text of a setting is read, where its type does not say it all.
Kind = Literal["", "path", "paths", "list", "memory", "share"]
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE | re.ASCII)


def setting(
    default: object,
    help_text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    kind: Kind = "",
) -> Any:
    """Declare one setting of a config dataclass: default, help and what is allowed."""
    allowed = {"minimum": minimum, "maximum": maximum, "choices": choices, "kind": kind}
    return field(default=default, metadata={"help": help_text, **allowed})


def parse_size(text: str) -> int:
    """Return a size as bytes: 8GiB, 512 MiB, 8G (the same as GiB), 8GB (of 1000), 1024.

    Raises:
        ConfigError: it is no size, or nothing.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{text!r} is not a size such as 8GiB or 512MiB")
    number, unit, binary = match.groups()
    base = 1000 if unit and not binary and text.strip()[-1] in "bB" else 1024
    size_bytes = int(float(number) * base ** " kmgt".index(unit.lower() or " "))
    if size_bytes < 1:
        raise ConfigError(f"{text!r} is not a size of a byte or more")
    return size_bytes


def parse_share(text: str) -> float | int:
    """Return a share (a float, above 0 and up to 1) or a size as bytes (an int).

    Raises:
        ConfigError: it is neither.
    """
    if re.fullmatch(r"\d*\.\d*|[01]", text.strip(), re.ASCII):
        share = float(text) if text.strip() != "." else 0.0
        if 0 < share <= 1:
            return share
        raise ConfigError(f"{text!r} is not a share above 0 and up to 1, nor a size such as 8GiB")
    return parse_size(text)


def check_settings(config: "Section") -> None:
    """Check the values of a config against its declarations.

    Raises:
        ConfigError: names the key, the value and what is allowed.
    """
    for declared in fields(config):
        check_value(declared, getattr(config, declared.name))


def check_value(declared: "Field[Any]", value: object) -> None:
    """Check one value against its declaration.

    Raises:
        ConfigError: names the key, the value and what is allowed.
    """
    name, choices = declared.name, declared.metadata["choices"]
    if type(value) is not type(declared.default):
        raise ConfigError(f"{name}: {value!r} is not of type {type(declared.default).__name__}")
    if choices and value not in choices:
        raise ConfigError(f"{name}: {value!r} is not one of {', '.join(choices)}")
    low, high = declared.metadata["minimum"], declared.metadata["maximum"]
    if not isinstance(value, int | float) or (low is None and high is None):
        return
    is_low = low is not None and value < low
    is_high = high is not None and value > high
    if is_low or is_high or math.isnan(value):
        raise ConfigError(
            f"{name}: {value} is not between {low} and {'any number' if high is None else high}"
        )


LEAST_EARLY_TOKENS = 8  # of fewer, nothing would be left to send
MAX_EARLY_TOKENS = 1000


@dataclass(frozen=True)
class EngineConfig:
    """What one engine may use, and how it batches."""

    device: str = setting("auto", "cpu, cuda, cuda:N, or auto: the GPU if there is one")
    dtype: str = setting(
        "auto",
        "precision of weights and activations; auto: float16 on CUDA, float32 on the CPU",
        choices=("auto", "float32", "float16", "bfloat16"),
    )
    decode_weights: str = setting(
        "float",
        "weights of T2S: float, those of dtype; int8, 8 bits, on a CPU in float32 or bfloat16 (which "
        "is then that of the rest): up to three times as fast, with other tokens here and there",
        choices=("float", "int8"),
    )
    kernels: str = setting(
        "auto",
        "on: this project's Triton kernels and CUDA graphs; off: plain PyTorch, many times slower; "
        "auto: on for CUDA",
        choices=("auto", "on", "off"),
    )
    num_threads: int = setting(
        0, "CPU threads for computing; 0: all cores", minimum=0, maximum=1024
    )
    gpu_memory: str = setting(
        "0.9",
        "device memory one engine may use: a share of what is free when it starts (0.5), or a size "
        "(6GiB); max_running 0 and kv_cache_tokens 0 follow from it",
        kind="share",
    )
    max_running: int = setting(
        0,
        "segments decoded together; 0: 16 on a CPU, on CUDA as many as gpu_memory allows, up to 256",
        minimum=0,
        maximum=1024,
    )
    kv_cache_tokens: int = setting(
        0,
        "tokens that the segments decoded together share on CUDA, 48 KiB each for models of the "
        "published size in half precision: 0, or at least max_sequence_length; 0: 512 per segment, "
        "as far as gpu_memory allows",
        minimum=0,
        maximum=100_000_000,
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
    max_prefill_rows: int = setting(
        0,
        "segments prefilled in one step; 0: 8 on a CPU, 16 on CUDA",
        minimum=0,
        maximum=256,
    )
    max_audio_rows: int = setting(
        0,
        "audio windows decoded in one step; 0: 8 on a CPU, 16 on CUDA",
        minimum=0,
        maximum=256,
    )
    first_window_frames: int = setting(
        8, "first audio window of a streaming request, in 20 ms frames", minimum=4, maximum=3000
    )
    early_tokens: int = setting(
        0,
        "a stream's first audio is made of so many tokens (25 a second) instead of the whole "
        "segment: much sooner, but not sample for sample what the whole would be; 8 and more; 0: off; "
        "a request can have its own",
        minimum=0,
        maximum=MAX_EARLY_TOKENS,
    )
    max_window_frames: int = setting(
        400, "longest audio window, in 20 ms frames", minimum=4, maximum=3000
    )
    batch_invariant: str = setting(
        "auto",
        "on: a request's tokens are bit for bit independent of its neighbours also in plain "
        "PyTorch (every step computes all slots, everything else runs row by row), as they always "
        "are with kernels; auto: on for CUDA",
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
        if 0 < self.early_tokens < LEAST_EARLY_TOKENS:
            raise ConfigError(
                f"early_tokens: {self.early_tokens} is neither 0 nor between {LEAST_EARLY_TOKENS} "
                f"and {MAX_EARLY_TOKENS}"
            )
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
    dictionary: str = setting(
        "", "file of words and how to say them; read again when it changes", kind="path"
    )
    g2pw: str = setting(
        "", "directory of the g2pW model, for Chinese characters with several readings", kind="path"
    )
    g2pw_vocabulary: str = setting(
        "",
        "directory with the vocab.txt that g2pW was trained with, if it is not in its own",
        kind="path",
    )

    def __post_init__(self) -> None:
        """Check every setting against its declaration."""
        check_settings(self)


@dataclass(frozen=True)
class ModelConfig:
    """Which models and voices there are. Paths; "" is none."""

    model: str = setting(
        "", "directory with the model's files; without one the built-in voice", kind="path"
    )
    t2s: str = setting(
        "", "T2S (GPT) checkpoint file, when it is not in the model's directory", kind="path"
    )
    sovits: str = setting(
        "", "SoVITS checkpoint file, when it is not in the model's directory", kind="path"
    )
    pretrained: str = setting(
        "", "directory with HuBERT, BERT and the speaker encoder", kind="path"
    )
    voices: str = setting(
        "", "directory of voices; default: voices/ in the model's directory", kind="path"
    )
    max_models: int = setting(
        2, "pairs of weights one engine keeps loaded, the least used go", minimum=1, maximum=64
    )

    def __post_init__(self) -> None:
        """Check every setting against its declaration."""
        check_settings(self)


@dataclass(frozen=True)
class ApiConfig:
    """What HTTP workers do."""

    host: str = setting("127.0.0.1", "address to listen on")
    port: int = setting(9880, "port to listen on; 0 takes a free one", minimum=0, maximum=65535)
    workers: int = setting(
        0, "HTTP worker processes; 0: one per two cores, 1 to 8", minimum=0, maximum=256
    )
    api_key: str = setting(
        "", "keys that clients must send, separated by commas; empty: none", kind="list"
    )
    admin_key: str = setting(
        "", "key for what changes the server (weights, references, control); empty: loopback only"
    )
    cors_origins: str = setting(
        "", "origins whose pages may call the server, separated by commas; * is any", kind="list"
    )
    allowed_hosts: str = setting(
        "",
        "Host headers that are answered, separated by commas; empty: local names when host is a "
        "loopback address, else any",
        kind="list",
    )
    allowed_paths: str = setting(
        "",
        "directories whose recordings and weights requests may name, separated by the system's "
        "path separator; recordings may be in the voices directory, too",
        kind="paths",
    )
    control: bool = setting(False, "answer /control?command=restart and exit")
    max_body_bytes: int = setting(
        12 << 20, "size of a request's body", minimum=1024, maximum=1 << 30
    )
    max_json_bytes: int = setting(
        256 << 10, "size of a JSON body that brings no audio", minimum=1024, maximum=1 << 30
    )
    header_timeout_s: float = setting(
        10.0, "seconds for a client to send its headers", minimum=0.1, maximum=3600.0
    )
    body_timeout_s: float = setting(
        30.0, "seconds for a client to send its body", minimum=0.1, maximum=3600.0
    )
    send_timeout_s: float = setting(
        20.0, "seconds that a client may not read before it is cut off", minimum=0.1, maximum=3600.0
    )
    max_buffer_bytes: int = setting(
        64 << 20,
        "audio kept for one client that reads slowly; past it the client is cut off",
        minimum=1 << 16,
        maximum=1 << 32,
    )
    max_connections: int = setting(
        2048, "open connections of one worker", minimum=1, maximum=1_000_000
    )
    request_timeout_s: float = setting(
        600.0, "longest time for one request, unless it asks for less", minimum=1.0, maximum=86400.0
    )
    log_text: bool = setting(False, "write the texts of requests to the log")

    def __post_init__(self) -> None:
        """Check every setting against its declaration."""
        check_settings(self)


@dataclass(frozen=True)
class QueueConfig:
    """What the dispatcher lets in."""

    max_waiting: int = setting(
        256, "requests that wait for an engine", minimum=1, maximum=1_000_000
    )
    max_waiting_bytes: int = setting(
        64 << 20, "bytes of requests that wait", minimum=1 << 16, maximum=1 << 36
    )
    max_per_key: int = setting(
        16, "unfinished requests of one API key or address; 0: no limit", minimum=0, maximum=100_000
    )
    max_recording_bytes: int = setting(
        512 << 20,
        "decoded reference recordings kept for later requests",
        minimum=1 << 20,
        maximum=1 << 40,
    )
    running_per_engine: int = setting(
        0,
        "requests an engine is given at once; 0: twice the segments it decodes together",
        minimum=0,
        maximum=100_000,
    )
    quarantine_s: float = setting(
        600.0, "how long a request that killed two engines is refused", minimum=0.0, maximum=86400.0
    )

    def __post_init__(self) -> None:
        """Check every setting against its declaration."""
        check_settings(self)


@dataclass(frozen=True)
class SupervisorConfig:
    """How processes are kept alive."""

    devices: str = setting(
        "auto",
        "one engine on each, separated by commas: cpu, cuda:0; auto: every GPU, or cpu",
        kind="list",
    )
    engine_module: str = setting(
        "sovits_serve.engine.process", "module that is run as an engine; others are for tests"
    )
    start_timeout_s: float = setting(
        60.0, "for a process to say its first word", minimum=0.1, maximum=3600.0
    )
    load_timeout_s: float = setting(
        300.0, "for loading, anew with each sign of progress", minimum=0.1, maximum=86400.0
    )
    max_load_s: float = setting(900.0, "for loading in all", minimum=0.1, maximum=86400.0)
    warm_timeout_s: float = setting(
        300.0, "for first syntheses, anew with each voice", minimum=0.1, maximum=86400.0
    )
    step_timeout_s: float = setting(
        60.0,
        "for one step of an engine, and between its signs of life",
        minimum=0.1,
        maximum=3600.0,
    )
    ping_timeout_s: float = setting(
        15.0, "between signs of life of an HTTP worker or dispatcher", minimum=0.5, maximum=3600.0
    )
    drain_timeout_s: float = setting(
        30.0, "for finishing what runs when the server stops", minimum=0.0, maximum=86400.0
    )
    shutdown_delay_s: float = setting(
        0.0,
        "go on accepting after SIGTERM, not ready, for load balancers",
        minimum=0.0,
        maximum=600.0,
    )
    max_restarts: int = setting(
        5, "restarts of one process within restart_window_s", minimum=0, maximum=1000
    )
    restart_window_s: float = setting(
        600.0, "how long a restart counts", minimum=1.0, maximum=86400.0
    )
    soft_memory: str = setting(
        "",
        "memory of an engine's process (8GiB) past which it is replaced without loss",
        kind="memory",
    )
    hard_memory: str = setting(
        "", "memory of an engine's process past which it is replaced at once", kind="memory"
    )
    soft_device_memory: str = setting("", "as soft_memory, of the device", kind="memory")
    hard_device_memory: str = setting("", "as hard_memory, of the device", kind="memory")
    replacement: str = setting(
        "auto",
        "start-first: the new engine loads beside the old one; stop-first: it waits for its memory; "
        "auto: start-first where both fit",
        choices=("auto", "start-first", "stop-first"),
    )

    def __post_init__(self) -> None:
        """Check every setting against its declaration."""
        check_settings(self)


@dataclass(frozen=True)
class LogConfig:
    """What every process writes to standard error."""

    log_level: str = setting(
        "info",
        "what is logged: this and all that is graver",
        choices=("debug", "info", "warning", "error"),
    )
    log_json: bool = setting(False, "one JSON object per line")

    def __post_init__(self) -> None:
        """Check every setting against its declaration."""
        check_settings(self)


@dataclass(frozen=True)
class EngineSetup:
    """What an engine process is told."""

    engine: EngineConfig  # its device is one device
    model: ModelConfig


@dataclass(frozen=True)
class WorkerSetup:
    """What an HTTP worker is told."""

    api: ApiConfig
    frontend: FrontendConfig
    model: ModelConfig
    sockets: tuple[int, ...] = ()  # inherited listening sockets, as file descriptors


@dataclass(frozen=True)
class ServerConfig:
    """Everything; each process gets its part."""

    endpoint: str = setting(
        "",
        "where dispatcher, engines and HTTP workers meet: ipc:///path or tcp://host:port; empty: a "
        "socket in a directory of this user (serve: of this process)",
    )
    token: str = setting("", "secret that all who meet at a tcp endpoint share")
    model: ModelConfig = ModelConfig()
    api: ApiConfig = ApiConfig()
    queue: QueueConfig = QueueConfig()
    supervisor: SupervisorConfig = SupervisorConfig()
    engine: EngineConfig = EngineConfig()
    frontend: FrontendConfig = FrontendConfig()
    log: LogConfig = LogConfig()


Section = (
    ModelConfig
    | ApiConfig
    | QueueConfig
    | SupervisorConfig
    | EngineConfig
    | FrontendConfig
    | LogConfig
)
