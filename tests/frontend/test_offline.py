"""The frontend is on its own: no network, no process, no file written, nothing of home needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

# Runs in a fresh interpreter; an audit hook sees what the libraries do below Python, too.
_PROGRAM = """
import os, sys

def watch(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.fork",
                 "os.posix_spawn", "os.exec", "urllib.Request", "tempfile.mkstemp", "os.mkdir"}:
        raise RuntimeError(f"{event} {arguments}")
    if event == "open" and isinstance(arguments[2], int) and isinstance(arguments[0], str):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and arguments[0] != os.devnull:
            raise RuntimeError(f"written: {arguments[0]}")

sys.dont_write_bytecode = True
sys.addaudithook(watch)
from sovits_serve.frontend.text_frontend import TextFrontend

frontend = TextFrontend("v2")
text = "重庆的银行 opens at 9, machinelearning Zyxwvut 東京タワー 안녕하세요 喺邊度"
for mode in ("auto", "auto_yue", "zh", "yue", "en", "ja", "ko"):
    assert frontend.segments(text, mode)
assert not {"torch", "transformers", "nltk", "requests"} & sys.modules.keys(), sorted(sys.modules)
"""


@pytest.mark.e2e
def test_five_languages_with_an_empty_home(tmp_path: Path) -> None:
    """All languages speak with an empty home and temporary directory, and leave both empty."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROGRAM],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCE),
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "XDG_CACHE_HOME": str(tmp_path),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []
