"""What a starting server tells the person who started it: how far it is, and how to use it.

Goes to standard output; the log goes to standard error. On a terminal progress is bars, elsewhere
lines. Nothing here may stop the server: a reader who has left is not told any more.
"""

import contextlib
import json
import os
import shlex
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sovits_serve.builtin import uses_builtin, voices_directory
from sovits_serve.config import ServerConfig
from sovits_serve.log import escape
from sovits_serve.protocol.messages import EngineStatus, Fleet
from sovits_serve.voices.registry import VoiceRegistry

_SENTENCE = "Hello, world!"
_SHOWN_VOICES = 8
_STEP = 0.25  # a line for each quarter of what is loaded
BUILTIN_NOTE = (
    "No model was given: the built-in one speaks, small and quick, in English and Mandarin.\n"
    "For yours: sovits-serve serve --model DIR, with the files of a GPT-SoVITS voice in DIR."
)


class PatientConsole(Console):
    """A console that goes quiet when its reader leaves; rich's own would end the process."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on, also what Python writes out at its end."""
        self.quiet = True
        with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())


class Announcer:
    """Tells about one run of a server; from any thread."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        with_http: bool,
        console: Console | None = None,
    ) -> None:
        self._config = config
        self._with_http = with_http
        self._console = console or PatientConsole(highlight=False, emoji=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, tuple[str, int]] = {}
        self._is_done = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Begin to show what happens."""
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        self._stop_progress()

    def show(self, fleet: Fleet) -> None:
        """Show how far the engines are; nothing any more once the server was ready."""
        with self._lock:
            if self._is_done or fleet.is_leaving:
                return
            for engine in fleet.engines:
                if self._progress is not None:
                    self._show_bar(self._progress, engine)
                else:
                    self._say_state(engine)

    def ready(self, url: str = "") -> None:
        """Say how to use the server, once.

        Args:
            url: where it can be reached; without it, what the configuration says.
        """
        with self._lock:
            if self._is_done:
                return
            self._is_done = True
            self._stop_progress()
        api = self._config.api
        if self._with_http:
            text = usage(self._config, url or server_url(api.host, api.port))
        else:
            text = engines_usage(self._config)
        if uses_builtin(self._config.model):
            text = f"{text}\n{BUILTIN_NOTE}"
        # In one piece, so that no line of the log comes between.
        self._print(text)

    def _show_bar(self, progress: Progress, engine: EngineStatus) -> None:
        if engine.name not in self._tasks:
            self._tasks[engine.name] = progress.add_task("", total=1.0)
        progress.update(
            self._tasks[engine.name],
            description=escape_markup(escape(_describe(engine))),
            completed=1.0 if engine.state == "ready" else engine.progress,
        )

    def _say_state(self, engine: EngineStatus) -> None:
        state = (f"{engine.state} {engine.detail}", int(engine.progress / _STEP))
        if self._said.get(engine.name) != state:
            self._said[engine.name] = state
            self._print(escape(_describe(engine)))

    def _stop_progress(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _print(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._console.print(text, markup=False)
            self._console.file.flush()


def usage(config: ServerConfig, url: str) -> str:
    """Return how to use a server: address, voices, a line for the shell, a few of Python."""
    names = _voice_names(config)
    body = {"input": _SENTENCE, "voice": names[0] if names else "", "response_format": "wav"}
    return "\n".join(_usage_lines(config, url, names, body))


def _usage_lines(
    config: ServerConfig, url: str, names: list[str], body: dict[str, str]
) -> Iterator[str]:
    key = ' -H "Authorization: Bearer $SOVITS_SERVE_API_KEY"' if config.api.api_key else ""
    python_key = 'os.environ["SOVITS_SERVE_API_KEY"]' if config.api.api_key else '"none"'
    imports = "import os; " if config.api.api_key else ""
    voice, sentence = json.dumps(body["voice"]), json.dumps(_SENTENCE)
    yield f"sovits-serve is ready: {url}"
    yield f"  voices   {_voices_line(config, names)}"
    yield f"  shell    curl {url}/v1/audio/speech -H 'Content-Type: application/json'{key} \\"
    yield f"             -d {shlex.quote(json.dumps(body))} -o hello.wav"
    yield f"  Python   {imports}from openai import OpenAI"
    yield f'           speech = OpenAI(base_url="{url}/v1", api_key={python_key}).audio.speech'
    yield (
        f'           speech.create(model="tts-1", voice={voice}, input={sentence}, '
        'response_format="wav").write_to_file("hello.wav")'
    )
    yield f"  docs     {url}/docs"
    yield f"  watch    sovits-serve top --url {url}"
    yield "  stop     Ctrl-C"


def engines_usage(config: ServerConfig) -> str:
    """Return how another server finds the engines."""
    model = config.model
    variables = {
        "SOVITS_SERVE_ENDPOINT": config.endpoint,
        "SOVITS_SERVE_MODEL": model.model,
        "SOVITS_SERVE_MODEL_T2S": model.t2s,
        "SOVITS_SERVE_MODEL_SOVITS": model.sovits,
        "SOVITS_SERVE_MODEL_VOICES": model.voices,
    }
    shown = " ".join(f"{key}={shlex.quote(value)}" for key, value in variables.items() if value)
    return (
        f"The engines are ready at {config.endpoint}\n"
        f"  serve    {shown} \\\n"
        "             uvicorn sovits_serve.api.app:app --workers 4 --port 9880"
    )


def server_url(host: str, port: int) -> str:
    """Return where a server that listens on an address can be reached from its own machine."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        return f"http://{'127.0.0.1' if address.version == 4 else '[::1]'}:{port}"
    return f"http://{address if address.version == 4 else f'[{address}]'}:{port}"


def _voice_names(config: ServerConfig) -> list[str]:
    """Return the names of the voices, the default voice first."""
    registry = VoiceRegistry(voices_directory(config.model))
    names = [voice.name for voice in registry.voices()]
    default = registry.default
    return names if default is None else sorted(names, key=lambda name: name != default.name)


def _voices_line(config: ServerConfig, names: list[str]) -> str:
    if names:
        more = f" and {len(names) - _SHOWN_VOICES} more" if len(names) > _SHOWN_VOICES else ""
        return escape(", ".join(names[:_SHOWN_VOICES]) + more)
    directory = voices_directory(config.model)
    where = escape(str(directory)) if directory else "the directory that --voices names"
    return f"none; put a recording and its words into {where}, as NAME.wav and NAME.txt"


def _describe(engine: EngineStatus) -> str:
    share = f" {engine.progress:.0%}" if engine.state in {"loading", "warming"} else ""
    detail = f" {engine.detail}" if engine.detail else ""
    return f"{engine.name}: {engine.state}{share}{detail}"
