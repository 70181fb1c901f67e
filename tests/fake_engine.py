"""An engine process without models: the real loop around a host that misbehaves on demand.

Run as ``python -m tests.fake_engine`` in the place of ``sovits_serve.engine.process``. Its audio is
a stream of hashes of what was asked (``expected_pcm``), so that audio of another request, missing
audio and doubled audio are all seen as differences. It is told what to do by environment variables:

FAKE_LOAD_S               how long loading takes (default 0)
FAKE_LOAD_KIND            sleep (default), pyloop (busy Python), gilhold (C code with the lock)
FAKE_LOAD_REPORTS=0       no progress reports while it loads
FAKE_LOAD_FILE            loading goes on for as long as this file exists
FAKE_DIE_AT               start, load, warmup, step:N, chunk:N, text:WORD; comma for several
FAKE_SIGNAL               how it dies: KILL (default), SEGV, ...; or by
FAKE_EXIT_CODE            this exit code
FAKE_HANG_AT              load, step:N, idle, text:WORD
FAKE_HANG_KIND            pyloop (default), gilhold, sleep
FAKE_OOM_AT, FAKE_NAN_AT  step:N: the requests of that step fail; text:WORD: those that contain it
FAKE_SLOW_STEP_MS         how long a step takes (default 0)
FAKE_MAX_RUNNING          requests of one step (default 16)
FAKE_SECONDS_PER_PHONEME  how much audio a phoneme gives (default 0.01)
FAKE_CHUNK_S              longest chunk of a streaming request (default 0.1)
FAKE_HOLD_FILE            while this file exists no request gets its last chunk
FAKE_BAD_CHECKPOINT=1     loading fails for good
FAKE_T2S, FAKE_SOVITS     where it says that its first model came from
FAKE_BAD_MODEL=WORD       LoadModel fails for files whose path contains it
FAKE_LEAK_BYTES           memory that each step takes and never gives back
FAKE_GROW_MB_PER_REQUEST  memory that each request takes and never gives back
FAKE_DEVICE_BYTES         what it says of its device memory
FAKE_LOG                  file that gets a line "EVENT PID MONOTONIC NAME" per start, load, ready,
                          die, hang and end
FAKE_BUG_AT=text:WORD     accepting a request whose text contains it raises
FAKE_BUG_AT=step:N        that step raises
FAKE_ONCE=N               only the first N starts misbehave (die, hang, fail, leak); counted in
FAKE_STATE_DIR            this directory, over all engines that share it
FAKE_ONLY                 only the engine of this name misbehaves

Steps and chunks are counted from 1 over the life of the process.
"""

import collections
import ctypes
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import shake_128
from pathlib import Path

import numpy as np

from sovits_serve.engine.loop import HostStatus, run_engine
from sovits_serve.errors import CheckpointError, InvalidRequest, OutOfMemory, SynthesisError
from sovits_serve.protocol.messages import (
    Aborted,
    AudioChunk,
    DropRecording,
    EngineReady,
    Failed,
    Finished,
    LoadModel,
    Message,
    ModelFailed,
    ModelInfo,
    ModelLoaded,
    PhonemizedText,
    PutRecording,
    ReferenceAudio,
    SynthesisRequest,
    UnloadModel,
)
from sovits_serve.protocol.pipes import end_process
from sovits_serve.protocol.reports import Loading, Report, Setup, Warming

SAMPLE_RATE_HZ = 32_000
SECONDS_PER_PHONEME = 0.01
DEFAULT_MODEL = "default"


def expected_pcm(
    request: SynthesisRequest, seconds_per_phoneme: float = SECONDS_PER_PHONEME
) -> bytes:
    """Return all audio of a request as the fake engine makes it; recordings by key will do."""
    return b"".join(
        segment_pcm(request, segment, seconds_per_phoneme) for segment in request.segments
    )


