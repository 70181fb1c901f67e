"""The admission queue: who waits, in which order, how long, and how many may.

Requests wait in lanes (priority, model, suspect or not), first in first out. Every operation is
O(1) or O(log n) in the number of requests; there are only a handful of lanes. Knows no sockets
and no clock: callers say what time it is.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterable

from sovits_serve.config import QueueConfig
from sovits_serve.dispatcher.peers import LaneKey, Ticket
from sovits_serve.errors import QueueFull, TooManyForKey

# Entries of ended requests are left in the heap of deadlines until they are that many too many.
_MAX_STALE_DEADLINES = 1024


class AdmissionQueue:
    """All unfinished requests; those that no engine has yet wait in lanes."""

    def __init__(self, config: QueueConfig) -> None:
        self._config = config
        self._lanes: dict[LaneKey, OrderedDict[int, Ticket]] = {}
        self._unfinished: dict[int, Ticket] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._num_per_key: dict[str, int] = {}
        self._num_admitted = 0
        self.num_waiting = 0
        self.waiting_bytes = 0

    @property
    def num_running(self) -> int:
        """Return how many unfinished requests engines have."""
        return len(self._unfinished) - self.num_waiting

    def check(self, key: str, size_bytes: int) -> None:
        """Check whether one more request may wait.

        Raises:
            QueueFull: by number or by bytes.
            TooManyForKey: its key has too many unfinished requests.
        """
        config = self._config
        if config.max_per_key and key and self._num_per_key.get(key, 0) >= config.max_per_key:
            raise TooManyForKey(
                f"{config.max_per_key} requests of this client are unfinished; that is the limit "
                "(max_per_key): wait for one of them"
            )
        if self.num_waiting >= config.max_waiting:
            raise QueueFull(
                f"{self.num_waiting} requests wait; that is the limit (max_waiting): try later"
            )
        if self.waiting_bytes + size_bytes > config.max_waiting_bytes:
            raise QueueFull(
                f"requests of {self.waiting_bytes} bytes wait and this one has {size_bytes}; the "
                f"limit (max_waiting_bytes) is {config.max_waiting_bytes}: try later"
            )

    def admit(self, ticket: Ticket) -> None:
        """Let a request in, at the end of its lane."""
        self._num_admitted += 1
        ticket.number = self._num_admitted
        self._unfinished[ticket.number] = ticket
        heapq.heappush(self._deadlines, (ticket.deadline_s, ticket.number))
        if ticket.key:
            self._num_per_key[ticket.key] = self._num_per_key.get(ticket.key, 0) + 1
        self._wait(ticket)

    def put_back(self, tickets: Iterable[Ticket]) -> None:
        """Let requests wait again that an engine had, in front of those that came after them."""
        keys = set()
        for ticket in tickets:
            self._wait(ticket)
            keys.add(ticket.lane_key)
        for key in keys:
            self._lanes[key] = OrderedDict(sorted(self._lanes[key].items()))

    def take(self, ticket: Ticket) -> None:
        """Take a waiting request out of its lane: an engine gets it, or it has ended."""
        assert ticket.lane is not None
        lane = self._lanes[ticket.lane]
        del lane[ticket.number]
        if not lane:
            del self._lanes[ticket.lane]
        ticket.lane = None
        self.num_waiting -= 1
        self.waiting_bytes -= len(ticket.payload)

    def end(self, ticket: Ticket) -> None:
        """Forget a request, wherever it is."""
        if ticket.lane is not None:
            self.take(ticket)
        del self._unfinished[ticket.number]
        if ticket.key:
            self._num_per_key[ticket.key] -= 1
            if not self._num_per_key[ticket.key]:
                del self._num_per_key[ticket.key]
        if len(self._deadlines) > 2 * len(self._unfinished) + _MAX_STALE_DEADLINES:
            self._deadlines = [(t.deadline_s, t.number) for t in self._unfinished.values()]
            heapq.heapify(self._deadlines)

    def heads(self) -> list[Ticket]:
        """Return the first request of each lane, in the order in which they want an engine."""
        heads = [next(iter(lane.values())) for lane in self._lanes.values()]
        if len(heads) > 1:
            heads.sort(key=_order)
        return heads

    def waiting(self) -> list[Ticket]:
        """Return all that wait, in order of admission."""
        waiting = (ticket for lane in self._lanes.values() for ticket in lane.values())
        return sorted(waiting, key=lambda ticket: ticket.number)

    def unfinished(self) -> list[Ticket]:
        """Return all requests without a terminal message."""
        return list(self._unfinished.values())

    def take_expired(self, now_s: float) -> list[Ticket]:
        """Return the unfinished requests whose deadline has passed; each is returned once."""
        expired = []
        while self._deadlines and self._deadlines[0][0] <= now_s:
            _, number = heapq.heappop(self._deadlines)
            ticket = self._unfinished.get(number)
            if ticket is not None:
                expired.append(ticket)
        return expired

    def check_integrity(self) -> None:
        """Assert that counters, lanes and deadlines agree."""
        waiting = self.waiting()
        assert self.num_waiting == len(waiting) <= len(self._unfinished)
        assert self.waiting_bytes == sum(len(ticket.payload) for ticket in waiting)
        assert all(self._unfinished[ticket.number] is ticket for ticket in waiting)
        for key, lane in self._lanes.items():
            assert lane
            assert list(lane) == sorted(lane)
            assert all(t.lane == key == t.lane_key and t.engine is None for t in lane.values())
        num_new = sum(not ticket.was_started for ticket in waiting)
        assert num_new <= self._config.max_waiting
        keys = [ticket.key for ticket in self._unfinished.values() if ticket.key]
        assert self._num_per_key == {key: keys.count(key) for key in keys}
        assert {number for _, number in self._deadlines} >= set(self._unfinished)

    def _wait(self, ticket: Ticket) -> None:
        ticket.lane = ticket.lane_key
        lane = self._lanes.get(ticket.lane)
        if lane is None:
            lane = self._lanes[ticket.lane] = OrderedDict()
        lane[ticket.number] = ticket
        self.num_waiting += 1
        self.waiting_bytes += len(ticket.payload)


def _order(ticket: Ticket) -> tuple[bool, int]:
    return ticket.priority != "interactive", ticket.number
