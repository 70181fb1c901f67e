"""All places and the processes in them: carries out what the places decide."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import assert_never

from sovits_serve.config import ServerConfig
from sovits_serve.protocol.reports import DrainChild, Heartbeat, Report
from sovits_serve.supervisor.child import AT_ONCE, STUCK, Child, Steps
from sovits_serve.supervisor.lifecycle import ChildLife, Deadlines
from sovits_serve.supervisor.memory import MemoryUse
from sovits_serve.supervisor.place import Decision, Drain, Exit, Kill, Place, Start
from sovits_serve.supervisor.plan import Post, Timing
from sovits_serve.supervisor.restarts import RestartBudget

_log = logging.getLogger("sovits_serve.supervisor")


@dataclass(eq=False)
class Slot:
    """A place with its processes."""

    post: Post
    place: Place
    children: dict[int, Child] = field(default_factory=dict)  # by number of start
    uses: dict[int, MemoryUse] = field(default_factory=dict)

    @property
    def child(self) -> Child | None:
        """Return the process that serves, or is to."""
        number = self.place.current
        return None if number is None else self.children.get(number)

    def memory_of(self, number: int, life: ChildLife) -> tuple[int, int]:
        """Return resident and device memory of a process, as far as they are known."""
        use = self.uses.get(number, MemoryUse())
        device_bytes = life.beat.device_bytes if use.device_bytes is None else use.device_bytes
        return use.rss_bytes, device_bytes


class Crew:
    """Starts, signals and hears the processes. ``on_change`` is called whenever a state changed."""

    def __init__(
        self,
        config: ServerConfig,
        timing: Timing,
        on_change: Callable[[], None],
        on_line: Callable[[str, str], None],
    ) -> None:
        self.slots: list[Slot] = []
        self._config = config
        self._timing = timing
        self._on_change = on_change
        self._write_line = on_line
        self._slot_of: dict[Child, Slot] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, post: Post) -> Slot:
        """Make a place; nothing is started yet."""
        config, clock = self._config, time.monotonic
        supervisor, back_off = config.supervisor, self._timing.back_off
        budget = RestartBudget(
            supervisor.max_restarts, supervisor.restart_window_s, clock, back_off
        )
        deadlines = Deadlines.of(config, is_engine=bool(post.device))
        slot = Slot(post, Place(post.name, deadlines, budget, clock, back_off))
        self.slots.append(slot)
        return slot

    def apply(self, slot: Slot, decisions: Iterable[Decision]) -> None:
        """Carry out what a place decided."""
        for decision in decisions:
            match decision:
                case Start(number):
                    self._start(slot, number)
                case Drain(number):
                    self._drain(slot, slot.children[number])
                case Kill(number, reason, is_urgent):
                    child = slot.children[number]
                    _log.error("%s is ended: it %s", child.name, reason)
                    self._spawn(child.end(AT_ONCE if is_urgent else STUCK))
                case _:
                    assert_never(decision)
            self._on_change()

    def tick(self) -> None:
        """Look at the clock."""
        for slot in self.slots:
            self.apply(slot, slot.place.tick())

    def forgive(self, gap_s: float) -> None:
        """Move all deadlines: for that long this process did not run."""
        for slot in self.slots:
            slot.place.forgive(gap_s)

    async def end(self, slots: Iterable[Slot], steps: Steps) -> None:
        """End all processes of some places, all at the same time."""
        children = [child for slot in slots for child in slot.children.values()]
        await asyncio.gather(*(child.end(steps) for child in children))

    def end_soon(self, slots: Iterable[Slot], steps: Steps) -> None:
        """The same, without waiting for it."""
        self._spawn(self.end(slots, steps))

    def drain(self, slots: Iterable[Slot]) -> list[Child]:
        """Tell engines to finish; return those that were told."""
        told = []
        for slot in slots:
            for number, child in slot.children.items():
                if slot.place.lives[number].was_ready:
                    child.order(DrainChild())
                    told.append(child)
        return told

    async def close(self) -> None:
        """End everything now, and wait for it."""
        for slot in self.slots:
            slot.place.stop()
        await self.end(self.slots, AT_ONCE)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Called by children.

    def on_report(self, child: Child, report: Report) -> None:
        """A process said something."""
        slot = self._slot_of[child]
        life = slot.place.lives.get(child.number)
        before = life.state if life is not None else ""
        self.apply(slot, slot.place.note(child.number, report))
        if life is not None and life.state != before and life.state == "ready":
            _log.info("%s is ready", child.name)
        if not isinstance(report, Heartbeat):
            self._on_change()

    def on_line(self, child: Child, line: str) -> None:
        """A process logged something."""
        self._write_line(child.name, line)

    def on_exit(self, child: Child, end: Exit) -> None:
        """A process has ended."""
        slot = self._slot_of.pop(child)
        del slot.children[child.number]
        slot.uses.pop(child.number, None)
        _log.info("%s (process %d) ended: %s", child.name, child.pid, end.description)
        decisions = slot.place.exited(child.number, end)
        if slot.place.failure is not None:
            _log.error("%s failed: %s", slot.place.name, slot.place.failure.reason)
            for line in slot.place.failure.last_lines[-20:]:
                _log.error("%s's log ends: %s", child.name, line)
        elif slot.place.state == "backoff":
            _log.warning("%s: %s", slot.place.name, slot.place.describe())
        self.apply(slot, decisions)
        self._on_change()

    def _start(self, slot: Slot, number: int) -> None:
        name = f"{slot.place.name}#{number}"
        child = Child(name, number, self)
        slot.children[number] = child
        self._slot_of[child] = slot
        _log.info("%s is started", name)
        self._spawn(child.start(slot.post.make_command(name)))

    def _drain(self, slot: Slot, child: Child) -> None:
        _log.info("%s is drained and will end", child.name)
        if slot.post.kind == "engine":
            child.order(DrainChild())
        else:
            child.send_signal(signal.SIGTERM)

    def _spawn(self, job: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the supervisor failed", exc_info=error)
