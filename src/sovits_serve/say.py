"""What ``sovits-serve say`` does: read, load, speak with progress, write.

Heavy imports happen inside functions, so that ``--help`` stays quick.
"""

import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sovits_serve.audio.encoding import check_format, make_writer
from sovits_serve.builtin import voices_directory
from sovits_serve.checkpoints.atomic_file import atomic_path
from sovits_serve.config import EngineConfig, FrontendConfig, ModelConfig
from sovits_serve.errors import RequestError, StopCommand
from sovits_serve.frontend.cleaning import has_words
from sovits_serve.protocol.messages import PhonemizedText, Reference
from sovits_serve.synthesizer import SpeechOptions, Synthesizer, find_voice, load_reference

EXIT_USAGE = 2
EXIT_NO_INPUT = 66
EXIT_NO_OUTPUT = 73
# Whole libraries have less; a pipe that never ends is not read into memory.
_MAX_TEXT_BYTES = 16 * 2**20
# A file of that size holds no more sentences than that.
_MAX_SEGMENTS = 1_000_000


@dataclass(frozen=True)
class SayJob:
    """What ``say`` was asked for; see the command's options."""

    text: str
    language: str | None  # None: the voice's own, else auto
    cut: str
    dictionary: Path | None
    is_phonemes: bool
    output: Path
    directory: Path | None
    t2s: Path | None
    sovits: Path | None
    pretrained: Path | None
    voice: str | None
    reference: Path | None
    reference_text: str | None
    reference_language: str | None
    auxiliary: Sequence[Path]
    device: str
    dtype: str
    threads: int
    trim_reference: bool


def read_text(argument: str) -> str:
    """Return standard input for "-", a file's content if there is such a file, else the text.

    Raises:
        RequestError: what was read is no UTF-8 text, or too long.
        StopCommand: standard input is closed, or the argument is a directory.
        OSError: the file cannot be read.
    """
    if argument == "-":
        if sys.stdin is None:
            raise StopCommand("standard input: closed", EXIT_NO_INPUT)
        return _decode("standard input", sys.stdin.buffer.read(_MAX_TEXT_BYTES + 1))
    try:
        path = Path(argument)
        is_file, is_directory = path.is_file(), path.is_dir()
    except (OSError, ValueError):  # too long for a file name, or a NUL: it is the text itself
        is_file = is_directory = False
    if is_directory:
        raise StopCommand(f"{argument}: is a directory", EXIT_NO_INPUT)
    if not is_file:
        if argument.endswith(".txt") and not any(map(str.isspace, argument)):
            _say(f"{argument}: no such file; reading these words themselves")
        return argument
    with Path(argument).open("rb") as file:
        return _decode(argument, file.read(_MAX_TEXT_BYTES + 1))


def _decode(name: str, data: bytes) -> str:
    if len(data) > _MAX_TEXT_BYTES:
        raise RequestError(f"{name}: is longer than {_MAX_TEXT_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{name}: not UTF-8 at byte {error.start}") from error


def run_say(job: SayJob, chosen: Mapping[str, Any]) -> None:
    """Speak the job's text and write the file. Nothing is left behind if it fails.

    ``chosen`` are fields of ``SpeechOptions``; what it leaves out the voice decides.

    Raises:
        ServingError: anything about model, reference or text is wrong.
        StopCommand: wrong usage, or the output cannot be written.
    """
    check_format(job.output)
    if not has_words(job.text):
        raise RequestError("text: holds no word")
    if job.output.is_dir():
        raise StopCommand(f"{job.output}: is a directory", EXIT_NO_OUTPUT)
    if not job.output.parent.is_dir():
        raise StopCommand(f"{job.output.parent}: no such directory", EXIT_NO_OUTPUT)
    _check_usage(job)
    language = job.language or _language_of_voice(job) or "auto"
    _speak(replace(job, language=language), chosen)


def _check_usage(job: SayJob) -> None:
    """See that the options fit together.

    Raises:
        StopCommand: they do not.
    """
    is_builtin = job.directory is None and job.t2s is None and job.sovits is None
    if job.directory is None and (job.t2s is None) != (job.sovits is None):
        raise StopCommand("--model DIR, or both --t2s and --sovits", EXIT_USAGE)
    if is_builtin and job.pretrained is not None:
        raise StopCommand("--pretrained: is for a model of your own; name it, too", EXIT_USAGE)
    if job.reference is not None:
        if job.voice is not None:
            raise StopCommand("--voice, or --reference", EXIT_USAGE)
        return
    has_voices = job.directory is not None and (job.directory / "voices").is_dir()
    if not (is_builtin or has_voices):
        raise StopCommand("--reference: a recording of the voice is needed", EXIT_USAGE)
    if job.reference_text or job.reference_language or job.auxiliary:
        raise StopCommand(
            "--reference-text, --reference-language, --auxiliary: go with --reference", EXIT_USAGE
        )


