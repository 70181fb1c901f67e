"""Decoding in a short-lived process: libsndfile and FFmpeg are C parsers fed by strangers.

The child gets the bytes on its standard input, gives up what it does not need (memory, processor
time, new files and sockets), decodes, and answers with one line of JSON and raw samples. Whatever
happens to it, the parent only sees an error. Needs neither torch nor pickle.
"""

import json
import math
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages
from typing import BinaryIO

import numpy as np

from sovits_serve.audio.containers import CONTAINERS, Container, DecoderName
from sovits_serve.audio.decode import AudioLimits, Waveform, decode_by
from sovits_serve.audio.decoders import UndecodableAudio, decode_with
from sovits_serve.errors import BadReferenceAudio

_PACKAGE_ROOT = str(Path(__file__).parents[2])
# Not `-m`: the child must find the package where the parent did, whatever put it on its path.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from sovits_serve.audio.sandbox import run_child; run_child(sys.argv[2])"
)
_MAX_HEADER_BYTES = 4096
_SAMPLE_BYTES = 4


@dataclass(frozen=True)
class SandboxLimits:
    """What the child may use. Where the platform has no rlimits only the timeout holds."""

    timeout_s: float = 5.0
    max_memory_bytes: int = 1 << 30


def decode_audio_sandboxed(
    data: bytes, limits: AudioLimits | None = None, sandbox: SandboxLimits | None = None
) -> Waveform:
    """Decode as ``decode_audio`` does, in a process that dies afterwards. Blocks until then.

    Raises:
        BadReferenceAudio: as ``decode_audio``; also when the child crashed or ran out of its limits.
    """
    chosen = sandbox or SandboxLimits()

    def decode(
        decoder: DecoderName, data: bytes, container: Container, limits: AudioLimits
    ) -> Waveform:
        job = {
            "decoder": decoder,
            "container": container.name,
            "limits": asdict(limits),
            "sandbox": asdict(chosen),
        }
        max_bytes = _MAX_HEADER_BYTES + math.ceil(
            limits.max_duration_s * limits.max_rate_hz * limits.max_channels * _SAMPLE_BYTES
        )
        return _parse_answer(_run(json.dumps(job), data, max_bytes, chosen.timeout_s))

    return decode_by(decode, data, limits or AudioLimits())


def _run(job: str, data: bytes, max_bytes: int, timeout_s: float) -> bytes:
    """Start the child, feed it, and return at most ``max_bytes`` of what it answers."""
    process = subprocess.Popen(  # noqa: S603 -- a fixed program; the data goes through a pipe
        [sys.executable, "-c", _PROGRAM, _PACKAGE_ROOT, job],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    timer = threading.Timer(timeout_s, process.kill)
    feeder = threading.Thread(target=_feed, args=(process.stdin, data), daemon=True)
    try:
        timer.start()
        feeder.start()
        answer = process.stdout.read(max_bytes)
    finally:
        # The answer ends with the child's life or with more bytes than it may send.
        is_late = not timer.is_alive()
        timer.cancel()
        process.kill()
        process.stdout.close()
        status = process.wait()
        feeder.join()
    if not answer:
        reason = f"took longer than {timeout_s:g} s" if is_late else f"died with status {status}"
        raise BadReferenceAudio(f"reference audio: the decoder {reason}")
    return answer


def _feed(pipe: BinaryIO, data: bytes) -> None:
    # A child that is gone shows in its answer; there is nobody else to tell.
    with suppress(BrokenPipeError), pipe:
        pipe.write(data)


def _parse_answer(answer: bytes) -> Waveform:
    """Read what the child sent, trusting nothing in it."""
    header, _, samples = answer.partition(b"\n")
    try:
        fields = json.loads(header)
        if "undecodable" in fields:
            raise UndecodableAudio(str(fields["undecodable"]))
        if "bad" in fields:
            raise BadReferenceAudio(str(fields["bad"]))
        rate_hz, num_channels = int(fields["rate_hz"]), int(fields["num_channels"])
        values = np.frombuffer(samples, dtype="<f4").reshape(num_channels, -1)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadReferenceAudio("reference audio: the decoder died midway") from error
    if values.shape[1] != fields.get("num_samples"):
        raise BadReferenceAudio("reference audio: the decoder died midway")
    return Waveform(values.astype(np.float32), rate_hz)


def run_child(job: str) -> None:
    """Decode standard input as ``job`` says, and answer on standard output."""
    fields = json.loads(job)
    limits = AudioLimits(**fields["limits"])
    data = sys.stdin.buffer.read(limits.max_bytes + 1)
    _import_decoder(fields["decoder"])
    _give_up_privileges(SandboxLimits(**fields["sandbox"]))
    samples = b""
    try:
        container = CONTAINERS[fields["container"]]
        waveform = decode_with(fields["decoder"], data, container, limits)
    except UndecodableAudio as error:
        header: dict[str, object] = {"undecodable": str(error)}
    except BadReferenceAudio as error:
        header = {"bad": error.message}
    else:
        samples = waveform.samples.astype("<f4", copy=False).tobytes()
        header = {
            "rate_hz": waveform.rate_hz,
            "num_channels": waveform.num_channels,
            "num_samples": waveform.samples.shape[1],
        }
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + samples)


def _import_decoder(decoder: DecoderName) -> None:
    """Import what will decode, to the last part, while files can still be opened."""
    name = "soundfile" if decoder == "libsndfile" else "av"
    if find_spec(name) is None:
        return
    package = import_module(name)
    for module in walk_packages(getattr(package, "__path__", ()), f"{name}."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def _give_up_privileges(sandbox: SandboxLimits) -> None:
    """Limit memory and processor time; allow no new file, socket or core dump."""
    if find_spec("resource") is None:  # Windows: the parent's timeout is what there is
        return
    import resource

    seconds = math.ceil(sandbox.timeout_s)
    for kind, limit in (
        (resource.RLIMIT_AS, sandbox.max_memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))
