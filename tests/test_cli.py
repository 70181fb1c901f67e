"""The command line: what it writes and its exit codes."""

import errno
import json
import shutil
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner, Result

from sovits_serve import __version__, builtin
from sovits_serve.checkpoints.layout import write_t2s
from sovits_serve.checkpoints.load import load_t2s
from sovits_serve.checkpoints.random_model import write_random_model
from sovits_serve.cli import app
from sovits_serve.errors import StopCommand
from sovits_serve.models.spec import ModelVersion
from sovits_serve.say import read_text
from tests.stand_in import write_stand_in


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
        (("--threads", "1000000"), 78, "num_threads: 1000000 is not between 0 and 1024"),
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


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "他在银行工作了3年。"),
        ("yue", "我哋今晚去食飯。"),
        ("en", "He paid $5 for 3 apples."),
        ("ja", "明日は東京に行きます。"),
        ("ko", "오늘은 날씨가 좋네요."),
        ("auto", "你好 hello こんにちは 안녕하세요"),
    ],
)
def test_plain_text_is_spoken_in_every_language(
    model: Path, tmp_path: Path, language: str, text: str
) -> None:
    """Text becomes audio in each language, with a transcript of the reference in another."""
    voice = ("--model", model, "--reference", model / "reference.wav", "--threads", "1")
    prompt = ("--reference-text", "This is the voice.", "--reference-language", "en")
    output = tmp_path / "a.wav"

    result = run("say", text, "-o", output, "--language", language, *voice, *prompt, "--seed", "1")

    assert result.exit_code == 0, result.stderr
    assert soundfile.info(output).duration > 0.4


def test_a_file_of_many_sentences_is_spoken_whole(model: Path, tmp_path: Path) -> None:
    """A text file is read sentence by sentence; pauses and pronunciations in it count."""
    book = tmp_path / "book.txt"
    book.write_text("第[一|yi1]句话说完了。<break time='2s'/>\n\n" * 4, encoding="utf-8")
    voice = ("--model", model, "--reference", model / "reference.wav", "--threads", "1")
    output = tmp_path / "book.wav"

    result = run("say", book, "-o", output, "-l", "zh", *voice, "--seed", "1")

    assert result.exit_code == 0, result.stderr
    samples, rate_hz = soundfile.read(output)
    assert (samples == 0).sum() >= 4 * 2 * rate_hz


@pytest.mark.parametrize(
    ("more", "exit_code", "words"),
    [
        (("……",), 65, "text: holds no word"),
        (("[好|qo3]。",), 65, "qo3"),
        (("<break time='99s'/>你好",), 65, "99"),
        (("你好", "--language", "xx"), 2, "xx"),
        (("你好", "--dictionary", "nowhere.txt"), 78, "nowhere.txt: No such file"),
    ],
)
def test_bad_text_is_an_error_of_its_own(
    model: Path, tmp_path: Path, more: tuple[str, ...], exit_code: int, words: str
) -> None:
    """Nothing to say, impossible readings and bad settings are named, and leave no file."""
    voice = ("--model", model, "--reference", model / "reference.wav")

    result = run("say", *more, "-o", tmp_path / "a.wav", *voice)

    assert result.exit_code == exit_code
    assert words in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_phonemize_shows_where_phonemes_come_from() -> None:
    """Each unit of the text is shown with its phonemes and its range."""
    result = run("phonemize", "他有3个。Ok", "--lang", "zh")

    assert result.exit_code == 0, result.stderr
    assert "zh: 他有三个." in result.stdout
    assert "s an1  <- [2:3] '3'" in result.stdout
    assert "en: Ok" in result.stdout


def test_phonemize_writes_json_and_reads_a_dictionary(tmp_path: Path) -> None:
    """With --json each segment is an object on a line; the dictionary's reading is in it."""
    words = tmp_path / "words.txt"
    words.write_text("重庆\tzhong4 qing4\n", encoding="utf-8")

    result = run("phonemize", "我在重庆工作了三年。", "--json", "--dictionary", words, "-l", "zh")

    (line,) = result.stdout.splitlines()
    segment = json.loads(line)
    assert " ".join(segment["phonemes"]).startswith("w o3 z ai4 zh ong4 q ing4")
    assert segment["pieces"][0]["units"][2] == {
        "text": "重",
        "phonemes": ["zh", "ong4"],
        "start": 2,
        "end": 3,
    }


def test_phonemize_refuses_what_a_v1_model_cannot_speak() -> None:
    """The symbol table of v1 models has no Korean."""
    result = run("phonemize", "안녕하세요", "--symbols", "v1")

    assert result.exit_code == 65
    assert "v1 model" in result.stderr


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"h ao3 \xff", "standard input: not UTF-8 at byte 6"),
        (b"h\n" * 9 * 2**20, "16777216 bytes"),
    ],
)
def test_standard_input_must_be_text_of_a_bounded_size(
    model: Path, tmp_path: Path, data: bytes, words: str
) -> None:
    """Bytes that are no text, and text without end, are refused before a model is loaded."""
    command = ["say", "-", "--phonemes", "-o", str(tmp_path / "a.wav"), "--model", str(model)]

    result = CliRunner().invoke(app, command, input=data)

    assert result.exit_code == 65
    assert words in result.stderr


