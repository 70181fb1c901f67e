"""One frozen, typed, tagged struct per message between the processes, grouped by receiver.

HTTP workers, engines and the supervisor each hold one connection to the dispatcher
(``transport.py``); what a supervisor and its children say to each other over pipes is in
``reports.py``. This module imports nothing else of the package and holds no logic; ranges are
checked by the receiver (``engine/request.py``). Units are in the names; audio is little-endian;
times are durations, because clocks of two processes have nothing in common.
"""

from typing import Literal

import msgspec

PROTOCOL_VERSION = 1
Role = Literal["worker", "engine", "supervisor"]
Priority = Literal["interactive", "batch"]


class Message(msgspec.Struct, frozen=True, tag=True):
    """Base of everything that crosses a process boundary."""


class TextSpan(msgspec.Struct, frozen=True):
    """A run of phonemes whose text has features (Chinese, read by BERT)."""

    start: int  # index of the run's first phoneme within its segment
    text: str  # normalised text, one character per entry of phonemes_per_character
    phonemes_per_character: tuple[int, ...]


class PhonemizedText(msgspec.Struct, frozen=True):
    """One segment as the models read it."""

    phone_ids: tuple[int, ...]
    spans: tuple[TextSpan, ...] = ()
    text: str = ""  # what the segment was made from; for messages and logs only
    lead_pause_s: float = 0.0  # silence before the segment
    pause_s: float | None = None  # silence after it; None: the request's segment_pause_s


class ReferenceAudio(msgspec.Struct, frozen=True):
    """A decoded recording of the voice: float32 samples, channel after channel.

    Between processes a request names its recordings by ``key`` and leaves ``samples`` empty; the
    samples went ahead in ``PutRecording``.
    """

    samples: bytes
    rate_hz: int
    num_channels: int = 1
    key: str = ""  # SHA-256 of the content, in hex


class Reference(msgspec.Struct, frozen=True):
    """Who speaks: a recording, optionally what it says, and further recordings of the voice.

    Without ``prompt_text`` the model gets no prompt tokens (only the style of the voice).
    ``auxiliary`` recordings are averaged into the style.
    """

    audio: ReferenceAudio
    prompt_text: PhonemizedText | None = None
    auxiliary: tuple[ReferenceAudio, ...] = ()


class SamplingParams(msgspec.Struct, frozen=True):
    """How semantic tokens are drawn; the defaults are upstream's."""

    seed: int = 0
    top_k: int | None = 15
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.35
    max_tokens: int | None = None  # per segment; None: the checkpoint's own limit


# HTTP worker -> dispatcher -> engine.


class SynthesisRequest(Message, frozen=True, tag=True):
    """One API call's worth of speech."""

    request_id: str
    segments: tuple[PhonemizedText, ...]
    reference: Reference
    sampling: SamplingParams = SamplingParams()
    speed: float = 1.0
    noise_scale: float = 0.5
    segment_pause_s: float = 0.3  # silence after each segment (the last too) with none of its own
    is_streaming: bool = False  # small audio windows first
    # Of a stream at normal speed: its first audio is made of so many tokens; 0: of all of the
    # segment's; None: as the engine is set.
    early_tokens: int | None = None
    model: str = ""  # which of the loaded models; "": the engine's first
    timeout_s: float | None = None  # fails with deadline_exceeded when not finished by then


class Abort(Message, frozen=True, tag=True):
    """The client has left. Answered with ``Aborted`` unless the request has ended already."""

    request_id: str


class PutRecording(Message, frozen=True, tag=True):
    """A recording that later requests on this connection name by its key."""

    key: str
    audio: ReferenceAudio  # with samples


# Anyone <-> dispatcher: the first message on a connection, and its answer.


class Hello(Message, frozen=True, tag=True):
    """Who connects. The connection is closed unless version and token fit."""

    role: Role
    name: str  # of a worker or engine, unique among its kind
    pid: int
    version: int = PROTOCOL_VERSION
    token: str = ""  # needed on TCP endpoints


class Welcome(Message, frozen=True, tag=True):
    """The dispatcher accepts the connection."""

    version: int = PROTOCOL_VERSION


# HTTP worker -> dispatcher.


