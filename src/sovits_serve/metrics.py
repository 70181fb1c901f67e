"""Every metric: name, type, labels and help. Rendered by the dispatcher, which sees them all.

Times are intervals of one process's monotonic clock. Labels have few values: never an id, a voice
or a text. A registry of its own, nothing global.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from sovits_serve.protocol.messages import EngineState, HttpSample, ServerState, Status

PREFIX = "sovits_serve"
# Speech is slower than most of what histograms are made for.
BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 13, 20, 30, 60, 120)
# Gaps between chunks, waits and answers without speech are often far shorter.
SHORT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, *BUCKETS_S)
# Labels that come from other processes; past so many different ones they become "other".
_MAX_LABELS = 64


@dataclass(frozen=True)
class Snapshot:
    """What is exported as it is at the moment of asking."""

    status: Status
    num_workers: int = 0  # connected
    num_worker_starts: int = 0
    recording_bytes: int = 0
    num_quarantined: int = 0


class ServerMetrics:
    """Counts what the dispatcher sees; ``render`` gives the Prometheus text."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._labels: dict[str, set[str]] = {}

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_{name}", help_text, labels, registry=self.registry)

        def histogram(name: str, help_text: str, *labels: str, short: bool = False) -> Histogram:
            buckets = SHORT_BUCKETS_S if short else BUCKETS_S
            full_name = f"{PREFIX}_{name}"
            return Histogram(full_name, help_text, labels, registry=self.registry, buckets=buckets)

        self.admitted = counter("requests_admitted_total", "Requests let in.", "priority")
        self._ended = counter("requests_total", "Admitted requests that ended.", "outcome")
        self._rejected = counter("rejected_total", "Requests refused before any work.", "reason")
        self.disconnects = counter(
            "client_disconnects_total", "Requests aborted because their client left.", "phase"
        )
        self.retries = counter("retries_total", "Requests run again: their engine died.")
        self.crashes = counter("engine_crashes_total", "Engines lost with requests on them.")
        self.audio = counter("audio_seconds_total", "Seconds of audio that engines sent.")
        self._busy = counter(
            "engine_busy_seconds_total", "Seconds for which an engine had requests.", "engine"
        )
        self.phonemes = counter("phonemes_total", "Phonemes of admitted requests.")
        self.tokens = counter("semantic_tokens_total", "Semantic tokens of finished requests.")
        self.queue_time = histogram(
            "queue_time_seconds", "From admission to an engine.", short=True
        )
        self.first_audio = histogram("time_to_first_audio_seconds", "From admission to audio.")
        self.chunk_gap = histogram(
            "inter_chunk_gap_seconds", "Between two pieces of a request's audio.", short=True
        )
        self.request_time = histogram("request_duration_seconds", "From admission to the end.")
        self._http = counter(
            "http_requests_total", "HTTP responses that are over.", "route", "status", "outcome"
        )
        self._http_time = histogram(
            "http_request_duration_seconds", "From request to end of response.", "route", short=True
        )
        for priority in ("interactive", "batch"):
            self.admitted.labels(priority)
        for outcome in ("finished", "aborted"):
            self._ended.labels(outcome)
        self.interactive = self.admitted.labels("interactive")
        self.finished = self._ended.labels("finished")

    def ended(self, outcome: str) -> None:
        """Count the end of an admitted request: finished, aborted, or the code of its failure."""
        self._ended.labels(self._bounded("outcome", outcome)).inc()

    def rejected(self, reason: str) -> None:
        """Count a refusal by its code."""
        self._rejected.labels(self._bounded("reason", reason)).inc()

    def add_busy(self, engine: str, seconds: float) -> None:
        """Count the time for which an engine had requests."""
        self._busy.labels(self._bounded("engine", engine)).inc(seconds)

    def observe(self, samples: tuple[HttpSample, ...]) -> None:
        """Count HTTP responses that a worker tells of."""
        for sample in samples:
            route = self._bounded("route", sample.route)
            status = self._bounded("status", str(sample.status))
            outcome = self._bounded("http_outcome", sample.outcome)
            self._http.labels(route, status, outcome).inc()
            self._http_time.labels(route).observe(max(sample.duration_s, 0.0))

    def export(self, snapshot: Callable[[], Snapshot]) -> None:
        """Export what ``snapshot`` returns whenever metrics are asked for, and this process."""
        self.registry.register(_StateCollector(snapshot))
        ProcessCollector(registry=self.registry)

    def render(self) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self.registry)

    def _bounded(self, label: str, value: str) -> str:
        known = self._labels.setdefault(label, set())
        if value not in known:
            if len(known) >= _MAX_LABELS:
                return "other"
            known.add(value)
        return value