def test_a_byte_order_mark_is_no_phoneme(model: Path, tmp_path: Path) -> None:
    """Standard input may begin with a byte order mark, as a file may."""
    voice = ("--model", str(model), "--reference", str(model / "reference.wav"))
    command = ["say", "-", "--phonemes", "-o", str(tmp_path / "a.wav"), *voice]

    result = CliRunner().invoke(app, command, input=b"\xef\xbb\xbfh ao3 .")

    assert result.exit_code == 0, result.stderr


def test_closed_standard_input_is_an_input_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python has no standard input where the shell closed it; that is said, not raised."""
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(StopCommand, match="standard input: closed") as stopped:
        read_text("-")
    assert stopped.value.exit_code == 66


def test_a_recording_without_end_is_refused(model: Path, tmp_path: Path) -> None:
    """No more is read of a reference than may be decoded."""
    result = say(model, tmp_path / "a.wav", "--reference", "/dev/zero")

    assert result.exit_code == 65
    assert "must be at most 12582912" in result.stderr


@pytest.mark.parametrize("name", ["a" * 251 + ".wav", "made.wav"])
def test_an_output_that_cannot_be_made_has_its_own_code(
    model: Path, tmp_path: Path, name: str
) -> None:
    """A name that is too long, or that a directory has, is the output's fault."""
    (tmp_path / "made.wav").mkdir()

    result = say(model, tmp_path / name)

    assert result.exit_code == 73
    assert name in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["made.wav"]


def test_nobody_can_lay_a_trap_beside_the_output(model: Path, tmp_path: Path) -> None:
    """What is written before the output has its name never goes through a link laid there."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".a.partial.wav").symlink_to(victim)

    result = say(model, tmp_path / "a.wav")

    assert result.exit_code == 0
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--t2s", "a.ckpt"), "both --t2s and --sovits"),
        (("--sovits", "a.pth", "--reference", "a.wav"), "both --t2s and --sovits"),
        (("--t2s", "a", "--sovits", "b"), "--reference"),
        (("--pretrained", "."), "--pretrained: is for a model of your own"),
        (("--voice", "max-en", "--reference", "a.wav"), "--voice, or --reference"),
        (("--reference-text", "Hello."), "go with --reference"),
        (("--auxiliary", "a.wav"), "go with --reference"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    """What was named is used or refused, and never quietly replaced by the built-in voice."""
    result = run("say", "Hello.", "-o", tmp_path / "a.wav", *options)

    assert result.exit_code == 2
    assert words in result.stderr


def test_nothing_but_a_text_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in voice speaks English and Chinese; others of it have names."""
    monkeypatch.setattr(builtin, "FOLDER", str(write_stand_in(tmp_path / "model")))
    options = ("--seed", "1", "--threads", "1")
    names = ("default", "onyx", "nobody")

    results = [
        run("say", "Hi! 你好。", "-o", tmp_path / f"{name}.wav", "--voice", name, *options)
        for name in names
    ]
    plain = run("say", "Hi! 你好。", "-o", tmp_path / "a.wav", *options)

    assert [result.exit_code for result in (plain, *results)] == [0, 0, 0, 65], plain.stderr
    spoken = [(tmp_path / f"{name}.wav").read_bytes() for name in ("a", "default", "onyx")]
    assert spoken[0] == spoken[1] != spoken[2]
    assert "'nobody' is not known; there is ada-en" in results[2].stderr


def test_a_model_with_voices_needs_no_reference(model: Path, tmp_path: Path) -> None:
    """--voice names one of the recordings beside the model's files, and not a built-in one."""
    for path in model.iterdir():
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / "m" / path.name).symlink_to(path)
    (tmp_path / "m" / "voices").mkdir()
    for kind in ("wav", "txt"):
        shutil.copy(model / f"reference.{kind}", tmp_path / "m" / "voices" / f"anna.{kind}")
    options = ("--model", tmp_path / "m", "--threads", "1")

    good = run("say", "Hi.", "-o", tmp_path / "a.wav", "--voice", "anna", *options)
    bad = run("say", "Hi.", "-o", tmp_path / "b.wav", "--voice", "ada-en", *options)

    assert good.exit_code == 0, good.stderr
    assert bad.exit_code == 65
    assert "'ada-en' is not known; there is anna" in bad.stderr


