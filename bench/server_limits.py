"""Rows of ``server.py``: a full queue, memory over many requests, clients that leave."""

import asyncio
import itertools
import time

import sentences
from server_load import connect, http_request, percentiles
from server_process import DELAYING_ENGINE, Load, Server, metric, speech_body
from server_speed import TEXT

_NUM_FILL, _FILL_S = 20_000, 8
_LONG_TEXT = " ".join(f"This is sentence number {number}." for number in range(1, 30))
# Everything a client may do, again and again; "leave" closes before, "leave late" after audio came.
_PATTERN = (
    "whole", "whole", "stream", "unique", "unique", "leave", "leave late", "bad json",
    "bad voice", "bad speed", "no route", "wav", "new connection",
)  # fmt: skip


def full_queue(num_requests: int) -> dict[str, dict]:
    """Requests all at once, three ways; memory of the server before, during and after."""
    rows = {}
    # One thousand per second: the engine takes 1 ms for each, and all are served.
    with Server(
        "--max-waiting",
        str(num_requests),
        "--max-connections",
        str(num_requests),
        FAKE_MAX_RUNNING="1",
    ) as server:
        server.wait_until_settled()
        before, peak = server.rss_mib(), {}
        load = _burst(server, num_requests)
        peak = _watch_rss(server, load, "requests_waiting")
        done = load.result()
        assert (done["num"], done["num_wrong"]) == ({"200": num_requests}, 0), done
        rows[f"{num_requests} admitted at once, all answered"] = {
            "seconds": round(done["seconds"], 2),
            "max_waiting_seen": peak.pop("most"),
            **_memory(before, peak, server.rss_mib()),
        }
    # The queue of the defaults (256): nearly all are refused.
    held = {"engine": DELAYING_ENGINE, "BENCH_DELAY_MS": "8000"}
    with Server("--max-connections", str(num_requests), **held) as server:
        server.wait_until_settled()
        before = server.rss_mib()
        load = _burst(server, num_requests)
        peak = _watch_rss(server, load, "requests_waiting")
        del peak["most"]
        done = load.result()
        assert (done["num"].keys(), done["num_wrong"]) == ({"200", "429"}, 0), done
        rows[f"{num_requests} at once at a queue of 256: 429s"] = {
            "num_429": done["num"]["429"],
            "num_200": done["num"]["200"],
            "429_per_s": round(done["num"]["429"] / (done["ms"]["429"]["max"] / 1000)),
            **done["ms"]["429"],
            **_memory(before, peak, server.rss_mib()),
        }
    # A queue with so many in it, none of which moves, and clients that come one by one.
    held["BENCH_DELAY_MS"] = "25000"
    with Server(
        "--max-waiting", str(num_requests), "--max-connections", str(num_requests + 2000), **held
    ) as server:
        server.wait_until_settled()
        waiting = _burst(server, num_requests + 32)
        end = time.monotonic() + 20
        while metric(server, "requests_waiting") < num_requests and time.monotonic() < end:
            time.sleep(0.1)
        for rate in (200, 1000):
            seen = server.load(
                mode="open", bodies=[speech_body(TEXT)], connections=32, per_second=rate,
                seconds=3, warm_up_s=0.5,
            )  # fmt: skip
            assert seen["num"].keys() == {"429"}, seen
            name = f"429s, {rate} requests/s at a queue of {num_requests} that stands still"
            rows[name] = {"num": seen["num"]["429"], **seen["ms"]["429"]}
        waiting.kill()
    return rows


def _burst(server: Server, num_requests: int) -> Load:
    load = Load(
        server, mode="burst", path="/v1/speech", bodies=[speech_body(TEXT)],
        connections=num_requests, seconds=120, num_audio_bytes=len(server.speak(TEXT)),
    )  # fmt: skip
    load.wait_connected()
    return load


def _watch_rss(server: Server, load: Load, name: str) -> dict[str, float]:
    """Return each process's highest RSS until the load is over, and the metric's highest value."""
    peak: dict[str, float] = {"most": 0}
    while load.is_running():
        peak["most"] = max(peak["most"], metric(server, name))
        for process, mib in server.rss_mib().items():
            peak[process] = max(peak.get(process, 0.0), mib)
        time.sleep(0.1)
    return peak


def _memory(before: dict, peak: dict, after: dict) -> dict[str, dict]:
    return {"rss_before_mib": before, "rss_peak_mib": peak, "rss_after_mib": after}


