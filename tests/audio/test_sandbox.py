import json
import subprocess
import sys

import numpy as np
import pytest

from sovits_serve.audio import sandbox
from sovits_serve.audio.decode import AudioLimits, decode_audio
from sovits_serve.audio.sandbox import SandboxLimits, decode_audio_sandboxed
from sovits_serve.errors import BadReferenceAudio
from tests.audio.crafted import encode, encode_with_av, tone, wav


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "mp4"])
def test_result_equals_decoding_in_process(kind: str) -> None:
    """The child gives exactly what decoding in this process gives, from either decoder."""
    if kind == "mp4":
        pytest.importorskip("av")
        data = encode_with_av("mp4", "aac")
    else:
        data = encode(tone(num_channels=2), 16_000, kind)

    waveform = decode_audio_sandboxed(data)

    expected = decode_audio(data)
    assert waveform.rate_hz == expected.rate_hz
    np.testing.assert_array_equal(waveform.samples, expected.samples)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (wav()[:20], "cannot be read as wav"),
        (wav(num_channels=3), "has 3 channels"),
        (wav(bytes(80_000)), "longer than 2 s"),
    ],
)
def test_bad_data_is_refused_in_the_same_words(data: bytes, says: str) -> None:
    """Errors cross the process boundary with their message."""
    with pytest.raises(BadReferenceAudio, match=says):
        decode_audio_sandboxed(data, AudioLimits(max_duration_s=2))


def test_late_child_is_killed() -> None:
    """A child that is not done in time is killed, and the request fails with the limit."""
    with pytest.raises(BadReferenceAudio, match=r"took longer than 0\.001 s"):
        decode_audio_sandboxed(wav(), None, SandboxLimits(timeout_s=0.001))


@pytest.mark.skipif(sys.platform != "linux", reason="address space limits are Linux's")
def test_greedy_child_dies_alone() -> None:
    """A child that runs out of its memory is an error of the request."""
    data = wav(bytes(11_000_000), rate_hz=192_000, num_channels=1)
    small = SandboxLimits(max_memory_bytes=1 << 20)

    with pytest.raises(BadReferenceAudio, match="decoder died"):
        decode_audio_sandboxed(data, None, small)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"[1]\n",
        b'{"rate_hz": 16000}\n',
        b'{"rate_hz": 16000, "num_channels": 0, "num_samples": 1}\nabcd',
        b'{"rate_hz": 16000, "num_channels": 1, "num_samples": 9}\nabcd',
        b'{"rate_hz": 1, "num_channels": 1, "num_samples": 1}\nabcd',
        b'{"rate_hz": 16000, "num_channels": 1, "num_samples": 1}\n\xff\xff\xff\xff',
    ],
)
def test_lying_child_is_not_believed(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    """Whatever a captured child answers, the parent checks it and fails the request."""
    program = f"import sys; sys.stdout.buffer.write({answer!r})"
    monkeypatch.setattr(sandbox, "_PROGRAM", program)

    with pytest.raises(BadReferenceAudio):
        decode_audio_sandboxed(wav())


def test_flooding_child_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that answers without end is killed at the most bytes an answer may have."""
    program = "import sys\nwhile True: sys.stdout.buffer.write(bytes(65536))"
    monkeypatch.setattr(sandbox, "_PROGRAM", program)

    with pytest.raises(BadReferenceAudio, match="died midway"):
        decode_audio_sandboxed(wav(), AudioLimits(max_duration_s=0.1))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no rlimits")
@pytest.mark.parametrize("act", ["open('/dev/null')", "__import__('socket').socket()"])
def test_child_opens_nothing_after_giving_up_privileges(act: str) -> None:
    """Once sealed, the child can open neither files nor sockets."""
    program = (
        "import socket, sys; sys.path.insert(0, sys.argv[1])\n"
        "from sovits_serve.audio.sandbox import SandboxLimits, _give_up_privileges\n"
        "_give_up_privileges(SandboxLimits())\n"
        f"try: {act}\n"
        "except OSError as error: print(error.errno)"
    )

    result = subprocess.run(
        [sys.executable, "-c", program, sandbox._PACKAGE_ROOT],
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert json.loads(result.stdout) == 24  # EMFILE


def test_child_needs_no_torch() -> None:
    """The child's imports never load torch."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import sovits_serve.audio.sandbox as sandbox\n"
        "sandbox._import_decoder('libsndfile')\n"
        "print('torch' in sys.modules)"
    )

    result = subprocess.run(
        [sys.executable, "-c", program, sandbox._PACKAGE_ROOT],
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert result.stdout.strip() == b"False"
