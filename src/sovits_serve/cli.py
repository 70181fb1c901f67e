"""The command line. Imports nothing heavy: each command loads what it needs.

Exit codes: 0 done; 2 wrong usage; 65 the text, phonemes or reference are bad; 66 an input file
cannot be read; 70 synthesis failed; 73 the output cannot be written; 78 a setting is bad or a library is missing; 79 a
checkpoint is bad; 130 interrupted.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sovits_serve import __version__
from sovits_serve.errors import RequestError, ServingError, SetupError, StopCommand

EXIT_BAD_REQUEST = 65
EXIT_NO_INPUT = 66
EXIT_FAILED = 70
EXIT_NO_OUTPUT = 73
EXIT_SETUP = 78
_ENGINE_LIBRARIES = frozenset({"torch", "transformers", "safetensors"})

_LANGUAGE_HELP = (
    "Language of TEXT. auto: whatever is found; auto_yue: the same with Han characters as Cantonese; "
    "zh, yue, ja, ko: that and English; en; all_zh, all_yue, all_ja, all_ko: that language as far "
    "as possible."
)
_CUT_HELP = "How TEXT becomes segments: auto (at sentences), or upstream's cut0 to cut5."
_DICTIONARY_HELP = "File of words and how to say them; docs/text.md says how it is written."

app = typer.Typer(
    name="sovits-serve",
    help="Speak with GPT-SoVITS voices.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="Inspect, convert and make model files.", no_args_is_help=True)
app.add_typer(models_app, name="models")


class Version(StrEnum):
    """Model versions that can be made."""

    V1 = "v1"
    V2 = "v2"
    V2PRO = "v2Pro"
    V2PROPLUS = "v2ProPlus"


class Language(StrEnum):
    """Language modes of text."""

    AUTO = "auto"
    ZH = "zh"
    YUE = "yue"
    EN = "en"
    JA = "ja"
    KO = "ko"
    ALL_ZH = "all_zh"
    ALL_YUE = "all_yue"
    ALL_JA = "all_ja"
    ALL_KO = "all_ko"
    AUTO_YUE = "auto_yue"


class Cut(StrEnum):
    """Ways to cut text into segments."""

    AUTO = "auto"
    CUT0 = "cut0"
    CUT1 = "cut1"
    CUT2 = "cut2"
    CUT3 = "cut3"
    CUT4 = "cut4"
    CUT5 = "cut5"


class Symbols(StrEnum):
    """Symbol tables of models."""

    V1 = "v1"
    V2 = "v2"


class Size(StrEnum):
    """Sizes of random models."""

    TINY = "tiny"
    FULL = "full"


def main() -> None:
    """Run the command line; the entry point of ``sovits-serve``."""
    app()


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"sovits-serve {__version__}")
        raise typer.Exit


@app.command()
def say(
    text: Annotated[str, typer.Argument(help="Text, a file of it, or - for standard input.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .wav, .flac or .ogg file.")],
    language: Annotated[
        Language, typer.Option("--language", "--lang", "-l", metavar="MODE", help=_LANGUAGE_HELP)
    ] = Language.AUTO,
    cut: Annotated[Cut, typer.Option(metavar="METHOD", help=_CUT_HELP)] = Cut.AUTO,
    dictionary: Annotated[Path | None, typer.Option(help=_DICTIONARY_HELP)] = None,
    model: Annotated[Path | None, typer.Option(help="Directory with the model's files.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Recording of the voice, 3 to 10 s, any common format.")
    ] = None,
    reference_text: Annotated[
        str | None, typer.Option(help="What the recording says (phonemes with --phonemes).")
    ] = None,
    reference_language: Annotated[
        Language | None,
        typer.Option(help="Language of --reference-text; as --language if not given."),
    ] = None,
    auxiliary: Annotated[
        list[Path] | None, typer.Option(help="Another recording of the voice; up to four.")
    ] = None,
    t2s: Annotated[Path | None, typer.Option(help="T2S (GPT) checkpoint file.")] = None,
    sovits: Annotated[Path | None, typer.Option(help="SoVITS checkpoint file.")] = None,
    pretrained: Annotated[
        Path | None, typer.Option(help="Directory with HuBERT, BERT and the speaker encoder.")
    ] = None,
    phonemes: Annotated[
        bool, typer.Option("--phonemes", help="TEXT is phonemes, one segment per line.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Use a small random model: noise, not speech.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Same seed, same audio.")] = None,
    speed: Annotated[float, typer.Option(help="0.25 to 4.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="0 allows all tokens.")] = 15,
    top_p: Annotated[float, typer.Option()] = 1.0,
    temperature: Annotated[float, typer.Option()] = 1.0,
    repetition_penalty: Annotated[float, typer.Option()] = 1.35,
    pause: Annotated[float, typer.Option(help="Seconds of silence after each segment.")] = 0.3,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bfloat16.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all.")] = 0,
    trim_reference: Annotated[
        bool, typer.Option("--trim-reference", help="Cut a long recording to 10 s.")
    ] = False,
) -> None:
    """Speak TEXT with a voice and write the audio to a file."""
    from sovits_serve.say import SayJob, read_text, run_say
    from sovits_serve.synthesizer import SpeechOptions

    with _exit_codes():
        job = SayJob(
            text=read_text(text),
            language=language.value,
            cut=cut.value,
            dictionary=dictionary,
            is_phonemes=phonemes,
            output=output,
            directory=model,
            t2s=t2s,
            sovits=sovits,
            pretrained=pretrained,
            reference=reference,
            reference_text=reference_text,
            reference_language=None if reference_language is None else reference_language.value,
            auxiliary=tuple(auxiliary or ()),
            is_demo=demo,
            device=device,
            dtype=dtype,
            threads=threads,
            trim_reference=trim_reference,
        )
        options = SpeechOptions(
            seed=secrets.randbits(32) if seed is None else seed,
            top_k=top_k or None,
            top_p=top_p,
            temperature=temperature,
            repetition_penalty=repetition_penalty,
            speed=speed,
            segment_pause_s=pause,
        )
        run_say(job, options)


@app.command()
def phonemize(
    text: Annotated[str, typer.Argument(help="Text, a file of it, or - for standard input.")],
    language: Annotated[
        Language, typer.Option("--language", "--lang", "-l", metavar="MODE", help=_LANGUAGE_HELP)
    ] = Language.AUTO,
    cut: Annotated[Cut, typer.Option(metavar="METHOD", help=_CUT_HELP)] = Cut.AUTO,
    dictionary: Annotated[Path | None, typer.Option(help=_DICTIONARY_HELP)] = None,
    symbols: Annotated[
        Symbols, typer.Option(help="Symbol table: v1 models have their own.")
    ] = Symbols.V2,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per segment.")] = False,
) -> None:
    """Show how TEXT is read: segments, languages, normalised text, phonemes, and where from."""
    from sovits_serve.phonemize import run_phonemize
    from sovits_serve.say import read_text

    with _exit_codes():
        lines = run_phonemize(
            read_text(text),
            language.value,
            cut=cut.value,
            dictionary=dictionary,
            symbol_version=symbols.value,
            as_json=as_json,
        )
        for line in lines:
            _print(line)


@models_app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A .ckpt or .pth file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write into.")],
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
) -> None:
    """Convert a checkpoint to safetensors, which loads without reading pickle."""
    from sovits_serve.checkpoints.convert import convert as convert_file

    with _exit_codes():
        with _output_errors(output):
            target = convert_file(file, output, overwrite=overwrite)
        _print(str(target))


@models_app.command()
def inspect(file: Annotated[Path, typer.Argument(help="A checkpoint file.")]) -> None:
    """Say what a checkpoint file is: kind, version, dimensions."""
    from sovits_serve.checkpoints.convert import describe

    with _exit_codes():
        for key, value in describe(file).items():
            shown = str(value)
            # A file's own words must not steer the terminal.
            _print(f"{key}: {shown if shown.isprintable() else ascii(shown)}")


@models_app.command("random")
def make_random(
    directory: Annotated[Path, typer.Argument(help="Directory to make.")],
    version: Annotated[Version, typer.Option()] = Version.V2,
    size: Annotated[Size, typer.Option()] = Size.TINY,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 0,
) -> None:
    """Make a model of random weights in the real layout, for tests and benchmarks."""
    from sovits_serve.checkpoints.random_model import write_random_model
    from sovits_serve.models.spec import ModelVersion

    with _exit_codes():
        with _output_errors(directory):
            write_random_model(directory, version=ModelVersion(version), size=size.value, seed=seed)
        _print(str(directory))


def _print(line: str) -> None:
    with _output_errors("standard output"):
        typer.echo(line)


@contextmanager
def _output_errors(name: Path | str) -> Iterator[None]:
    """Turn what the system says about an output into that output's exit code."""
    try:
        yield
    except OSError as error:
        raise StopCommand(f"{name}: {error.strerror or error}", EXIT_NO_OUTPUT) from error


@contextmanager
def _exit_codes() -> Iterator[None]:
    """Turn errors into one line on standard error and the exit codes of the module docstring."""
    try:
        yield
    except StopCommand as error:
        _stop(str(error), error.exit_code)
    except SetupError as error:
        _stop(error.message, error.exit_code)
    except RequestError as error:
        _stop(error.message, EXIT_BAD_REQUEST)
    except ServingError as error:
        _stop(error.message, EXIT_FAILED)
    except OSError as error:
        _stop(f"{error.filename}: {error.strerror or error}", EXIT_NO_INPUT)
    except ModuleNotFoundError as error:
        if error.name not in _ENGINE_LIBRARIES:
            raise
        _stop(f"this command needs {error.name}: pip install 'sovits-serve[engine]'", EXIT_SETUP)
    except KeyboardInterrupt:
        _stop("interrupted", 130)


def _stop(message: str, exit_code: int) -> None:
    typer.echo(f"sovits-serve: {message}", err=True)
    raise typer.Exit(exit_code)
