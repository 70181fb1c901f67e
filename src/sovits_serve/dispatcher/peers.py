"""Who is connected, and the requests that are under way. State without policy; seconds, bytes."""

from dataclasses import dataclass, field
from typing import Protocol

from sovits_serve.dispatcher.recordings import SentRecordings
from sovits_serve.protocol.messages import EngineLoad, Message, ModelInfo, Priority

# What may share a lane of the queue: priority, model, and whether an engine died under it.
LaneKey = tuple[Priority, str, bool]


class Peer(Protocol):
    """A connection, as far as policy is concerned."""

    def send(self, message: Message) -> None:
        """Send a message; dropped if the connection is over."""

    def send_body(self, body: bytes) -> None:
        """Send a message that is encoded already."""

    @property
    def unsent_bytes(self) -> int:
        """Return how much waits for the peer to read."""

    def close(self, reason: str) -> None:
        """End the connection; the dispatcher hears of it as of any other loss."""


@dataclass(eq=False, slots=True)
class Worker:
    """A connected HTTP worker."""

    name: str
    pid: int
    peer: Peer
    tickets: dict[str, "Ticket"] = field(default_factory=dict)  # its unfinished requests
    seen_serial: int = 0


@dataclass(eq=False, slots=True)
class Engine:
    """A connected engine."""

    name: str  # its place and the number of its start: "cuda:0#3"
    pid: int
    peer: Peer
    sent: SentRecordings
    is_ready: bool = False
    is_draining: bool = False
    device: str = ""
    capacity: int = 1  # requests it is given at once
    max_models: int = 1
    models: dict[str, ModelInfo] = field(default_factory=dict)
    loading: set[str] = field(default_factory=set)  # LoadModel sent, no answer yet
    running: dict[str, "Ticket"] = field(default_factory=dict)
    outstanding_cost: int = 0
    suspect: "Ticket | None" = None
    load: EngineLoad | None = None
    busy_since_s: float = 0.0
    num_failures_in_row: int = 0
    num_ejections: int = 0
    ejected_until_s: float = 0.0
    is_probing: bool = False  # was ejected, and has not finished a request since

    @property
    def place(self) -> str:
        """Return where it runs; replacements keep it."""
        return self.name.partition("#")[0]


@dataclass(eq=False, slots=True)
class Ticket:
    """An admitted request, until its terminal message has been sent and no engine holds it."""

    request_id: str
    worker: Worker | None  # None once its connection is lost
    payload: bytes
    recordings: tuple[str, ...]
    model: str
    priority: Priority
    key: str
    cost: int
    arrival_s: float
    deadline_s: float
    number: int = 0  # order of admission
    lane: LaneKey | None = None  # where it waits
    engine: Engine | None = None  # where it runs
    num_crashes: int = 0  # engines that died under it
    not_before_s: float = 0.0  # no engine gets it earlier
    was_started: bool = False
    last_chunk_s: float | None = None
    is_aborting: bool = False
    is_over: bool = False  # its terminal message has been sent

    @property
    def lane_key(self) -> LaneKey:
        """Return the lane it belongs to."""
        return self.priority, self.model, self.num_crashes > 0