class _StateCollector(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        snapshot = self._snapshot()
        yield from _server(snapshot)
        yield from _engines(snapshot.status)

    def describe(self) -> list[Metric]:
        """Called by the registry when it looks for names that are taken."""
        return [*_server(Snapshot(Status(0, "starting", ""))), *_engines(Status(0, "starting", ""))]


def _server(snapshot: Snapshot) -> Iterator[Metric]:
    status = snapshot.status
    queue = status.queue
    values: tuple[tuple[str, str, float], ...] = (
        ("dispatcher_up", "1: the dispatcher answers.", 1),
        ("requests_waiting", "Requests that wait for an engine.", queue.num_waiting),
        ("requests_waiting_bytes", "Size of the requests that wait.", queue.waiting_bytes),
        ("requests_waiting_limit", "Requests that may wait.", queue.max_waiting),
        ("requests_running", "Requests that engines have.", queue.num_running),
        ("recordings_bytes", "Reference recordings kept.", snapshot.recording_bytes),
        ("quarantined_requests", "Poison requests that are refused.", snapshot.num_quarantined),
        ("http_workers", "HTTP workers connected.", snapshot.num_workers),
    )
    for name, help_text, value in values:
        yield GaugeMetricFamily(f"{PREFIX}_{name}", help_text, value)
    yield CounterMetricFamily(
        f"{PREFIX}_http_worker_starts_total", "HTTP workers started.", snapshot.num_worker_starts
    )
    state = GaugeMetricFamily(f"{PREFIX}_state", "1 for the server's state.", labels=["state"])
    for name in get_args(ServerState):
        state.add_metric([name], float(name == status.state))
    yield state


def _engines(status: Status) -> Iterator[Metric]:
    def gauge(name: str, help_text: str, *more: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{PREFIX}_{name}", help_text, labels=["engine", *more])

    state = gauge("engine_state", "1 for the engine's state.", "state")
    age = gauge("engine_last_step_age_seconds", "Since the engine's loop last turned.")
    memory = gauge("gpu_memory_bytes", "Memory of the device: used, and what it may use.", "kind")
    rss = gauge("engine_resident_memory_bytes", "Resident memory of the engine's process.")
    running = gauge("engine_running", "Segments in the engine's batch.")
    waiting = gauge("engine_waiting", "Requests the engine has not begun.")
    restarts = CounterMetricFamily(
        f"{PREFIX}_engine_restarts_total", "Starts after the first.", labels=["engine"]
    )
    steps = CounterMetricFamily(
        f"{PREFIX}_engine_steps_total", "Steps of the engine's loop.", labels=["engine"]
    )
    # During a swap two engines share a place; the one in service is the one to see.
    shown = {engine.name: engine for engine in reversed(status.engines)}
    shown |= {engine.name: engine for engine in status.engines if engine.state == "ready"}
    for name, engine in shown.items():
        for value in get_args(EngineState):
            state.add_metric([name, value], float(value == engine.state))
        age.add_metric([name], engine.step_age_s)
        memory.add_metric([name, "used"], engine.device_bytes)
        memory.add_metric([name, "limit"], engine.device_limit_bytes)
        rss.add_metric([name], engine.rss_bytes)
        running.add_metric([name], engine.num_running)
        waiting.add_metric([name], engine.num_waiting)
        restarts.add_metric([name], max(engine.num_starts - 1, 0))
        steps.add_metric([name], engine.num_steps)
    yield from (state, age, memory, rss, running, waiting, restarts, steps)
