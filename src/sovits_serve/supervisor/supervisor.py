"""The supervisor: starts dispatcher, HTTP workers and engines, and keeps them alive. START HERE.

Everything happens on one event loop that never waits for a process: reports, log lines, ends and
signals come as events, ``place.py`` decides, ``crew.py`` carries out. This module adds what
concerns all of them: the order of starting and stopping, the fleet's state, memory.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace

from sovits_serve.config import ServerConfig
from sovits_serve.errors import SetupError
from sovits_serve.protocol.messages import Fleet, QueueReport
from sovits_serve.supervisor.child import STOP, Command, Steps
from sovits_serve.supervisor.crew import Crew, Slot
from sovits_serve.supervisor.devices import resolve_devices
from sovits_serve.supervisor.dispatcher_link import DispatcherLink
from sovits_serve.supervisor.endpoint_watch import EndpointWatch
from sovits_serve.supervisor.file_limit import raise_file_limit
from sovits_serve.supervisor.fleet import describe_fleet, state_of
from sovits_serve.supervisor.log_relay import LogRelay, relayed_log
from sovits_serve.supervisor.memory import MemoryLimits, MemoryProbe, MemorySample, MemoryWatch
from sovits_serve.supervisor.plan import MODULES, TIMING, Modules, Plan, Post, Timing
from sovits_serve.supervisor.signals import handle_signals, has_terminal
from sovits_serve.supervisor.sockets import (
    bind_http,
    check_endpoint_is_free,
    close_all,
    own_endpoint,
    url_of,
)
from sovits_serve.supervisor.systemd import Notifier

_log = logging.getLogger("sovits_serve.supervisor")
# A drained engine ends at once; one that does not is ended.
_DRAINED_S = 1.0
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def run_supervisor(
    config: ServerConfig,
    *,
    with_http: bool,
    on_ready: Callable[[str], None] | None = None,
    on_fleet: Callable[[Fleet], None] | None = None,
    modules: Modules = MODULES,
    timing: Timing = TIMING,
) -> int:
    """Run the server until it is told to stop, or cannot go on; return the exit code.

    Must be called in the main thread.

    Args:
        config: everything.
        with_http: also run HTTP workers.
        on_ready: called once, with the URL (without HTTP: the endpoint), when the first engine is
            ready and somebody serves HTTP.
        on_fleet: called with each state of the fleet as it is published.
        modules: what is run; for tests.
        timing: the supervisor's own pace; for tests.

    Raises:
        ConfigError: the port or the endpoint is in use, or a device is none. Nothing was started.
    """
    from sovits_serve.config_sources import default_endpoint, export_log_config

    devices = tuple(resolve_devices(config.supervisor.devices))
    export_log_config(config.log)
    with contextlib.ExitStack() as stack:
        sockets = bind_http(config.api.host, config.api.port) if with_http else []
        stack.callback(close_all, sockets)
        url = url_of(config.api.host, sockets) if with_http else ""
        if config.endpoint:
            endpoint = config.endpoint
        else:
            endpoint = stack.enter_context(own_endpoint()) if with_http else default_endpoint()
        check_endpoint_is_free(endpoint)
        if os.name != "posix":  # no socket is inherited there: the only worker takes the port
            close_all(sockets)
        plan = Plan(
            config=config,
            endpoint=endpoint,
            devices=devices,
            url=url,
            sockets=tuple(one.fileno() for one in sockets if one.fileno() >= 0),
            modules=modules,
            timing=timing,
        )
        relay = stack.enter_context(relayed_log(_log, config.log))
        if with_http:
            raise_file_limit(config.api.max_connections)
        return asyncio.run(Supervisor(plan, relay, on_ready, on_fleet).run())


class Supervisor:
    """All processes of one server, from the first start to the last end."""

    def __init__(
        self,
        plan: Plan,
        relay: LogRelay,
        on_ready: Callable[[str], None] | None = None,
        on_fleet: Callable[[Fleet], None] | None = None,
    ) -> None:
        self._plan = plan
        self._config = plan.config.supervisor
        self._on_ready = on_ready
        self._on_fleet = on_fleet
        self._crew = Crew(plan.config, plan.timing, self._changed, relay.pass_on)
        self._endpoint = EndpointWatch(plan.endpoint, is_private=not plan.config.endpoint)
        self._dispatcher = self._crew.add(self._dispatcher_post())
        self._workers = [self._crew.add(post) for post in plan.workers()]
        self._engines = [self._crew.add(post) for post in plan.engines()]
        self._link = DispatcherLink(plan.endpoint, plan.config.token, self._on_queue)
        self._limits = MemoryLimits.of(self._config)
        self._memory = MemoryWatch(MemoryProbe(), self._on_memory)
        self._notifier = Notifier()
        self._leave = asyncio.Event()
        self._idle = asyncio.Event()
        self._change = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None
        self._rolling: asyncio.Task[None] | None = None
        self._has_terminal = has_terminal()
        self._exit_code = 0
        self._is_forced = False
        self._is_leaving = self._is_draining = False
        self._is_hangup_told = False
        self._has_begun = self._was_ready = self._is_change_due = False

    async def run(self) -> int:
        """Start everything, keep it alive, stop it; return the exit code."""
        with handle_signals(self._on_stop_signal, self._on_hangup):
            leaving = asyncio.create_task(self._leave.wait())
            always = {
                asyncio.create_task(self._tick_forever()),
                asyncio.create_task(self._link.run()),
            }
            try:
                self._crew.apply(self._dispatcher, self._dispatcher.place.begin())
                await asyncio.wait({leaving, *always}, return_when=asyncio.FIRST_COMPLETED)
                for task in always:
                    if task.done():
                        task.result()  # a bug: end loudly, rather than run without a watch
                self._stopping = asyncio.create_task(self._stop())
                if self._is_forced:
                    self._stopping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._stopping
            finally:
                await self._crew.close()
                rolling = {self._rolling} if self._rolling is not None else set()
                tasks = {leaving, *always, *rolling}
                for ended in tasks:
                    ended.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return self._exit_code

    # Turns of the clock.

    async def _tick_forever(self) -> None:
        tick_s = self._plan.timing.tick_s
        last, publish_due = time.monotonic(), 0.0
        while True:
            await asyncio.sleep(tick_s)
            now = time.monotonic()
            if now - last > 2 * tick_s:
                # Stopped, swapped out or asleep: what children said meanwhile was not heard.
                self._crew.forgive(now - last - tick_s)
            last = now
            self._crew.tick()
            if now >= publish_due:
                publish_due = now + self._plan.timing.publish_s
                self._publish()
                self._watch_endpoint()
                self._memory.ask(
                    [c.pid for s in self._engines for c in s.children.values() if c.pid]
                )
                self._notify()

    def _dispatcher_post(self) -> Post:
        """Return its post; the socket's directory may be gone by the time of a start."""
        post = self._plan.dispatcher()

        def make_command(name: str) -> Command:
            self._endpoint.mend()  # where that fails, the dispatcher's failure is told
            return post.make_command(name)

        return replace(post, make_command=make_command)

    def _watch_endpoint(self) -> None:
        """Replace a dispatcher whose socket is gone, so that everybody can meet again."""
        place = self._dispatcher.place
        life = place.life
        is_serving = life is not None and life.state == "ready" and not life.doom
        if self._leave.is_set() or not is_serving or not self._endpoint.is_lost:
            return
        if self._endpoint.mend():  # else those that are connected are served as before
            reason = f"can no longer be reached, {self._plan.endpoint} was removed"
            self._crew.apply(self._dispatcher, place.condemn(reason))

    def _changed(self) -> None:
        """Look at everything once this turn of the loop is over."""
        if not self._is_change_due:
            self._is_change_due = True
            asyncio.get_running_loop().call_soon(self._review)

    def _review(self) -> None:
        self._is_change_due = False
        self._change.set()
        if self._dispatcher.place.is_ready and not self._has_begun and not self._is_leaving:
            self._has_begun = True
            for slot in (*self._workers, *self._engines):
                self._crew.apply(slot, slot.place.begin())
        self._publish()
        if self._leave.is_set():
            return
        self._give_up_if_hopeless()
        has_http = not self._workers or any(slot.place.is_ready for slot in self._workers)
        is_ready = has_http and state_of(self._engines, is_draining=False) == "ready"
        if is_ready and not self._was_ready:
            self._was_ready = True
            self._notifier.send("READY=1", "STATUS=ready")
            if self._on_ready is not None:
                self._on_ready(self._plan.url or self._plan.endpoint)

    def _give_up_if_hopeless(self) -> None:
        dispatcher = self._dispatcher.place
        if (failure := dispatcher.failure) is not None:
            where = self._plan.endpoint
            _log.critical("the server stops: dispatcher failed at %s: %s", where, failure.reason)
            # What worked once was no mistake in the settings.
            self._give_up(SetupError.exit_code if dispatcher.was_ready else failure.exit_code)
            return
        failures = [slot.place.failure for slot in self._workers]
        if failures and (first := failures[0]) is not None and all(failures):
            _log.critical("the server stops: %s failed", self._workers[0].place.name)
            self._give_up(first.exit_code)
            return
        failures = [slot.place.failure for slot in self._engines]
        is_permanent = all(failure is not None and failure.is_permanent for failure in failures)
        if is_permanent and not any(slot.place.was_ready for slot in self._engines):
            assert failures[0] is not None
            _log.critical("the server stops: no engine can be started")
            self._give_up(failures[0].exit_code)

    def _give_up(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._leave.set()

    def _publish(self) -> None:
        fleet = describe_fleet(
            self._engines,
            self._workers,
            is_leaving=self._is_leaving,
            is_draining=self._is_draining,
        )
        self._link.send(fleet)
        if self._on_fleet is not None:
            self._on_fleet(fleet)

    def _notify(self) -> None:
        if self._notifier.has_watchdog:
            self._notifier.send("WATCHDOG=1")
        state = state_of(self._engines, is_draining=self._is_draining)
        if state == "starting" and not self._was_ready:
            self._notifier.send("EXTEND_TIMEOUT_USEC=30000000")
        self._notifier.send(f"STATUS={state}")

    def _on_queue(self, report: QueueReport) -> None:
        if self._is_draining and not report.num_waiting and not report.num_running:
            self._idle.set()

    # Memory.

    def _on_memory(self, sample: MemorySample) -> None:
        for slot in self._engines:
            for number, child in list(slot.children.items()):
                if child.pid in sample.uses:
                    slot.uses[number] = sample.uses[child.pid]
                    self._judge_memory(slot, number, sample)

    def _judge_memory(self, slot: Slot, number: int, sample: MemorySample) -> None:
        life = slot.place.lives[number]
        rss_bytes, device_bytes = slot.memory_of(number, life)
        if reason := self._limits.past_hard(rss_bytes, device_bytes):
            self._crew.apply(slot, slot.place.kill_for_memory(number, reason))
            return
        reason = self._limits.past_soft(rss_bytes, device_bytes)
        if not reason or number != slot.place.current:
            return
        is_start_first = self._config.replacement == "start-first"
        if self._config.replacement == "auto":
            free_bytes = sample.device_free_bytes.get(slot.post.device, 0)
            is_start_first = sample.available_bytes > rss_bytes and (
                slot.post.device == "cpu" or free_bytes > device_bytes
            )
        decisions = slot.place.relieve(is_start_first=is_start_first)
        if decisions:
            _log.warning("%s#%d is replaced: it %s", slot.place.name, number, reason)
        self._crew.apply(slot, decisions)

    # Signals.

    def _on_stop_signal(self, number: signal.Signals) -> None:
        if self._leave.is_set():
            _log.warning("%s again: ending everything now", number.name)
            self._is_forced = True
            self._exit_code = 128 + number
            if self._stopping is not None:
                self._stopping.cancel()
            return
        _log.info("%s: stopping", number.name)
        if state_of(self._engines, is_draining=False) == "failed":
            self._exit_code = SetupError.exit_code
        self._leave.set()

    def _on_hangup(self, number: signal.Signals) -> None:
        if self._has_terminal and not has_terminal():
            # The window that it ran in was closed.
            self._on_stop_signal(number)
        elif self._leave.is_set():
            return
        elif self._rolling is not None and not self._rolling.done():
            if not self._is_hangup_told:
                self._is_hangup_told = True
                _log.warning("SIGHUP: HTTP workers are being replaced already")
        else:
            _log.info("SIGHUP: replacing %d HTTP workers", len(self._workers))
            self._is_hangup_told = False
            self._rolling = asyncio.create_task(self._roll())

    async def _roll(self) -> None:
        """Replace the HTTP workers one after another; each is there before the old one goes."""
        for slot in self._workers:
            self._crew.apply(slot, slot.place.replace(is_start_first=True))
            successor = slot.place.successor
            while slot.place.successor is not None:
                self._change.clear()
                await self._change.wait()
            if successor is None or slot.place.current != successor:
                _log.error("%s: not replaced: %s", slot.place.name, slot.place.trouble)
                return

    # The end.

    async def _stop(self) -> None:
        """Finish what runs, then end workers, engines and dispatcher in this order."""
        self._is_leaving = True
        self._notifier.send("STOPPING=1")
        for slot in self._crew.slots:
            slot.place.stop()
        idle_engines = [slot for slot in self._engines if not slot.place.is_ready]
        self._crew.end_soon(idle_engines, STOP)
        self._publish()
        if self._was_ready and not self._exit_code:
            await asyncio.sleep(self._config.shutdown_delay_s)
        self._is_draining = True
        self._publish()
        deadline = time.monotonic() + self._config.drain_timeout_s
        await self._wait_until_idle(deadline)
        left_s = max(1.0, deadline - time.monotonic())
        worker_steps: Steps = ((signal.SIGTERM, left_s), (_KILL, 5.0))
        await self._crew.end(self._workers, worker_steps)
        told = self._crew.drain(self._engines)
        with contextlib.suppress(TimeoutError):
            ends = asyncio.gather(*(child.wait() for child in told))
            await asyncio.wait_for(ends, _DRAINED_S)
        await self._crew.end(self._engines, STOP)
        await self._crew.end([self._dispatcher], STOP)

    async def _wait_until_idle(self, deadline: float) -> None:
        """Wait until nothing is unfinished, or nobody can tell, or the time is over."""
        while self._link.is_open and not self._idle.is_set():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                _log.warning("requests that were not done in drain_timeout_s are cut off")
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), min(left_s, 0.1))
