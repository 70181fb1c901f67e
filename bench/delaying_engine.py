"""The fake engine of the tests, but each request takes a fixed time, alone or among many.

What a server adds to that time is its overhead; an engine that works in steps would add its own.

    BENCH_DELAY_MS   from a request's arrival in the engine to its audio
    BENCH_WARM_S     how long warming up takes
    BENCH_HELD       file that gets, at the end, how long requests were held in truth: ms, sorted
"""

import heapq
import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sovits_serve.engine.loop import run_engine
from sovits_serve.protocol.messages import Message, SynthesisRequest
from sovits_serve.protocol.reports import Report, Setup
from tests.fake_engine import FakeHost

_EARLY_S = 0.0005  # timers are late by about that


class DelayingHost(FakeHost):
    """Holds each request for a while, then answers it at once."""

    def __init__(self, setup: Setup, wake: Callable[[], None]) -> None:
        super().__init__(setup, wake)
        self._delay_s = float(os.environ.get("BENCH_DELAY_MS", "0")) / 1000
        self._warm_s = float(os.environ.get("BENCH_WARM_S", "0"))
        self._held_path = os.environ.get("BENCH_HELD", "")
        self._held: list[tuple[float, int, SynthesisRequest]] = []
        self._numbers = itertools.count()
        self._held_ms: list[float] = []
        self._wake = wake
        self._changed = threading.Condition()
        threading.Thread(target=self._watch, daemon=True).start()

    def warm_up(self, report: Callable[[Report], None]) -> None:
        super().warm_up(report)
        time.sleep(self._warm_s)

    def add(self, request: SynthesisRequest) -> None:
        due_s = time.monotonic() + self._delay_s
        with self._changed:
            heapq.heappush(self._held, (due_s, next(self._numbers), request))
            if self._held[0][2] is request:
                self._changed.notify()

    def has_work(self) -> bool:
        return self._is_due() or super().has_work()

    def step(self) -> list[Message]:
        while self._is_due():
            with self._changed:
                due_s, _, request = heapq.heappop(self._held)
            super().add(request)
            self._held_ms.append(1000 * (time.monotonic() - due_s + self._delay_s))
        return super().step()

    def close(self) -> None:
        super().close()
        if self._held_path:
            Path(self._held_path).write_text(json.dumps(sorted(self._held_ms)))

    def _is_due(self) -> bool:
        return bool(self._held) and self._held[0][0] <= time.monotonic()

    def _watch(self) -> None:
        """Wake the loop when the next request is due."""
        while True:
            with self._changed:
                if not self._held:
                    self._changed.wait()
                    continue
                wait_s = self._held[0][0] - time.monotonic()
                if wait_s > _EARLY_S and self._changed.wait(wait_s):
                    continue  # an earlier one has come
            self._wake()
            time.sleep(_EARLY_S)


if __name__ == "__main__":
    run_engine(DelayingHost)
