"""What was measured of one server under one kind of load, and what of it is wrong."""

from dataclasses import asdict, dataclass, field
from typing import Literal

Kind = Literal["sleep", "pyloop", "gilhold"]
KINDS: tuple[Kind, ...] = ("sleep", "pyloop", "gilhold")

LIVEZ_LIMIT_S = 2.0
LEAVE_LIMIT_S = 1.0
STOP_SERVER_LIMIT_S = 10.0
STOP_ENGINES_LIMIT_S = 3.0


@dataclass
class Result:
    """The figures of one run; filled in as they come, None where the run did not get so far."""

    server: str
    version: str
    kind: Kind
    load_s: float
    command: str = ""
    machine_load: float = 0.0  # its load average before; on two cores, 0 is quiet
    livez_s: float | None = None  # from the server's start to its first 200
    livez_worst_s: float = 0.0  # slowest answer while the engines loaded
    num_not_ready: int = 0  # answers 503 of /readyz while they loaded
    progress: set[float] = field(default_factory=set)  # that /readyz told
    ready_s: float | None = None
    num_starts: dict[str, int] = field(default_factory=dict)  # of engines, before one is killed
    num_loads: dict[str, int] = field(default_factory=dict)
    num_workers_seen: int | None = None  # distinct worker processes until then
    num_right: int | None = None  # of the concurrent requests
    num_requests: int = 0
    digest: str = ""  # of all their audio: the same under every server
    leave_s: list[float] = field(
        default_factory=list
    )  # until the slot of a client that left is free
    broken_end: str = ""  # how the body ends whose engine is killed: broken or complete
    served_after: bool | None = None  # the other engine answers after that
    stop_server_s: float | None = None
    stop_engines_s: float | None = None
    orphans: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    log: str = ""  # last lines, when something is wrong

    def expect(self, is_right: bool, problem: str) -> None:
        """Note a problem, once, unless all is right."""
        if not is_right and problem not in self.problems:
            self.problems.append(problem)

    @property
    def leave_p95_s(self) -> float | None:
        """Return how long the slot of a client that left stays taken, 95th percentile."""
        if not self.leave_s:
            return None
        return sorted(self.leave_s)[max(0, -(-len(self.leave_s) * 95 // 100) - 1)]

    def as_json(self) -> dict[str, object]:
        """Return everything, for a file."""
        figures = {"progress": sorted(self.progress), "leave_p95_s": self.leave_p95_s}
        return {**asdict(self), **figures}
