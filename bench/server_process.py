"""The server that the benchmarks measure: real processes, found by what they run."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

import psutil

from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.protocol.messages import (
    Reference,
    ReferenceAudio,
    SamplingParams,
    SynthesisRequest,
)
from sovits_serve.voices.demo import make_demo_voice

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # for the tests' engine
from tests.fake_engine import expected_pcm  # noqa: E402 -- not before the path is there

FAKE_ENGINE = "tests.fake_engine"
DELAYING_ENGINE = "bench.delaying_engine"
_ROLES = {
    "sovits_serve.dispatcher.process": "dispatcher",
    "sovits_serve.api.worker": "worker",
    FAKE_ENGINE: "engine",
    DELAYING_ENGINE: "engine",
}
_START_S = 60.0


class Server:
    """``sovits-serve serve`` with an engine that has no model; killed at the end."""

    def __init__(
        self, *options: str, engine: str = FAKE_ENGINE, workers: int = 2, **environment: str
    ) -> None:
        self.port = _free_port()
        self._scratch = tempfile.TemporaryDirectory(prefix="bench-")
        self.directory = Path(self._scratch.name)
        self._log = (self.directory / "log").open("wb")
        self._recording = make_demo_voice(self.directory / "voices")
        command = [sys.executable, "-m", "sovits_serve", "serve", "--port", str(self.port)]
        command += ["--engine-module", engine, "--workers", str(workers), "--max-per-key", "0"]
        command += ["--voices", str(self._recording.parent)]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SOVITS_", "FAKE_"))}
        self.started_at = time.monotonic()
        self.process = psutil.Popen(
            [*command, *options],
            cwd=ROOT,
            env={**kept, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        """Stop everything."""
        everything = [self.process]
        with suppress(psutil.NoSuchProcess):
            everything += self.process.children(recursive=True)
            self.process.send_signal(signal.SIGTERM)
            with suppress(psutil.TimeoutExpired):
                self.process.wait(5)
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        self._log.close()
        self._scratch.cleanup()

    @property
    def recording_key(self) -> str:
        """Return what requests name the voice's recording by."""
        return sha256(self._recording.read_bytes()).hexdigest()

    @property
    def log(self) -> str:
        """Return what all processes have logged."""
        return (self.directory / "log").read_text(errors="replace")

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body; status 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def wait_for(self, path: str, status: int = 200) -> float:
        """Wait for a page's status; return the seconds since the start."""
        while self.get(path)[0] != status:
            if time.monotonic() - self.started_at > _START_S or self.process.poll() is not None:
                raise SystemExit(f"{path} does not become {status}:\n{self.log[-3000:]}")
            time.sleep(0.005)
        return time.monotonic() - self.started_at

    def wait_until_settled(self) -> None:
        """Wait until it is ready and all languages are loaded: until nobody computes any more."""
        self.wait_for("/readyz")
        self.speak("Hello.")
        quiet = 0
        while quiet < 3:
            before = sum(self.cpu_s().values())
            time.sleep(0.5)
            quiet = quiet + 1 if sum(self.cpu_s().values()) - before < 0.1 else 0

    def speak(self, text: str) -> bytes:
        """Have a text spoken."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/v1/speech", speech_body(text), _JSON)
        response = connection.getresponse()
        audio = response.read()
        connection.close()
        if response.status != 200:
            time.sleep(0.5)  # for the log to arrive
            raise SystemExit(f"{audio!r}\n{self.log[-5000:]}")
        return audio

    def processes(self) -> dict[str, psutil.Process]:
        """Return all processes: supervisor, dispatcher, worker 0, worker 1, engine 0."""
        found = {"supervisor": psutil.Process(self.process.pid)}
        num = dict.fromkeys(_ROLES.values(), 0)
        for child in sorted(found["supervisor"].children(), key=lambda child: child.pid):
            with suppress(psutil.NoSuchProcess):
                role = next((_ROLES[one] for one in child.cmdline() if one in _ROLES), "")
                if role:
                    found[f"{role} {num[role]}" if role != "dispatcher" else role] = child
                    num[role] += 1
        return found

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time of each process so far, in user mode and in the kernel."""
        return {name: sum(one.cpu_times()[:2]) for name, one in self.processes().items()}

    def rss_mib(self) -> dict[str, float]:
        """Return the resident memory of each process."""
        return {
            name: round(one.memory_info().rss / 2**20, 1) for name, one in self.processes().items()
        }

    def load(self, *, mode: str, bodies: list[str | None], path: str = "/v1/speech", **plan):
        """Run a load and return what its clients saw, and ``cpu_ms`` per request and process."""
        return Load(self, mode=mode, bodies=bodies, path=path, **plan).result()


class Load:
    """Clients at work, in a process of their own."""

    def __init__(self, server: Server, **plan: object) -> None:
        self._server = server
        self._before = server.cpu_s()
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "bench" / "server_load.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._process.stdin.write(json.dumps({"port": server.port, **plan}) + "\n")
        self._process.stdin.flush()

    def wait_connected(self) -> None:
        """Wait until a burst's connections are there."""
        self._process.stdout.readline()

    def is_running(self) -> bool:
        """Return whether clients still wait."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Have all clients leave at once."""
        self._process.kill()
        self._process.communicate()

    def result(self) -> dict:
        """Wait for the end."""
        output, _ = self._process.communicate(timeout=300)
        if self._process.returncode:
            raise SystemExit("the load failed; is the server overloaded?")
        result = json.loads(output.strip().splitlines()[-1])
        after = self._server.cpu_s()
        result["cpu_ms"] = {
            name: round(1000 * (after[name] - self._before.get(name, 0)) / result["num_all"], 3)
            for name in after
        }
        return result


_JSON = {"content-type": "application/json"}


def speech_body(text: str, **fields: object) -> str:
    """Return the body of a request to /v1/speech."""
    asked = {"text": text, "voice": "default", "language": "en", "format": "pcm", "seed": 1}
    return json.dumps({**asked, **fields})


def expected_audio(server: Server, text: str) -> bytes:
    """Return what the fake engine must say, worked out here."""
    segments = _frontend().segments(text, "en", cut="auto")
    reference = Reference(ReferenceAudio(b"", 0, key=server.recording_key))
    request = SynthesisRequest(
        request_id="",
        segments=tuple(segment.phonemized() for segment in segments),
        reference=reference,
        sampling=SamplingParams(seed=1),
    )
    return expected_pcm(request)


@cache
def _frontend() -> TextFrontend:
    return TextFrontend("v2")


def metric(server: Server, name: str) -> float:
    """Return a metric's value."""
    found = re.search(rf"(?m)^sovits_serve_{name} (\S+)$", server.get("/metrics")[1].decode())
    return float(found[1]) if found else 0.0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
