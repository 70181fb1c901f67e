"""A dispatcher among fakes: peers that keep what they are sent, a clock that tests move."""

import dataclasses
from dataclasses import dataclass, field

from sovits_serve.config import QueueConfig
from sovits_serve.dispatcher.core import Dispatcher
from sovits_serve.dispatcher.ledger import RETRY_PAUSE_S
from sovits_serve.dispatcher.peers import Engine, Worker
from sovits_serve.metrics import ServerMetrics
from sovits_serve.protocol.codec import decode_body, encode_body
from sovits_serve.protocol.messages import (
    TERMINAL,
    AudioChunk,
    EngineReady,
    EngineState,
    EngineStatus,
    Failed,
    Finished,
    Fleet,
    Keepsake,
    Message,
    ModelInfo,
    PhonemizedText,
    Priority,
    PutRecording,
    Reference,
    ReferenceAudio,
    SamplingParams,
    ServerState,
    Status,
    Submit,
    SynthesisRequest,
)

BASE = ModelInfo("base", "v2", "v2", 32_000)


class FakeClock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@dataclass(eq=False)
class FakePeer:
    """A connection that keeps what is sent over it."""

    sent: list[Message] = field(default_factory=list)
    unsent_bytes: int = 0
    closed: str = ""

    def send(self, message: Message) -> None:
        """Keep a message."""
        self.sent.append(message)

    def send_body(self, body: bytes) -> None:
        """Keep an encoded message."""
        self.sent.append(decode_body(body))

    def close(self, reason: str) -> None:
        """Note that it was closed; tests report the loss."""
        self.closed = reason

    def of(self, *kinds: type[Message]) -> list[Message]:
        """Return the messages of some kinds."""
        return [message for message in self.sent if isinstance(message, kinds)]


def request(
    request_id: str, *, num_phonemes: int = 3, seed: int = 0, recordings: tuple[str, ...] = ()
) -> SynthesisRequest:
    """Return a request as a worker makes it."""
    audio, *auxiliary = (ReferenceAudio(b"", 32_000, key=key) for key in recordings or ("",))
    return SynthesisRequest(
        request_id,
        (PhonemizedText(tuple(range(num_phonemes))),),
        Reference(audio, None, tuple(auxiliary)),
        SamplingParams(seed=seed),
    )


def submit(
    request_id: str,
    *,
    recordings: tuple[str, ...] = (),
    model: str = "",
    priority: Priority = "interactive",
    key: str = "",
    timeout_s: float = 100.0,
    cost: int = 3,
) -> Submit:
    """Return a Submit."""
    payload = encode_body(request(request_id, num_phonemes=cost, recordings=recordings))
    return Submit(request_id, payload, recordings, model, priority, key, timeout_s, cost)


def recording(key: str, size_bytes: int = 400) -> PutRecording:
    """Return a recording under a key."""
    return PutRecording(key, ReferenceAudio(bytes(size_bytes), 32_000, key=key))


def fleet(state: ServerState, reason: str = "", *engines: EngineStatus) -> Fleet:
    """Return what a supervisor says."""
    return Fleet(state, reason, engines)


def engine_status(name: str, state: EngineState, pid: int = 0) -> EngineStatus:
    """Return what a supervisor says of an engine."""
    return EngineStatus(name, state, pid=pid)


