"""Rows of ``server.py``: how soon a killed process is noticed, and a request to stop obeyed."""

import http.client
import signal
import time
from collections.abc import Callable

import psutil
from server_process import DELAYING_ENGINE, Server

_DEADLINE_S = 20.0


def engine_killed(repeats: int) -> dict[str, dict]:
    """kill -9 of the only engine: until /readyz says 503, and until it is ready again."""
    noticed, back = [], []
    for _ in range(repeats):
        with Server() as server:
            server.wait_until_settled()
            engine = server.processes()["engine 0"]
            probe = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            assert _status(probe) == 200
            begin = time.monotonic()
            engine.kill()
            _until(lambda probe=probe: _status(probe) == 503)
            noticed.append(1000 * (time.monotonic() - begin))
            _until(lambda probe=probe: _status(probe) == 200)
            back.append(time.monotonic() - begin)
            probe.close()
    return {
        "engine killed: /readyz is 503, ms": _spread(noticed),
        "engine killed: ready again, s": _spread(back),
    }


def supervisor_killed(repeats: int) -> dict[str, dict]:
    """kill -9 of the supervisor: until none of its processes is left."""
    rows = {}
    states = {
        "ready": {},
        "loading, in C code that holds the lock": {
            "FAKE_LOAD_S": "30",
            "FAKE_LOAD_KIND": "gilhold",
        },
    }
    for name, environment in states.items():
        seconds = []
        for _ in range(repeats):
            with Server(**environment) as server:
                _reach(server, "ready" if name == "ready" else "loading")
                children = server.process.children(recursive=True)
                assert len(children) >= 4, children
                begin = time.monotonic()
                server.process.kill()
                server.process.wait()
                _until(lambda children=children: not any(map(_is_alive, children)))
                seconds.append(time.monotonic() - begin)
        rows[f"supervisor killed while {name}: no child is left, s"] = _spread(seconds)
    return rows


def stop(repeats: int) -> dict[str, dict]:
    """SIGTERM to the supervisor, with nothing to finish: until the last process has ended."""
    states: dict[str, tuple[str, dict[str, str]]] = {
        "just started": ("spawned", {}),
        "starting": ("starting", {}),
        "loading (sleeps)": ("loading", {"FAKE_LOAD_S": "60"}),
        "loading (busy Python)": ("loading", {"FAKE_LOAD_S": "60", "FAKE_LOAD_KIND": "pyloop"}),
        "loading (C code, lock held)": (
            "loading",
            {"FAKE_LOAD_S": "60", "FAKE_LOAD_KIND": "gilhold"},
        ),
        "warming": ("warming", {"engine": DELAYING_ENGINE, "BENCH_WARM_S": "60"}),
        "ready, idle": ("ready", {}),
        "back-off after a crash": ("backoff", {"FAKE_DIE_AT": "load"}),
    }
    rows = {}
    for name, (state, environment) in states.items():
        seconds, codes = [], set()
        for _ in range(repeats):
            with Server(**environment) as server:
                _reach(server, state)
                everything = [server.process, *server.process.children(recursive=True)]
                begin = time.monotonic()
                server.process.send_signal(signal.SIGTERM)
                codes.add(server.process.wait(_DEADLINE_S))
                _until(lambda everything=everything: not any(map(_is_alive, everything)))
                seconds.append(time.monotonic() - begin)
        rows[f"SIGTERM while {name}, s"] = {**_spread(seconds), "exit_codes": sorted(codes)}
    return rows


def _reach(server: Server, state: str) -> None:
    """Wait until the engine is in a state."""
    if state == "ready":
        server.wait_until_settled()
    elif state == "starting":
        _until(lambda: "is started" in server.log)
    elif state != "spawned":
        server.wait_for("/livez")
        _until(lambda: f'"{state}"'.encode() in server.get("/health")[1])
        time.sleep(0.3)


def _status(probe: http.client.HTTPConnection) -> int:
    probe.request("GET", "/readyz")
    response = probe.getresponse()
    response.read()
    return response.status


def _until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + _DEADLINE_S
    while not is_true():
        if time.monotonic() > end:
            raise SystemExit("it does not happen")
        time.sleep(0.001)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _spread(values: list[float]) -> dict[str, float]:
    values = sorted(values)
    return {"median": round(values[len(values) // 2], 3), "max": round(values[-1], 3)}
