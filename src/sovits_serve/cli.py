"""The command line. Imports nothing heavy: each command loads what it needs.

Exit codes: 0 done, for a server: stopped as it was told to; 2 wrong usage; 65 the text, phonemes
or reference are bad; 66 an input file cannot be read; 69 no server answers (``top``); 70 synthesis
failed, or a server had no working engine left; 73 the output cannot be written; 78 a setting is
bad, an address is in use or a library is missing; 79 a checkpoint is bad; 130 interrupted.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sovits_serve import __version__
from sovits_serve.cli_bench import bench_app
from sovits_serve.cli_errors import exit_codes, output_errors
from sovits_serve.config_flags import with_settings

_SHARED_SECTIONS = frozenset({"", "model", "queue", "supervisor", "engine", "log"})
_SERVER_SECTIONS = _SHARED_SECTIONS | {"api", "frontend"}

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
app.add_typer(bench_app, name="bench")


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
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A .wav, .flac, .ogg, .mp3, .opus, .aac or .pcm file."),
    ],
    language: Annotated[
        Language | None,
        typer.Option(
            "--language",
            "--lang",
            "-l",
            metavar="MODE",
            help=f"{_LANGUAGE_HELP} If not given, the voice's, else auto.",
        ),
    ] = None,
    cut: Annotated[Cut, typer.Option(metavar="METHOD", help=_CUT_HELP)] = Cut.AUTO,
    dictionary: Annotated[Path | None, typer.Option(help=_DICTIONARY_HELP)] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Directory with the model's files; without one the built-in voice."),
    ] = None,
    voice: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A voice of voices/ in it, or a built-in one: max-en."),
    ] = None,
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
    seed: Annotated[int | None, typer.Option(help="Same seed, same audio.")] = None,
    speed: Annotated[float | None, typer.Option(help="0.25 to 4; 1 if not the voice's.")] = None,
    top_k: Annotated[
        int | None, typer.Option(help="0 allows all tokens; 15 if not the voice's.")
    ] = None,
    top_p: Annotated[float | None, typer.Option(help="1 if not the voice's.")] = None,
    temperature: Annotated[float | None, typer.Option(help="1 if not the voice's.")] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="1.35 if not the voice's.")
    ] = None,
    pause: Annotated[
        float | None, typer.Option(help="Seconds of silence after each segment; else 0.3.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bfloat16.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all.")] = 0,
    trim_reference: Annotated[
        bool, typer.Option("--trim-reference", help="Cut a long recording to 10 s.")
    ] = False,
) -> None:
    """Speak TEXT with a voice and write the audio to a file."""
    from sovits_serve.say import SayJob, read_text, run_say

    with exit_codes():
        job = SayJob(
            text=read_text(text),
            language=None if language is None else language.value,
            cut=cut.value,
            dictionary=dictionary,
            is_phonemes=phonemes,
            output=output,
            directory=model,
            t2s=t2s,
            sovits=sovits,
            pretrained=pretrained,
            voice=voice,
            reference=reference,
            reference_text=reference_text,
            reference_language=None if reference_language is None else reference_language.value,
            auxiliary=tuple(auxiliary or ()),
            device=device,
            dtype=dtype,
            threads=threads,
            trim_reference=trim_reference,
        )
        given: dict[str, float | None] = {
            "seed": seed,
            "top_k": top_k,
            "top_p": top_p,
            "temperature": temperature,
            "repetition_penalty": repetition_penalty,
            "speed": speed,
            "segment_pause_s": pause,
        }
        chosen: dict[str, float | None] = {k: v for k, v in given.items() if v is not None}
        if top_k == 0:
            chosen["top_k"] = None
        run_say(job, chosen)


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

    with exit_codes():
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


def _serve(file: Path | None, given: Mapping[str, object]) -> None:
    """Serve voices over HTTP: engines, queue and HTTP workers, all kept alive.

    Every setting is also an environment variable and a key of the TOML file; see
    docs/configuration.md.
    """
    from sovits_serve.config_sources import load_config
    from sovits_serve.serve import run_serve

    with exit_codes():
        raise typer.Exit(run_serve(load_config(given, file=file)))


def _engines(file: Path | None, given: Mapping[str, object]) -> None:
    """Run engines and queue only; HTTP is another server's with sovits_serve.api.app:app.

    Every setting is also an environment variable and a key of the TOML file; see
    docs/configuration.md.
    """
    from sovits_serve.config_sources import load_config
    from sovits_serve.serve import run_engines

    with exit_codes():
        raise typer.Exit(run_engines(load_config(given, file=file)))


app.command("serve")(with_settings(_serve, _SERVER_SECTIONS))
app.command("engines")(with_settings(_engines, _SHARED_SECTIONS))


@app.command()
def top(
    url: Annotated[str, typer.Option(help="Where the server is.")] = "http://127.0.0.1:9880",
    api_key: Annotated[
        str, typer.Option(help="A key of the server; SOVITS_SERVE_API_KEY is used without one.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.")] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")
    ] = 1.0,
) -> None:
    """Show queue, engines, memory and latency of a server, live."""
    from sovits_serve.config_sources import client_api_key
    from sovits_serve.top import run_top

    with exit_codes():
        key = api_key or client_api_key()
        raise typer.Exit(run_top(url, key, is_once=once, interval_s=interval))


@models_app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A .ckpt or .pth file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write into.")],
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
) -> None:
    """Convert a checkpoint to safetensors, which loads without reading pickle."""
    from sovits_serve.checkpoints.convert import convert as convert_file

    with exit_codes():
        with output_errors(output):
            target = convert_file(file, output, overwrite=overwrite)
        _print(str(target))


@models_app.command()
def inspect(file: Annotated[Path, typer.Argument(help="A checkpoint file.")]) -> None:
    """Say what a checkpoint file is: kind, version, dimensions."""
    from sovits_serve.checkpoints.convert import describe

    with exit_codes():
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
    tokens_per_phoneme: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            help="The text alone decides how long it speaks (2: 12.5 phonemes a second); "
            "0: it ends where noise ends it.",
        ),
    ] = 0,
) -> None:
    """Make a model of random weights in the real layout, for tests and benchmarks."""
    from sovits_serve.checkpoints.random_model import write_random_model
    from sovits_serve.models.spec import ModelVersion

    with exit_codes():
        with output_errors(directory):
            write_random_model(
                directory,
                version=ModelVersion(version),
                size=size.value,
                seed=seed,
                tokens_per_phoneme=tokens_per_phoneme,
            )
        _print(str(directory))


def _print(line: str) -> None:
    with output_errors("standard output"):
        typer.echo(line)
