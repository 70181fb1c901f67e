"""Cheap HTTP clients in a process of their own: what ``server.py`` starts to put a server under load.

Raw connections on an event loop, requests as ready bytes, no parsing beyond status and length: a
request costs this process a tenth of what it costs the server, with which it shares the cores. A
plan comes in as one JSON object on stdin, what was seen goes out as one on stdout. Every answer's
status and length are counted, and the bodies that the plan has a digest for are compared.

Times are from the write of a request's last byte to the read of its answer's last byte. In an
"open" plan they begin when the request was due, so that a client that is held up does not hide it.
"""

import asyncio
import collections
import gc
import hashlib
import json
import resource
import sys
import time
from dataclasses import dataclass

import uvloop

_GIVE_UP_S = 60.0
_MAX_LOST = 1000


@dataclass
class Answer:
    """One response, and when its first and last byte were read."""

    status: int
    body: bytes
    first_at: float
    end_at: float


class Client(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._length = -1  # of the whole answer; -1: its head is not there yet
        self._answer = None
        self._first_byte = None
        self.has_first_byte = False
        self.is_open = False

    def connection_made(self, transport) -> None:
        self._transport = transport
        self.is_open = True

    def ask(self, request: bytes) -> asyncio.Future:
        """Send a request; the future gets an ``Answer``, or None if there is none."""
        self._answer = asyncio.get_running_loop().create_future()
        self.has_first_byte = False
        if self.is_open:
            self._transport.write(request)
        else:
            self._answer.set_result(None)
        return self._answer

    async def wait_first_byte(self) -> None:
        """Wait until the answer begins, or the connection is over."""
        if not self.has_first_byte and self.is_open:
            self._first_byte = asyncio.get_running_loop().create_future()
            await self._first_byte

    def data_received(self, data: bytes) -> None:
        self._note_first_byte()
        buffer = self._buffer
        buffer += data
        if self._length < 0 and not self._read_head():
            return
        if self._is_chunked:
            if not buffer.endswith(b"\r\n0\r\n\r\n"):
                return
            body = _from_chunks(buffer[self._head_length :])
        elif len(buffer) < self._length:
            return
        else:
            body = bytes(buffer[self._head_length :])
        status = int(buffer[9:12])
        buffer.clear()
        self._length = -1
        if not self._answer.done():
            now = time.perf_counter()
            self._answer.set_result(Answer(status, body, self._first_at, now))

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._buffer[:end].lower()
        _, found, rest = head.partition(b"content-length:")
        self._first_at = time.perf_counter()  # a response begins when there is audio
        self._head_length = end + 4
        self._is_chunked = not found
        self._length = self._head_length + (int(rest.partition(b"\r\n")[0]) if found else 0)
        return True

    def _note_first_byte(self) -> None:
        self.has_first_byte = True
        if self._first_byte is not None and not self._first_byte.done():
            self._first_byte.set_result(None)

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_open = False
        self._note_first_byte()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def close(self) -> None:
        self._transport.abort()


class Tally:
    """What came back."""

    def __init__(self, plan: dict) -> None:
        self._digests = plan.get("digests", {})
        self._num_audio_bytes = plan.get("num_audio_bytes")
        self.num_wrong = 0
        self.num_compared = 0
        self.num_lost = 0  # connections
        self.seconds = collections.defaultdict(list)  # per status
        self.first_seconds = []
        self.num_all = 0  # with warm-up

    def add(self, number: int, answer: Answer | None, begin: float, *, counts: bool) -> None:
        self.num_all += 1
        answer = answer or Answer(0, b"", time.perf_counter(), time.perf_counter())
        if answer.status == 200:
            self._check(number, answer.body)
        if counts:
            self.seconds[answer.status].append(answer.end_at - begin)
            self.first_seconds.append(answer.first_at - begin)

    def _check(self, number: int, body: bytes) -> None:
        expected = self._num_audio_bytes
        if (expected is not None and len(body) != expected) or not body:
            self.num_wrong += 1
            return
        digest = self._digests.get(str(number))
        if digest is not None:
            self.num_compared += 1
            self.num_wrong += hashlib.sha256(body).hexdigest() != digest

    def report(self, seconds: float) -> dict:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "num_all": self.num_all,
            "num_wrong": self.num_wrong,
            "num_compared": self.num_compared,
            "num_lost": self.num_lost,
            "seconds": seconds,
            "client_cpu_s": usage.ru_utime + usage.ru_stime,
            "ms": {str(status): percentiles(values) for status, values in self.seconds.items()},
            "first_ms": percentiles(self.first_seconds),
            "num": {str(status): len(values) for status, values in self.seconds.items()},
        }


