"""Rows of ``server.py``: what the server adds to a request, and how many it passes through."""

import hashlib
import json
import shutil
import tempfile
import time
from pathlib import Path

import sentences
from server_process import DELAYING_ENGINE, Load, Server, expected_audio, speech_body

TEXT = "Hello, how are you today?"
_DELAY_MS = 200.0
_CONNECTIONS = 32


def overhead(seconds: float) -> dict[str, dict]:
    """32 requests in the engine at the same time; what is longer than it holds them is overhead."""
    rows = {}
    held = Path(tempfile.mkdtemp()) / "held"
    options = {
        "engine": DELAYING_ENGINE,
        "BENCH_DELAY_MS": str(_DELAY_MS),
        "BENCH_HELD": str(held),
        "FAKE_MAX_RUNNING": "64",
    }
    with Server(**options) as server:
        server.wait_until_settled()
        plan = {"seconds": seconds, "warm_up_s": 2, "num_audio_bytes": len(server.speak(TEXT))}
        rate = _CONNECTIONS / (_DELAY_MS / 1000)
        for name, fields in (("whole body", {}), ("streaming", {"stream": True})):
            bodies = [speech_body(TEXT, **fields)]
            for mode in ("open", "closed"):
                load = server.load(
                    mode=mode, bodies=bodies, connections=_CONNECTIONS, per_second=rate, **plan
                )
                rows[f"{name}, {mode}"] = _row(load, subtract_ms=_DELAY_MS)
    held_ms = json.loads(held.read_text())
    late_ms = [ms - _DELAY_MS for ms in held_ms]
    rows["of it the engine's timer, which is late"] = {
        name: round(late_ms[int(share * (len(late_ms) - 1))], 3)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }
    shutil.rmtree(held.parent)
    return rows


def throughput(seconds: float) -> dict[str, dict]:
    """As many requests as 32 clients get through; the engine answers at once."""
    rows = {}
    with Server() as server:
        server.wait_until_settled()
        unique = sentences.sentences("en", 20_000, seed=3)
        assert len(set(unique)) > 19_000
        checked = {n: _digest(expected_audio(server, unique[n])) for n in range(0, 20_000, 50)}
        for name, fields in (("pcm", {}), ("wav", {"format": "wav"}), ("stream", {"stream": True})):
            bodies = [speech_body(TEXT, **fields)]
            digests = {0: _digest(expected_audio(server, TEXT))} if name != "wav" else {}
            length = len(expected_audio(server, TEXT)) + (44 if name == "wav" else 0)
            plan = {"bodies": bodies, "digests": digests, "num_audio_bytes": length}
            rows[f"same text, {name}"] = _closed(server, seconds, plan)
        plan = {"bodies": [speech_body(one) for one in unique], "digests": checked}
        rows["unique text, pcm"] = _closed(server, seconds, plan)
    with Server(FAKE_SECONDS_PER_PHONEME="0.08") as server:
        server.wait_until_settled()
        plan = {"bodies": [speech_body(TEXT)], "num_audio_bytes": len(server.speak(TEXT))}
        row = _closed(server, seconds, plan)
        rows[f"same text, pcm of {plan['num_audio_bytes'] / 64_000:.1f} s"] = row
    return rows


def livez(seconds: float) -> dict[str, dict]:
    """/livez, asked 50 times a second while 64 clients ask for as much speech as they get."""
    with Server() as server:
        server.wait_until_settled()
        bodies = [speech_body(TEXT)]
        busy = Load(
            server, mode="closed", path="/v1/speech", bodies=bodies, connections=64,
            seconds=seconds + 3, warm_up_s=0.5,
        )  # fmt: skip
        time.sleep(1.0)
        probe = Load(
            server, mode="open", path="/livez", bodies=[None], connections=4, per_second=50,
            seconds=seconds, warm_up_s=0.5,
        )  # fmt: skip
        seen = probe.result()
        load = busy.result()
    assert seen["num"].keys() == {"200"}, seen
    return {
        "/livez during saturation": {**seen["ms"]["200"], "num": seen["num"]["200"]},
        "the load meanwhile": _row(load),
    }


def start(repeats: int) -> dict[str, dict]:
    """From the start of the process to /livez and /readyz; memory when all languages are there."""
    seen: dict[str, list[float]] = {"/livez 200, s": [], "/readyz 200, s": []}
    for _ in range(repeats):
        with Server() as server:
            seen["/livez 200, s"].append(server.wait_for("/livez"))
            seen["/readyz 200, s"].append(server.wait_for("/readyz"))
            early = server.rss_mib()
            server.wait_until_settled()
            settled = server.rss_mib()
    rows = {name: {"median": sorted(v)[len(v) // 2], "max": max(v)} for name, v in seen.items()}
    rows["RSS at ready, MiB"] = early
    rows["RSS, all languages, MiB"] = settled
    return rows


def _closed(server: Server, seconds: float, plan: dict) -> dict:
    load = server.load(
        mode="closed", connections=_CONNECTIONS, seconds=seconds, warm_up_s=1.0, **plan
    )
    return _row(load)


def _row(load: dict, subtract_ms: float = 0.0) -> dict:
    """Return the figures of a load whose every answer must be right."""
    assert load["num"].keys() == {"200"}, load
    assert load["num_wrong"] == load["num_lost"] == 0, load
    times = {name: round(value - subtract_ms, 3) for name, value in load["ms"]["200"].items()}
    first = {f"first_{n}": round(load["first_ms"][n] - subtract_ms, 3) for n in ("p50", "p99")}
    return {
        "per_s": round(load["num"]["200"] / load["seconds"], 1),
        **times,
        **first,
        "num": load["num"]["200"],
        "num_compared": load["num_compared"],
        "server_cpu_ms": round(sum(load["cpu_ms"].values()), 3),
        "client_cpu_ms": round(1000 * load["client_cpu_s"] / load["num_all"], 3),
        "cpu_ms": load["cpu_ms"],
    }


def _digest(audio: bytes) -> str:
    return hashlib.sha256(audio).hexdigest()