class Submit(Message, frozen=True, tag=True):
    """A request for the queue. Ends in exactly one Finished, Failed or Aborted."""

    request_id: str
    payload: bytes  # the SynthesisRequest as codec.encode_body gives it, recordings by key only
    recordings: tuple[str, ...]  # keys that the payload names
    model: str = ""  # "": whatever the default is when it is admitted
    priority: Priority = "interactive"
    key: str = ""  # whose request: API key's name or client address; for fairness
    timeout_s: float = 120.0
    cost: int = 1  # phonemes to speak; how loads are compared


class SwitchModel(Message, frozen=True, tag=True):
    """Make other weights the default, on all engines or none. Answered by CallDone, CallFailed."""

    call_id: str
    t2s: str | None = None  # absolute path; None: as it is now
    sovits: str | None = None


class SwitchReference(Message, frozen=True, tag=True):
    """Make another recording the default reference of requests that bring none."""

    call_id: str
    recording: str  # key, sent before by PutRecording
    name: str  # for people


class GetMetrics(Message, frozen=True, tag=True):
    """Ask for the Prometheus text. Answered by ``Metrics``."""

    call_id: str


class HttpSample(msgspec.Struct, frozen=True, array_like=True):
    """One HTTP response that is over."""

    route: str  # the route's template, never a raw path
    status: int
    duration_s: float
    outcome: str  # complete, disconnected, broken (audio cut off), refused


class Observe(Message, frozen=True, tag=True):
    """What a worker saw since the last one; about once a second."""

    responses: tuple[HttpSample, ...]


class StatusSeen(Message, frozen=True, tag=True):
    """The worker has taken in a Status and serves new requests by it."""

    serial: int


# Dispatcher -> HTTP worker.


class CallDone(Message, frozen=True, tag=True):
    """A call did all it was asked, everywhere."""

    call_id: str


class CallFailed(Message, frozen=True, tag=True):
    """A call failed and left everything as it was."""

    call_id: str
    code: str
    message: str


class Metrics(Message, frozen=True, tag=True):
    """All metrics in the Prometheus text format."""

    call_id: str
    text: bytes


ServerState = Literal["starting", "ready", "draining", "failed"]
EngineState = Literal["starting", "loading", "warming", "ready", "draining", "backoff", "failed"]


class ModelInfo(msgspec.Struct, frozen=True):
    """A model that requests can name."""

    name: str
    version: str  # v1, v2, v2Pro, ...
    symbol_version: str  # v1 or v2: which table phonemes become ids by
    sample_rate_hz: int
    can_read_chinese: bool = False


class EngineStatus(msgspec.Struct, frozen=True):
    """One engine as supervisor and dispatcher see it."""

    name: str  # its place, e.g. "cuda:0"; replacements keep it
    state: EngineState
    device: str = ""
    pid: int = 0
    progress: float = 0.0  # 0 to 1 while loading or warming
    detail: str = ""  # what it is doing, or why it failed
    num_starts: int = 0
    num_steps: int = 0
    step_age_s: float = 0.0  # since its loop last turned
    num_running: int = 0
    num_waiting: int = 0
    rss_bytes: int = 0
    device_bytes: int = 0  # of the device's memory, as the driver says
    device_limit_bytes: int = 0
    models: tuple[str, ...] = ()
    last_lines: tuple[str, ...] = ()  # of its log, when it failed


class QueueStatus(msgspec.Struct, frozen=True):
    """What waits and runs."""

    num_waiting: int = 0
    num_running: int = 0
    waiting_bytes: int = 0
    max_waiting: int = 0
    num_finished: int = 0
    num_failed: int = 0
    num_refused: int = 0
    wait_p50_s: float = 0.0  # of the last minute
    first_audio_p50_s: float = 0.0
    first_audio_p95_s: float = 0.0
    audio_s_per_s: float = 0.0


class Defaults(msgspec.Struct, frozen=True):
    """What requests get that do not say."""

    model: str = ""
    recording: str = ""  # key of the default reference set by SwitchReference; "": the voice's own
    recording_name: str = ""


class Status(Message, frozen=True, tag=True):
    """The state of everything; sent at each change and once a second."""

    serial: int  # grows by one with each change of ``defaults`` or ``models``
    state: ServerState
    reason: str  # for people: why it is not ready
    engines: tuple[EngineStatus, ...] = ()
    queue: QueueStatus = QueueStatus()
    models: tuple[ModelInfo, ...] = ()
    defaults: Defaults = Defaults()
    retry_after_s: float = 1.0