def percentiles(values: list[float]) -> dict[str, float]:
    """Return percentiles in milliseconds."""
    values = sorted(values) or [0.0]
    shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        name: round(1000 * values[min(int(share * len(values)), len(values) - 1)], 3)
        for name, share in shares.items()
    }


def _from_chunks(data: bytearray) -> bytes:
    body, at = bytearray(), 0
    while True:
        end = data.index(b"\r\n", at)
        length = int(data[at:end], 16)
        if not length:
            return bytes(body)
        body += data[end + 2 : end + 2 + length]
        at = end + 2 + length + 2


def http_request(path: str, body: str | None) -> bytes:
    """Return one request as bytes."""
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nhost: localhost\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    data = body.encode()
    head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def connect(port: int) -> Client:
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    return client


async def run_closed(plan: dict, requests: list[bytes], tally: Tally) -> float:
    """So many clients, each asks again as soon as it is answered."""
    counted_from = time.perf_counter() + plan["warm_up_s"]
    end = counted_from + plan["seconds"]
    numbers = iter(range(1 << 60))

    async def serve() -> None:
        client = await connect(plan["port"])
        while (begin := time.perf_counter()) < end:
            number = next(numbers) % len(requests)
            answer = await client.ask(requests[number])
            is_in_time = answer is not None and answer.end_at <= end
            tally.add(number, answer, begin, counts=begin >= counted_from and is_in_time)
            if not client.is_open:
                tally.num_lost += 1
                if tally.num_lost > _MAX_LOST:
                    raise SystemExit("the server closes every connection")
                client = await connect(plan["port"])
        client.close()

    await asyncio.gather(*(serve() for _ in range(plan["connections"])))
    return plan["seconds"]


async def run_open(plan: dict, requests: list[bytes], tally: Tally) -> float:
    """Requests at a rate, however long the answers take; connections are made when all are busy."""
    idle: list[Client] = [await connect(plan["port"]) for _ in range(plan["connections"])]
    pause = 1 / plan["per_second"]
    begin = time.perf_counter() + 0.1
    num_warm = int(plan["warm_up_s"] * plan["per_second"])
    num_all = num_warm + int(plan["seconds"] * plan["per_second"])

    async def ask(number: int, due: float) -> None:
        client = idle.pop() if idle else await connect(plan["port"])
        index = number % len(requests)
        answer = await client.ask(requests[index])
        tally.add(index, answer, due, counts=number >= num_warm)
        if client.is_open:
            idle.append(client)

    tasks = set()
    for number in range(num_all):
        due = begin + number * pause
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.add(asyncio.create_task(ask(number, due)))
    await asyncio.wait(tasks, timeout=_GIVE_UP_S)
    for client in idle:
        client.close()
    return plan["seconds"]


async def run_burst(plan: dict, requests: list[bytes], tally: Tally) -> float:
    """All at once, each on a connection that is open already."""
    clients: list[Client] = []
    while len(clients) < plan["connections"]:
        count = min(200, plan["connections"] - len(clients))
        clients += await asyncio.gather(*(connect(plan["port"]) for _ in range(count)))
    # Those whose requests are to be held come to be held first.
    print(json.dumps({"connected": len(clients)}), flush=True)
    first = time.perf_counter()
    begins, answers = [], []
    for number, client in enumerate(clients):
        answers.append(client.ask(requests[number % len(requests)]))
        begins.append(time.perf_counter())
    results = await asyncio.wait_for(asyncio.gather(*answers), plan["seconds"])
    for number, answer in enumerate(results):
        tally.add(number % len(requests), answer, begins[number], counts=True)
    for client in clients:
        client.close()
    return time.perf_counter() - first


_MODES = {"closed": run_closed, "open": run_open, "burst": run_burst}


async def main() -> None:
    plan = json.loads(sys.stdin.readline())
    requests = [http_request(plan["path"], body) for body in plan["bodies"]]
    tally = Tally(plan)
    gc.freeze()
    seconds = await _MODES[plan["mode"]](plan, requests, tally)
    print(json.dumps(tally.report(seconds)), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