def memory(num_requests: int) -> dict[str, dict]:
    """RSS of each process over many requests, with errors and clients that leave among them."""
    with Server("--max-waiting", "64") as server:
        server.wait_until_settled()
        # Caches fill first (a worker keeps what 1024 texts are read as): that is no leak.
        texts = sentences.sentences("en", _NUM_FILL, seed=7)
        fill = [speech_body(text) for text in texts]
        server.load(mode="closed", bodies=fill, connections=16, seconds=_FILL_S, warm_up_s=0)
        num_begin = num_requests // 4
        samples = asyncio.run(_mixed_requests(server, num_requests))
        counts = samples.pop("counts")
    rows: dict[str, dict] = {"answers": counts}
    for name, values in samples.items():
        late = [(number, mib) for number, mib in values if number >= num_begin]
        rows[f"RSS, {name}"] = {
            "first_mib": values[0][1],
            "after_quarter_mib": late[0][1],
            "last_mib": values[-1][1],
            "kib_per_1000": round(1024 * 1000 * _slope(late), 1),
        }
    return rows


async def _mixed_requests(server: Server, num_requests: int) -> dict:
    texts = itertools.cycle(sentences.sentences("en", 20_000, seed=5))
    numbers = iter(range(num_requests))
    counts: dict[str, int] = {}
    samples: dict = {name: [(0, mib)] for name, mib in server.rss_mib().items()}

    async def serve() -> None:
        client = await connect(server.port)
        for number in numbers:
            kind = _PATTERN[number % len(_PATTERN)]
            path, body = _request(kind, number, texts)
            answer = client.ask(http_request(path, body))
            if kind == "leave":
                await asyncio.sleep(0)
            elif kind == "leave late":
                await client.wait_first_byte()
            if kind in {"leave", "leave late", "new connection"}:
                if kind == "new connection":
                    await answer
                client.close()
                client = await connect(server.port)
            else:
                got = await answer
                status = f"{kind}: {got.status if got else 'lost'}"
                counts[status] = counts.get(status, 0) + 1
                if not client.is_open:
                    client = await connect(server.port)
            if number % 500 == 499:
                for name, mib in server.rss_mib().items():
                    samples[name].append((number + 1, mib))
        client.close()

    await asyncio.gather(*(serve() for _ in range(16)))
    samples["counts"] = counts
    return samples


def _request(kind: str, number: int, texts) -> tuple[str, str]:
    match kind:
        case "stream":
            return "/v1/speech", speech_body(TEXT, stream=True)
        case "unique":
            return "/v1/speech", speech_body(next(texts))
        case "leave" | "leave late":
            return "/v1/speech", speech_body(_LONG_TEXT, stream=True)
        case "bad json":
            return "/v1/speech", '{"text": "Hello'
        case "bad voice":
            return "/v1/speech", speech_body(TEXT, voice=f"nobody-{number}")
        case "bad speed":
            return "/v1/audio/speech", '{"input": "Hello", "voice": "alloy", "speed": 900}'
        case "no route":
            return f"/v1/nothing/{number}", "{}"
        case "wav":
            return "/v1/speech", speech_body(TEXT, format="wav")
        case _:
            return "/v1/speech", speech_body(TEXT)


def _slope(points: list[tuple[int, float]]) -> float:
    """Return the slope of the straight line that fits best."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points) or 1.0
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def cancellation(num_clients: int) -> dict[str, dict]:
    """From a client's leaving to the first audio of whoever waited for its place in the engine.

    The engine has one place, each step takes 20 ms; the time includes the step that runs and the
    next client's first.
    """
    rows = {}
    options = {"FAKE_MAX_RUNNING": "1", "FAKE_SLOW_STEP_MS": "20"}
    with Server("--running-per-engine", "1", **options) as server:
        server.wait_until_settled()
        for name, is_streaming in (("streaming", True), ("whole body", False)):
            seconds = asyncio.run(_leave_in_turn(server, num_clients, is_streaming))
            rows[f"{name} client leaves, next one's audio"] = {
                "num": len(seconds), **percentiles(seconds),
            }  # fmt: skip
    return rows


async def _leave_in_turn(server: Server, num_clients: int, is_streaming: bool) -> list[float]:
    held = http_request("/v1/speech", speech_body(_LONG_TEXT, stream=is_streaming))
    streamed = http_request("/v1/speech", speech_body(_LONG_TEXT, stream=True))
    seconds = []
    for number in range(num_clients):
        first, second = await connect(server.port), await connect(server.port)
        first.ask(held)
        if is_streaming:
            await first.wait_first_byte()
        else:
            await asyncio.sleep(0.06 + 0.001 * (number % 20))
        second.ask(streamed)
        await asyncio.sleep(0.05 + 0.001 * (number % 20))  # it waits: the place is taken
        assert not second.has_first_byte
        begin = time.perf_counter()
        first.close()
        await asyncio.wait_for(second.wait_first_byte(), 5)
        seconds.append(time.perf_counter() - begin)
        second.close()
        await asyncio.to_thread(_wait_until_idle, server)
    return seconds


def _wait_until_idle(server: Server) -> None:
    while metric(server, "requests_running"):
        time.sleep(0.01)
