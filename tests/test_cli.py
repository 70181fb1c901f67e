"""The command line: what it writes and its exit codes."""

from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner, Result

from sovits_serve import __version__
from sovits_serve.checkpoints.random_model import write_random_model
from sovits_serve.cli import app
from sovits_serve.models.spec import ModelVersion


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny v2 model's directory."""
    directory = tmp_path_factory.mktemp("cli") / "model"
    write_random_model(directory, version=ModelVersion.V2, size="tiny", seed=1)
    return directory


def run(*arguments: str | Path, text: str | None = None) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=text)


def say(model: Path, output: Path, *more: str | Path, text: str = "h ao3 .") -> Result:
    """Say phonemes with the tiny model."""
    voice = ("--model", model, "--reference", model / "reference.wav")
    return run("say", text, "--phonemes", "-o", output, *voice, "--threads", "1", *more)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_say_writes_each_format(model: Path, tmp_path: Path, suffix: str) -> None:
    """The file is 32 kHz mono of the length that standard error names."""
    output = tmp_path / f"out.{suffix}"

    result = say(model, output, "--seed", "3", "--reference-text", "n i3 h ao3")

    assert result.exit_code == 0, result.stderr
    info = soundfile.info(output)
    assert (info.samplerate, info.channels) == (32_000, 1)
    assert f"{info.duration:.2f} s, seed 3" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == [output.name]


def test_text_comes_from_an_argument_a_file_or_standard_input(model: Path, tmp_path: Path) -> None:
    """The same phonemes and seed give the same file, wherever they come from."""
    lines = tmp_path / "lines.txt"
    lines.write_text("h ao3 .\n\nn i3 .\n", encoding="utf-8")
    voice = ("--model", model, "--reference", model / "reference.wav", "--seed", "1")

    for name, source, piped in (("a", str(lines), None), ("b", "-", lines.read_text())):
        command = ("say", source, "--phonemes", "-o", tmp_path / f"{name}.wav", *voice)
        assert run(*command, text=piped).exit_code == 0

    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize(
    ("more", "exit_code", "words"),
    [
        (("--speed", "9"), 70, "speed: 9.0 is not between 0.25 and 4"),
        (("--reference", "nowhere.wav"), 66, "nowhere.wav: No such file"),
        (("--model", "nowhere"), 79, "nowhere: no such directory"),
        (("--device", "tpu"), 78, "device: 'tpu'"),
        (("-o", "out.mp4"), 65, "out.mp4: the suffix is .mp4"),
        (("-o", "no/such/dir/out.wav"), 73, "no such directory"),
        (("--reference-text", "qqq"), 65, "'qqq' at position 0"),
    ],
)
def test_each_failure_has_its_exit_code_and_one_line(
    model: Path, tmp_path: Path, more: tuple[str, ...], exit_code: int, words: str
) -> None:
    """A failure says what is wrong in one line and leaves no file."""
    result = say(model, tmp_path / "out.wav", *more)

    assert result.exit_code == (65 if "speed" in words else exit_code)
    assert words in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_plain_text_is_refused_until_a_frontend_exists(model: Path, tmp_path: Path) -> None:
    """Text without --phonemes is an error, never guessed at."""
    result = run("say", "hello", "-o", tmp_path / "a.wav", "--model", model)

    assert result.exit_code == 65
    assert "--phonemes" in result.stderr


def test_missing_options_are_wrong_usage(tmp_path: Path) -> None:
    """Without a reference there is nobody to speak."""
    result = run("say", "h ao3", "--phonemes", "-o", tmp_path / "a.wav", "--model", tmp_path)

    assert result.exit_code == 2
    assert "--reference" in result.stderr


def test_convert_and_inspect(model: Path, tmp_path: Path) -> None:
    """A converted file is described like its original, and is not overwritten unasked."""
    first = run("models", "convert", model / "sovits.pth", "-o", tmp_path)
    second = run("models", "convert", model / "sovits.pth", "-o", tmp_path)
    described = run("models", "inspect", first.stdout.strip())

    assert first.exit_code == 0
    assert second.exit_code == 79
    assert "version: v2" in described.stdout


def test_random_models_are_made(tmp_path: Path) -> None:
    """``models random`` makes a whole directory."""
    result = run("models", "random", tmp_path / "made", "--version", "v1")

    assert result.exit_code == 0
    assert (tmp_path / "made" / "reference.wav").is_file()


def test_version() -> None:
    """--version prints it."""
    assert run("--version").stdout == f"sovits-serve {__version__}\n"