def segment_pcm(
    request: SynthesisRequest, segment: PhonemizedText, seconds_per_phoneme: float
) -> bytes:
    """Return one segment's int16 samples: a function of all that it should depend on."""
    reference = request.reference
    keys = reference.audio.key, *(audio.key for audio in reference.auxiliary)
    model = request.model or DEFAULT_MODEL
    asked = repr((segment.phone_ids, request.sampling.seed, keys, model)).encode()
    num_samples = int(len(segment.phone_ids) * seconds_per_phoneme * SAMPLE_RATE_HZ)
    # 16 KiB of hash, repeated, each time shifted: as telling, and as cheap as copying.
    block = np.frombuffer(shake_128(asked).digest(min(2 * num_samples, 1 << 14)), dtype="<i2")
    if not block.size:
        return b""
    repeats = -(-num_samples // block.size)
    shifts = np.arange(repeats, dtype="<i2").repeat(block.size)[:num_samples]
    return (np.tile(block, repeats)[:num_samples] + shifts).astype("<i2").tobytes()


# Switches that describe the engine rather than break it.
_HARMLESS = frozenset(
    "LOAD_S LOAD_KIND LOAD_REPORTS LOAD_FILE LOG SECONDS_PER_PHONEME CHUNK_S MAX_RUNNING BAD_MODEL "
    "SLOW_STEP_MS HOLD_FILE T2S SOVITS".split()
)


@dataclass(frozen=True)
class Switches:
    """What the environment asks for."""

    values: dict[str, str]

    @classmethod
    def read(cls, name: str) -> "Switches":
        """Read them for the engine of that name; count this start."""
        values = {
            key.removeprefix("FAKE_"): value
            for key, value in os.environ.items()
            if key.startswith("FAKE_")
        }
        if not _may_misbehave(values, name):
            values = {key: value for key, value in values.items() if key in _HARMLESS}
        return cls(values)

    def number(self, key: str, default: float) -> float:
        """Return a number."""
        return float(self.values.get(key) or default)

    def text(self, key: str, default: str = "") -> str:
        """Return a string."""
        return self.values.get(key) or default

    def matches(self, key: str, event: str) -> bool:
        """Return whether an event, such as ``step:3``, is among those a switch names."""
        return event in self.text(key).split(",")

    def after(self, key: str, kind: str) -> list[str]:
        """Return what follows ``kind:`` in the events that a switch names."""
        events = (event.partition(":") for event in self.text(key).split(","))
        return [value for name, _, value in events if name == kind]


def _may_misbehave(values: dict[str, str], name: str) -> bool:
    if values.get("ONLY", name) != name:
        return False
    if not values.get("ONCE"):
        return True
    for index in range(int(values["ONCE"])):
        try:
            (Path(values["STATE_DIR"]) / f"misbehaved-{index}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return True
    return False


@dataclass(eq=False)
class Running:
    """One accepted request."""

    message: SynthesisRequest
    segment: int = 0
    sent: int = 0  # bytes of the current segment
    num_chunks: int = 0
    num_samples: int = 0
    pcm: bytes | None = field(default=None, repr=False)


class FakeHost:
    """Answers every request with hashes, in order, ``max_running`` of them per step."""

    def __init__(self, setup: Setup, _wake: Callable[[], None]) -> None:
        self.name = setup.name
        self.switches = Switches.read(setup.name)
        self.num_steps = 0
        self.num_chunks = 0
        self.requests: dict[str, Running] = {}
        self.recordings: set[str] = set()
        self.models = [DEFAULT_MODEL]
        self.messages: list[Message] = []
        self.leak: list[bytearray] = []
        self.max_running = int(self.switches.number("MAX_RUNNING", 16))
        self._leak_bytes = int(self.switches.number("LEAK_BYTES", 0))
        self._grow_bytes = int(self.switches.number("GROW_MB_PER_REQUEST", 0) * 2**20)
        self._step_s = self.switches.number("SLOW_STEP_MS", 0) / 1000
        self._seconds = self.switches.number("SECONDS_PER_PHONEME", SECONDS_PER_PHONEME)
        self._chunk_bytes = 2 * int(self.switches.number("CHUNK_S", 0.1) * SAMPLE_RATE_HZ)
        self._hold_file = self.switches.text("HOLD_FILE")
        self._load_file = self.switches.text("LOAD_FILE")
        self._dies_with = self.switches.after("DIE_AT", "text")
        self._hangs_with = self.switches.after("HANG_AT", "text")
        self._dies_after = int(next(iter(self.switches.after("DIE_AT", "chunk")), 0))
        self.log("start")
        self._die_at("start")

    def log(self, event: str) -> None:
        """Append a line to the log, in one write."""
        path = self.switches.text("LOG")
        if path:
            line = f"{event} {os.getpid()} {time.monotonic():.6f} {self.name}\n"
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(line)

    # The host of the engine's loop.

    def load(self, report: Callable[[Report], None]) -> None:
        """Take the time that was asked for."""
        self.log("load")
        report(Loading("fake weights", 0.0))
        self._die_at("load")
        if self.switches.matches("HANG_AT", "load"):
            self._hang()
        if self.switches.text("BAD_CHECKPOINT"):
            raise CheckpointError("fake.ckpt: FAKE_BAD_CHECKPOINT is set")
        total_s = self.switches.number("LOAD_S", 0.0)
        is_silent = self.switches.text("LOAD_REPORTS") == "0"
        pass_time = _KINDS[self.switches.text("LOAD_KIND", "sleep")]
        if is_silent or pass_time is _gilhold:
            pass_time(total_s)
        else:
            parts = max(1, int(total_s / 0.2))
            for part in range(parts):
                pass_time(total_s / parts)
                report(Loading("fake weights", (part + 1) / parts))
        while self._load_file and Path(self._load_file).exists():
            pass_time(0.2)

    def warm_up(self, report: Callable[[Report], None]) -> None:
        """Do nothing, or die."""
        report(Warming("fake voice", 0.0))
        self._die_at("warmup")
        self.log("ready")

    def ready(self) -> EngineReady:
        """Return what the fake pretends to be."""
        return EngineReady(
            "cpu",
            tuple(map(_info, self.models)),
            self.max_running,
            self.switches.text("T2S"),
            self.switches.text("SOVITS"),
        )

    def add(self, request: SynthesisRequest) -> None:
        """Accept a request unless its model, id or recordings are wrong."""
        words = self.switches.after("BUG_AT", "text")
        if words and any(word in segment.text for word in words for segment in request.segments):
            raise RuntimeError("FAKE_BUG_AT is set")
        if request.request_id in self.requests:
            raise InvalidRequest(f"request_id: {request.request_id!r} is in use")
        if (request.model or DEFAULT_MODEL) not in self.models:
            self._refuse(request, "unknown_model", f"model: {request.model!r} is not loaded")
            return
        reference = request.reference
        for audio in (reference.audio, *reference.auxiliary):
            if not self._has_recording(audio):
                self._refuse(request, "unknown_recording", f"recording {audio.key!r} is unknown")
                return
        self.requests[request.request_id] = Running(request)
        if self._grow_bytes:
            self.leak.append(bytearray(b"x" * self._grow_bytes))

    def abort(self, request_id: str) -> None:
        """End a request."""
        if self.requests.pop(request_id, None) is not None:
            self.messages.append(Aborted(request_id))

    def put_recording(self, message: PutRecording) -> None:
        """Keep a key."""
        self.recordings.add(message.key)

    def drop_recording(self, message: DropRecording) -> None:
        """Forget a key."""
        self.recordings.discard(message.key)

    def load_model(self, message: LoadModel) -> None:
        """Know one more name, or fail."""
        bad = self.switches.text("BAD_MODEL")
        if bad and (bad in message.t2s or bad in message.sovits):
            text = f"{message.t2s}: FAKE_BAD_MODEL is set"
            self.messages.append(ModelFailed(message.model, "bad_checkpoint", text))
            return
        if message.model not in self.models:
            self.models.append(message.model)
        self.messages.append(ModelLoaded(_info(message.model)))

    def unload_model(self, message: UnloadModel) -> None:
        """Know one name less."""
        if message.model in self.models:
            self.models.remove(message.model)

    def has_work(self) -> bool:
        """Return whether a step would do anything. What was said so far has been sent."""
        if self._dies_after and self.num_chunks >= self._dies_after and not self.messages:
            self._die()
        if not self.requests and not self.messages and self.switches.matches("HANG_AT", "idle"):
            self._hang()
        return bool(self.requests or self.messages)

    def step(self) -> list[Message]:
        """Send each request of the batch one chunk, or one segment."""
        batch = list(itertools.islice(self.requests.values(), self.max_running))
        if batch:
            self.num_steps += 1
            if self.switches.matches("BUG_AT", f"step:{self.num_steps}"):
                raise RuntimeError("FAKE_BUG_AT is set")
            self._misbehave(batch)
            for running in batch:
                self._advance(running)
        messages, self.messages = self.messages, []
        return messages

    def status(self) -> HostStatus:
        """Count."""
        running = min(len(self.requests), self.max_running)
        device_bytes = int(self.switches.number("DEVICE_BYTES", 0))
        return HostStatus(
            self.num_steps, running, len(self.requests) - running, device_bytes, device_bytes
        )

    def close(self) -> None:
        """Tell the log."""
        self.log("end")

    def reset(self) -> None:
        """Forget everything but the models."""
        self.requests.clear()
        self.messages.clear()
        self.recordings.clear()

    # Work.

    def _has_recording(self, audio: ReferenceAudio) -> bool:
        return audio.key in self.recordings or (not audio.key and bool(audio.samples))

    def _refuse(self, request: SynthesisRequest, code: str, text: str) -> None:
        self.messages.append(Failed(request.request_id, code, text))

    def _advance(self, running: Running) -> None:
        message = running.message
        if message.request_id not in self.requests:
            return
        if running.pcm is None:
            segment = message.segments[running.segment]
            running.pcm = segment_pcm(message, segment, self._seconds)
        length = self._chunk_bytes if message.is_streaming else len(running.pcm)
        pcm = running.pcm[running.sent : running.sent + length]
        is_last = running.segment + 1 == len(message.segments) and running.sent + len(pcm) == len(
            running.pcm
        )
        if is_last and self._hold_file and Path(self._hold_file).exists():
            return
        running.sent += len(pcm)
        running.num_samples += len(pcm) // 2
        self.messages.append(
            AudioChunk(message.request_id, running.num_chunks, running.segment, SAMPLE_RATE_HZ, pcm)
        )
        running.num_chunks += 1
        self.num_chunks += 1
        if running.sent == len(running.pcm):
            running.segment, running.sent, running.pcm = running.segment + 1, 0, None
        if running.segment == len(message.segments):
            counts = tuple(len(segment.phone_ids) for segment in message.segments)
            del self.requests[message.request_id]
            self.messages.append(Finished(message.request_id, running.num_samples, counts))

    # Misbehaviour.

    def _misbehave(self, batch: list[Running]) -> None:
        event = f"step:{self.num_steps}"
        if self._step_s:
            time.sleep(self._step_s)
        if self._leak_bytes:
            self.leak.append(bytearray(b"x" * self._leak_bytes))
        self._die_at(event)
        if self._dies_with and self._holds(batch, self._dies_with):
            self._die()
        if self._hangs_with and self._holds(batch, self._hangs_with):
            self._hang()
        if self.switches.matches("HANG_AT", event):
            self._hang()
        for key, error in (
            ("OOM_AT", OutOfMemory("out of device memory")),
            ("NAN_AT", SynthesisError("the decoder's samples are not finite")),
        ):
            words = self.switches.after(key, "text")
            is_all = self.switches.matches(key, event)
            for running in batch if is_all or words else ():
                if is_all or self._holds([running], words):
                    del self.requests[running.message.request_id]
                    self._refuse(running.message, error.code, error.message)

    def _holds(self, batch: list[Running], words: list[str]) -> bool:
        texts = [segment.text for running in batch for segment in running.message.segments]
        return any(word in text for word in words for text in texts)

    def _die_at(self, event: str) -> None:
        if self.switches.matches("DIE_AT", event):
            self._die()

    def _die(self) -> None:
        self.log("die")
        code = self.switches.text("EXIT_CODE")
        if code:
            end_process(int(code))
        sys.stderr.write("the fake engine dies as it was told\n")
        sys.stderr.flush()
        os.kill(os.getpid(), getattr(signal, f"SIG{self.switches.text('SIGNAL', 'KILL')}"))
        time.sleep(3600)

    def _hang(self) -> None:
        self.log("hang")
        _KINDS[self.switches.text("HANG_KIND", "pyloop")](3600.0)


def _info(name: str) -> ModelInfo:
    return ModelInfo(name, "v2", "v2", SAMPLE_RATE_HZ, can_read_chinese=True)


def _pyloop(seconds: float) -> None:
    """Be busy in Python, as code that builds a model is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        collections.deque(range(1000), maxlen=0)


def _gilhold(seconds: float) -> None:
    """Be in C code that does not release the interpreter lock; no Python runs meanwhile."""
    blocked = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        ctypes.PyDLL(None).poll(None, 0, int(1000 * seconds))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)


_KINDS: dict[str, Callable[[float], None]] = {
    "sleep": time.sleep,
    "pyloop": _pyloop,
    "gilhold": _gilhold,
}


if __name__ == "__main__":
    run_engine(FakeHost)