# Dispatcher -> engine, beside SynthesisRequest, Abort and PutRecording.


class DropRecording(Message, frozen=True, tag=True):
    """No later request names this recording."""

    key: str


class LoadModel(Message, frozen=True, tag=True):
    """Load weights beside those there are. Answered by ModelLoaded or ModelFailed."""

    model: str
    t2s: str  # absolute paths
    sovits: str


class UnloadModel(Message, frozen=True, tag=True):
    """Forget a model once its last request has ended."""

    model: str


# Supervisor -> engine (by pipe), and plain users of EngineCore.


class Drain(Message, frozen=True, tag=True):
    """Finish what was accepted, accept nothing more."""


# Engine -> dispatcher.


class EngineReady(Message, frozen=True, tag=True):
    """The engine takes work. Sent once per connection, after Welcome."""

    device: str
    models: tuple[ModelInfo, ...]
    max_running: int  # segments it decodes together
    t2s: str = ""  # paths of the first model, where switching begins
    sovits: str = ""
    max_models: int = 2  # models it keeps at once


class EngineLoad(Message, frozen=True, tag=True):
    """How busy the engine is; a few times a second."""

    num_steps: int
    num_running: int  # segments in the batch
    num_waiting: int  # requests not begun


class EngineDraining(Message, frozen=True, tag=True):
    """The engine finishes what it has; send it no more."""


class ModelLoaded(Message, frozen=True, tag=True):
    """LoadModel is done."""

    info: ModelInfo


class ModelFailed(Message, frozen=True, tag=True):
    """LoadModel failed; the engine serves on as before."""

    model: str
    code: str
    message: str


# Engine -> dispatcher -> HTTP worker.


class AudioChunk(Message, frozen=True, tag=True):
    """Audio of one request, in order, without gaps."""

    request_id: str
    index: int  # 0, 1, 2, ...
    segment: int  # the segment this audio belongs to
    sample_rate_hz: int
    pcm: bytes  # int16, mono


class Finished(Message, frozen=True, tag=True):
    """Terminal: all audio of the request has been sent."""

    request_id: str
    num_samples: int
    num_tokens: tuple[int, ...]  # per segment


class Failed(Message, frozen=True, tag=True):
    """Terminal: the request failed or was refused; what was sent before is a prefix."""

    request_id: str
    code: str
    message: str
    retry_after_s: float | None = None


class Aborted(Message, frozen=True, tag=True):
    """Terminal: the request was aborted on demand."""

    request_id: str


# Supervisor <-> dispatcher.


class Fleet(Message, frozen=True, tag=True):
    """Supervisor -> dispatcher: what it runs; at each change and once a second."""

    state: ServerState
    reason: str
    engines: tuple[EngineStatus, ...]
    num_workers: int = 0
    num_worker_starts: int = 0
    # It will drain soon: not ready for load balancers, and accepts requests as before.
    is_leaving: bool = False


class QueueReport(Message, frozen=True, tag=True):
    """Dispatcher -> supervisor: what is unfinished; twice a second, and at once when it drains."""

    num_waiting: int
    num_running: int
    engines: tuple[str, ...]  # names of those connected and ready


class Keepsake(Message, frozen=True, tag=True):
    """What a dispatcher wants its successor to know.

    The supervisor keeps the last one, and gives it to the next dispatcher before anything else.
    """

    t2s: str = ""  # the default weights, if they were switched: paths, and the files' state
    sovits: str = ""
    state: tuple[int, ...] = ()
    reference: PutRecording | None = None  # the default reference, if there is one
    reference_name: str = ""


TERMINAL = (Finished, Failed, Aborted)

AnyMessage = (
    SynthesisRequest
    | Abort
    | PutRecording
    | Hello
    | Welcome
    | Submit
    | SwitchModel
    | SwitchReference
    | GetMetrics
    | Observe
    | StatusSeen
    | CallDone
    | CallFailed
    | Metrics
    | Status
    | DropRecording
    | LoadModel
    | UnloadModel
    | Drain
    | EngineReady
    | EngineLoad
    | EngineDraining
    | ModelLoaded
    | ModelFailed
    | AudioChunk
    | Finished
    | Failed
    | Aborted
    | Fleet
    | QueueReport
    | Keepsake
)
