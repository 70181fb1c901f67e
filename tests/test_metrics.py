"""Metrics: what is counted comes out under its name, and labels stay few."""

import re

from prometheus_client.parser import text_string_to_metric_families

from sovits_serve.metrics import PREFIX, ServerMetrics, Snapshot
from sovits_serve.protocol.messages import EngineStatus, HttpSample, QueueStatus, Status


def _values(metrics: ServerMetrics) -> dict[str, float]:
    """Return the samples of the rendered text: name and labels to value."""
    text = metrics.render().decode()
    return {
        sample.name + str(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _snapshot(*engines: EngineStatus) -> Snapshot:
    queue = QueueStatus(num_waiting=3, num_running=2, waiting_bytes=99, max_waiting=10)
    return Snapshot(Status(1, "ready", "", engines, queue), num_workers=2, num_worker_starts=5)


def test_state_is_exported_as_it_is_when_asked() -> None:
    """Gauges are of the moment of asking, not of the last event."""
    metrics = ServerMetrics()
    engine = EngineStatus("cuda:0", "ready", num_starts=3, device_bytes=7, step_age_s=0.5)
    metrics.export(lambda: _snapshot(engine))

    values = _values(metrics)

    assert values["sovits_serve_requests_waiting[]"] == 3
    assert values["sovits_serve_http_worker_starts_total[]"] == 5
    assert values["sovits_serve_state[('state', 'ready')]"] == 1
    assert values["sovits_serve_state[('state', 'failed')]"] == 0
    assert values["sovits_serve_engine_restarts_total[('engine', 'cuda:0')]"] == 2
    assert values["sovits_serve_engine_last_step_age_seconds[('engine', 'cuda:0')]"] == 0.5
    assert values["sovits_serve_gpu_memory_bytes[('engine', 'cuda:0'), ('kind', 'used')]"] == 7


def test_two_engines_of_one_place_give_no_sample_twice() -> None:
    """During a swap the engine in service is shown, and the text stays valid."""
    metrics = ServerMetrics()
    old = EngineStatus("cuda:0", "ready", device_bytes=1)
    new = EngineStatus("cuda:0", "loading", device_bytes=2)
    metrics.export(lambda: _snapshot(new, old))

    lines = [line for line in metrics.render().decode().splitlines() if line[0] != "#"]
    names = [line.rpartition(" ")[0] for line in lines]

    assert len(names) == len(set(names))
    assert 'sovits_serve_engine_state{engine="cuda:0",state="ready"} 1.0' in lines


def test_responses_are_counted_by_route_status_and_outcome() -> None:
    """What workers observe adds up."""
    metrics = ServerMetrics()
    sample = HttpSample("/tts", 200, 0.3, "complete")
    metrics.observe((sample, sample, HttpSample("/tts", 429, 0.001, "refused")))

    values = _values(metrics)

    labels = "[('outcome', 'complete'), ('route', '/tts'), ('status', '200')]"
    assert values[f"sovits_serve_http_requests_total{labels}"] == 2
    assert values["sovits_serve_http_request_duration_seconds_count[('route', '/tts')]"] == 3


def test_labels_stay_few() -> None:
    """A worker that sends paths where routes belong cannot make the text grow for ever."""
    metrics = ServerMetrics()
    metrics.observe(tuple(HttpSample(f"/{i}", 404, 0.1, "complete") for i in range(1000)))

    routes = {line for line in _values(metrics) if "http_requests_total" in line}

    assert len(routes) < 100
    assert any("'other'" in route for route in routes)


def test_names_follow_the_convention() -> None:
    """All metrics of ours have the prefix, a help text, base units and no forbidden label."""
    metrics = ServerMetrics()
    metrics.export(lambda: _snapshot(EngineStatus("cpu", "ready")))

    families = list(text_string_to_metric_families(metrics.render().decode()))
    own = [family for family in families if not family.name.startswith(("process_", "python_"))]

    assert len(own) > 25
    assert all(re.fullmatch(PREFIX + r"(_[a-z]+)+", family.name) for family in own)
    assert all(family.documentation.endswith(".") for family in own)
    labels = {label for family in own for sample in family.samples for label in sample.labels}
    assert not labels & {"request_id", "voice", "text", "key", "path"}


def test_two_servers_in_one_process_do_not_meet() -> None:
    """Nothing is registered globally."""
    first, second = ServerMetrics(), ServerMetrics()
    first.rejected("queue_full")

    assert "sovits_serve_rejected_total[('reason', 'queue_full')]" in _values(first)
    assert "sovits_serve_rejected_total[('reason', 'queue_full')]" not in _values(second)