def test_a_voice_that_is_not_there_is_told_before_anything_loads(
    model: Path, tmp_path: Path
) -> None:
    """A slip in its name costs no minute of loading: here there is nothing that could load."""
    (tmp_path / "voices").mkdir()
    for kind in ("wav", "txt"):
        shutil.copy(model / f"reference.{kind}", tmp_path / "voices" / f"anna.{kind}")

    result = run("say", "Hi.", "-o", tmp_path / "a.wav", "--voice", "ana", "--model", tmp_path)

    assert result.exit_code == 65
    assert "'ana' is not known; there is anna" in result.stderr


def test_a_voice_brings_its_language_and_no_foreign_model(model: Path, tmp_path: Path) -> None:
    """What its file says of the language holds unless told; another model is not there to speak."""
    voices = tmp_path / "voices"
    voices.mkdir()
    for path in model.iterdir():
        (tmp_path / path.name).symlink_to(path)
    for name in ("anna", "bert"):
        for kind in ("wav", "txt"):
            shutil.copy(model / f"reference.{kind}", voices / f"{name}.{kind}")
    (voices / "anna.toml").write_text('[defaults]\nlanguage = "en"\n')
    (voices / "bert.toml").write_text('model = "large"\n')
    options = ("--model", tmp_path, "--threads", "1", "--seed", "3")

    def spoken(*more: str) -> bytes:
        result = run("say", "1 2 3", "-o", tmp_path / "a.wav", *options, *more)
        assert result.exit_code == 0, result.stderr
        return (tmp_path / "a.wav").read_bytes()

    own = spoken("--voice", "anna")
    assert own == spoken("--voice", "anna", "--language", "en")
    assert own != spoken("--voice", "anna", "--language", "all_ja")
    other = run("say", "Hi.", "-o", tmp_path / "b.wav", *options, "--voice", "bert")
    assert other.exit_code == 65
    assert "bert speaks with the model 'large'" in other.stderr


def test_a_device_that_is_counted_must_be_a_gpu(model: Path, tmp_path: Path) -> None:
    """There is no eighth CPU to compute on; it is not quietly replaced by the first."""
    result = say(model, tmp_path / "a.wav", "--device", "cpu:7")

    assert result.exit_code == 78
    assert "device: 'cpu:7'" in result.stderr


def test_missing_options_are_wrong_usage(tmp_path: Path) -> None:
    """A model without voices of its own needs a reference to speak as."""
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


@pytest.mark.parametrize("command", ["convert", "random"])
def test_a_directory_that_cannot_be_made_is_an_outputs_fault(
    model: Path, tmp_path: Path, command: str
) -> None:
    """A file in the directory's place gives the exit code of an output."""
    place = tmp_path / "place"
    place.touch()
    arguments = (model / "gpt.ckpt", "-o", place) if command == "convert" else (place,)

    result = run("models", command, *arguments)

    assert result.exit_code == 73
    assert "place" in result.stderr


def test_a_seed_of_a_model_must_fit(tmp_path: Path) -> None:
    """A seed past 63 bits is wrong usage."""
    assert run("models", "random", tmp_path / "made", "--seed", str(2**63)).exit_code == 2


def test_inspect_shows_no_control_characters(model: Path, tmp_path: Path) -> None:
    """A note cannot steer the terminal, and half of a surrogate pair does not stop the command."""
    path = tmp_path / "odd.ckpt"
    original = load_t2s(model / "gpt.ckpt")
    tensors = {name: original.weights.tensor(name) for name in original.weights.names()}
    write_t2s(path, tensors, original.config, info="\x1b[31mred \ud800")

    result = run("models", "inspect", path)

    assert result.exit_code == 0
    assert r"info: '\x1b[31mred \ud800'" in result.stdout


def test_a_reader_that_leaves_is_an_output_that_cannot_be_written(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When standard output is a closed pipe the command says so with the code of an output."""

    def closed(*_: object, **options: object) -> None:
        if not options.get("err"):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("typer.echo", closed)

    assert run("models", "inspect", model / "gpt.ckpt").exit_code == 73


def test_random_models_are_made(tmp_path: Path) -> None:
    """``models random`` makes a whole directory."""
    result = run("models", "random", tmp_path / "made", "--version", "v1")

    assert result.exit_code == 0
    assert (tmp_path / "made" / "reference.wav").is_file()


@pytest.mark.parametrize(("library", "extra"), [("uvicorn", "server"), ("torch", "engine")])
def test_a_missing_library_is_named_with_its_extra(
    library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation without what a command needs says what to install."""

    def missing(_: object) -> int:
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)

    monkeypatch.setattr("sovits_serve.serve.run_serve", missing)

    result = run("serve")

    assert result.exit_code == 78
    assert f"needs {library}: pip install 'sovits-serve[{extra}]'" in result.stderr


def test_help_has_every_command() -> None:
    """The commands are in the help, with a sentence each."""
    shown = run("--help").stdout

    assert all(f" {name} " in shown for name in ("say", "serve", "engines", "top", "models"))


def test_version() -> None:
    """--version prints it."""
    assert run("--version").stdout == f"sovits-serve {__version__}\n"