def _language_of_voice(job: SayJob) -> str | None:
    """Return the language that the job's voice says it speaks; find the voice before all loading.

    Raises:
        UnknownVoice: there is no voice of that name.
        InvalidRequest: it speaks with another model.
    """
    if job.reference is not None:
        return None
    model, t2s, sovits = (str(path or "") for path in (job.directory, job.t2s, job.sovits))
    voices = voices_directory(ModelConfig(model=model, t2s=t2s, sovits=sovits))
    return find_voice(voices, job.voice or "default").defaults.language


def _speak(job: SayJob, chosen: Mapping[str, Any]) -> None:
    config = EngineConfig(
        device=job.device,
        dtype=job.dtype,
        num_threads=job.threads,
        long_reference="trim" if job.trim_reference else "reject",
        max_segments=_MAX_SEGMENTS,
    )
    frontend = FrontendConfig(
        cut=job.cut,
        max_characters=_MAX_TEXT_BYTES,
        dictionary="" if job.dictionary is None else str(job.dictionary),
    )
    with Console(stderr=True).status("loading the model"):
        synthesizer = Synthesizer.load(
            job.directory,
            t2s=job.t2s,
            sovits=job.sovits,
            pretrained=job.pretrained,
            config=config,
            frontend_config=frontend,
        )
    segments = _segments(job, synthesizer)
    name, recording = job.voice or "default", job.reference
    if recording is None:
        reference, options = synthesizer.voice(name), synthesizer.options(name, **chosen)
    else:
        reference = load_reference(recording, _prompt(job, synthesizer), job.auxiliary)
        options = SpeechOptions(**chosen)
    if options.seed is None:
        options = replace(options, seed=secrets.randbits(32))  # shown, to say it again
    _write(job, synthesizer, segments, reference, options)


def _segments(job: SayJob, synthesizer: Synthesizer) -> list[PhonemizedText]:
    """Turn the text into segments, sentence by sentence; of phonemes, each line is one."""
    if job.is_phonemes:
        lines = (line.strip() for line in job.text.splitlines())
        return [synthesizer.phonemes(line) for line in lines if line]
    segments = []
    with _progress("reading", len(job.text)) as progress:
        for segment in synthesizer.frontend.iterate(job.text, job.language or "auto"):
            segments.append(segment.phonemized())
            progress.update(progress.task_ids[0], completed=segment.end)
    return segments


def _prompt(job: SayJob, synthesizer: Synthesizer) -> PhonemizedText | None:
    if not job.reference_text:
        return None
    if job.is_phonemes:
        return synthesizer.phonemes(job.reference_text)
    return synthesizer.prompt(job.reference_text, job.reference_language or job.language or "auto")


def _write(
    job: SayJob,
    synthesizer: Synthesizer,
    segments: Sequence[PhonemizedText],
    reference: Reference,
    options: SpeechOptions,
) -> None:
    """Write audio as it comes, to a file beside the output that takes its name at the end."""
    num_samples = 0
    try:
        with (
            atomic_path(job.output) as partial,
            partial.open("wb") as file,
            make_writer(file, check_format(job.output), synthesizer.sample_rate_hz) as writer,
            _progress("speaking", len(segments)) as progress,
        ):
            for chunk in synthesizer.stream(segments, reference, options, is_streaming=False):
                samples = np.frombuffer(chunk.pcm, dtype="<i2")
                writer.write(samples)
                num_samples += len(samples)
                progress.update(progress.task_ids[0], completed=chunk.segment)
            progress.update(progress.task_ids[0], completed=len(segments))
    except OSError as error:
        raise StopCommand(f"{job.output}: {error.strerror or error}", EXIT_NO_OUTPUT) from error
    _say(f"{job.output}: {num_samples / synthesizer.sample_rate_hz:.2f} s, seed {options.seed}")


@contextmanager
def _progress(verb: str, total: int) -> Iterator[Progress]:
    """Show a bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        progress.add_task(verb, total=total)
        yield progress


def _say(message: str) -> None:
    print(message, file=sys.stderr)  # noqa: T201 -- a command's note to its user