class World:
    """A dispatcher, its fake peers, and short ways to make them do things."""

    def __init__(self, *, has_supervisor: bool = False, **settings: int | float) -> None:
        self.clock = FakeClock()
        self.metrics = ServerMetrics()
        self.config = QueueConfig(**settings)  # type: ignore[arg-type]  # by name, of any type
        self.dispatcher = Dispatcher(
            self.config, self.metrics, self.clock, has_supervisor=has_supervisor
        )
        self.peers: dict[Worker | Engine, FakePeer] = {}
        self.num_engines = 0

    def worker(self) -> Worker:
        """Connect an HTTP worker."""
        peer = FakePeer()
        worker = self.dispatcher.add_worker(f"worker-{len(self.peers)}", 1, peer)
        self.peers[worker] = peer
        return worker

    def engine(
        self,
        *,
        place: str = "cpu",
        capacity: int = 2,
        models: tuple[ModelInfo, ...] = (BASE,),
        files: tuple[str, str] = ("", ""),
        max_models: int = 2,
    ) -> Engine:
        """Connect an engine that is ready."""
        self.num_engines += 1
        peer = FakePeer()
        pid = 100 + self.num_engines
        engine = self.dispatcher.add_engine(f"{place}#{self.num_engines}", pid, peer)
        assert engine is not None
        self.peers[engine] = peer
        # Engines of different sizes, odd ones too, in one test.
        config = dataclasses.replace(self.config, running_per_engine=capacity)
        self.dispatcher._config = config
        self.say(engine, EngineReady(place, models, capacity, *files, max_models))
        self.dispatcher.tick()
        return engine

    def supervisor(self, message: Fleet | Keepsake) -> FakePeer:
        """Connect a supervisor that says something."""
        peer = FakePeer()
        self.dispatcher.set_supervisor(peer)
        self.dispatcher.on_supervisor_message(peer, message)
        return peer

    def say(self, peer: Worker | Engine, *messages: Message) -> None:
        """Have a peer say something."""
        for message in messages:
            if isinstance(peer, Worker):
                self.dispatcher.on_worker_message(peer, message)
            else:
                self.dispatcher.on_engine_message(peer, message)

    def submit(self, worker: Worker, *request_ids: str) -> None:
        """Submit plain requests."""
        for request_id in request_ids:
            self.say(worker, submit(request_id))

    def audio(self, engine: Engine, request_id: str, index: int = 0) -> None:
        """Have an engine send a second of audio."""
        self.say(engine, AudioChunk(request_id, index, 0, 1000, bytes(2000)))

    def finish(self, engine: Engine, request_id: str) -> None:
        """Have an engine finish a request."""
        self.say(engine, Finished(request_id, 1000, (25,)))

    def fail(self, engine: Engine, request_id: str, code: str = "engine_error") -> None:
        """Have an engine fail a request."""
        self.say(engine, Failed(request_id, code, "on purpose"))

    def lose(self, *peers: Worker | Engine) -> None:
        """Break connections at the same moment; what that costs is due right afterwards."""
        for peer in peers:
            if isinstance(peer, Worker):
                self.dispatcher.lose_worker(peer)
            else:
                self.dispatcher.lose_engine(peer)
        if any(isinstance(peer, Engine) for peer in peers):
            self.pass_time(RETRY_PAUSE_S)

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now_s += seconds
        self.dispatcher.tick()

    def sent(self, peer: Worker | Engine, *kinds: type[Message]) -> list[Message]:
        """Return what a peer was sent, of some kinds."""
        return self.peers[peer].of(*kinds)

    def given(self, engine: Engine) -> list[str]:
        """Return the ids of the requests that an engine was given, in order."""
        requests = self.sent(engine, SynthesisRequest)
        return [r.request_id for r in requests if isinstance(r, SynthesisRequest)]

    def ends(self, worker: Worker) -> dict[str, str]:
        """Return how the worker's requests ended: a code, or the message's name.

        Raises:
            AssertionError: one ended twice.
        """
        ends: dict[str, str] = {}
        for message in self.sent(worker, *TERMINAL):
            assert isinstance(message, TERMINAL)
            assert message.request_id not in ends, f"{message.request_id} ended twice"
            kind = message.code if isinstance(message, Failed) else type(message).__name__
            ends[message.request_id] = kind
        return ends

    def status(self, worker: Worker) -> Status:
        """Return the last status that a worker was sent."""
        status = self.sent(worker, Status)[-1]
        assert isinstance(status, Status)
        return status

    def check(self) -> None:
        """Assert that the dispatcher is in order."""
        self.dispatcher.ledger.check_integrity()
