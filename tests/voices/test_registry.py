"""The directory of voices as users leave it, and what requests can name."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sovits_serve.audio.decode import decode_audio
from sovits_serve.engine.request import ModelLimits, check_range, check_sampling
from sovits_serve.errors import InvalidRequest, UnknownVoice
from sovits_serve.protocol.messages import SamplingParams
from sovits_serve.voices.demo import make_demo_voice
from sovits_serve.voices.registry import OPENAI_VOICES, VoiceRegistry
from sovits_serve.voices.voice import Voice, VoiceDefaults, check_name

SOUND = b"RIFF: what it holds is read by others"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return an empty directory of voices, beside a file that is none of its business."""
    (tmp_path / "secret.wav").write_bytes(SOUND)
    path = tmp_path / "voices"
    path.mkdir()
    return path


def put(directory: Path, name: str, content: str | bytes = SOUND) -> Path:
    """Write a file, with the folders it needs."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def names(registry: VoiceRegistry) -> list[str]:
    """Return the names of all voices."""
    return [voice.name for voice in registry.voices()]


def test_a_recording_and_its_words_are_a_voice(directory: Path) -> None:
    """NAME.wav with NAME.txt needs nothing else; a byte order mark and line breaks do no harm."""
    recording = put(directory, "Ann.wav")
    put(directory, "Ann.txt", b"\xef\xbb\xbfHello\r\n there.\n")
    put(directory, "README.txt", "not a voice")

    registry = VoiceRegistry(directory)

    assert registry.voices() == (
        Voice(name="Ann", reference=recording.resolve(), prompt_text="Hello there."),
    )
    assert not registry.problems


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "m4a", "WAV"])
def test_each_kind_of_recording_is_a_voice(directory: Path, suffix: str) -> None:
    """Every container that is documented makes a voice; without words it has no prompt."""
    put(directory, f"ann.{suffix}")

    assert VoiceRegistry(directory).get("ann").prompt_text is None


def test_settings_beside_a_recording(directory: Path) -> None:
    """NAME.toml says more about NAME.wav: language, other names, defaults."""
    put(directory, "ann.wav")
    put(directory, "ann.txt", "from the file")
    put(
        directory,
        "ann.toml",
        'language = "ZH"\naliases = ["anna", "安"]\ndescription = "calm"\nmodel = "m"\n'
        '[defaults]\nspeed = 1\ntop_k = 5\nseed = 7\nlanguage = "EN"\n',
    )

    voice = VoiceRegistry(directory).get("安")

    assert (voice.prompt_text, voice.prompt_language) == ("from the file", "zh")
    assert (voice.aliases, voice.description, voice.model) == (("anna", "安"), "calm", "m")
    assert voice.defaults == VoiceDefaults(language="en", speed=1.0, top_k=5, seed=7)


def test_a_folder_is_a_voice(directory: Path) -> None:
    """NAME/voice.toml names its recordings; what it says wins over a text beside the reference."""
    for name in ("a.wav", "b.flac", "c.mp3"):
        put(directory, f"Bob/{name}")
    put(directory, "Bob/a.txt", "beside")
    settings = 'reference = "a.wav"\nauxiliary = ["b.flac", "c.mp3"]\n'
    put(directory, "Bob/voice.toml", settings)

    voice = VoiceRegistry(directory).get("bob")

    folder = directory.resolve() / "Bob"
    assert voice.reference == folder / "a.wav"
    assert voice.auxiliary == (folder / "b.flac", folder / "c.mp3")
    assert voice.prompt_text == "beside"
    put(directory, "Bob/voice.toml", settings + 'text = "set"\n')
    assert VoiceRegistry(directory).get("bob").prompt_text == "set"


@pytest.mark.parametrize("name", ["Ann", "派蒙", "Ёлка 2", "हिन्दी", "a-b_c d", "3", "x" * 64])
def test_names_in_any_script(name: str) -> None:
    """Letters of every script, digits, blanks, - and _ make a name."""
    assert check_name(name) == name


def test_two_spellings_of_one_letter_are_one_name(directory: Path) -> None:
    """A name as macOS writes it (decomposed) is found as everybody types it."""
    put(directory, "Zoe\u0308.wav")

    registry = VoiceRegistry(directory)

    assert names(registry) == ["Zo\u00eb"]
    assert registry.get("ZO\u00cb") is registry.get("zoe\u0308") is registry.voices()[0]


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "a/b", "..", "a.b", "-a", "_a", " a", "a ", "a\nb", "a\0", "a\u202eb"]
)
def test_other_names_are_refused(name: str) -> None:
    """A name that is no plain word, or could be a path, is refused."""
    with pytest.raises(InvalidRequest, match="voice name"):
        check_name(name)


def test_default_voice(directory: Path) -> None:
    """The voice called "default" is it, else the first by name, else none."""
    registry = VoiceRegistry(directory)
    assert registry.default is None
    put(directory, "bob.wav")
    put(directory, "Ann.wav")
    assert VoiceRegistry(directory).default == VoiceRegistry(directory).get("ann")
    put(directory, "Default.wav")

    assert VoiceRegistry(directory).default == VoiceRegistry(directory).get("default")
    assert VoiceRegistry(directory).get("default").name == "Default"


@pytest.mark.parametrize("name", [*sorted(OPENAI_VOICES), "", "  ", "default", "ALLOY"])
def test_openai_names_are_the_default_voice(directory: Path, name: str) -> None:
    """Clients with a fixed list of voices get the default one."""
    put(directory, "ann.wav")

    assert VoiceRegistry(directory).get(name).name == "ann"


def test_a_voice_may_have_an_openai_name(directory: Path) -> None:
    """A voice that is called like one of OpenAI's is meant by that name."""
    put(directory, "ann.wav")
    put(directory, "Nova.wav")

    assert VoiceRegistry(directory).get("nova").name == "Nova"


def test_unknown_voice_names_some_that_exist(directory: Path) -> None:
    """The error helps: it says which voices there are, but not hundreds of them, and no path."""
    for index in range(20):
        put(directory, f"voice{index:02}.wav")

    with pytest.raises(UnknownVoice) as caught:
        VoiceRegistry(directory).get("zed" * 1000)

    assert "voice00, voice01" in caught.value.message
    assert "and 12 more" in caught.value.message
    assert len(caught.value.message) < 300
    assert str(directory) not in caught.value.message


@pytest.mark.parametrize("name", ["", "alloy", "ann"])
def test_without_any_voice_the_error_says_what_to_do(name: str) -> None:
    """No directory, no voices: the error says how to make one."""
    with pytest.raises(UnknownVoice, match=r"NAME\.wav and NAME\.txt"):
        VoiceRegistry(None).get(name)


FOLDER = 'reference = "a.wav"\n'


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("", 'reference = "FILE" is missing'),
        ('reference = "../../secret.wav"', "must be the name of a file in the same folder"),
        ('reference = "/etc/passwd.wav"', "must be the name of a file in the same folder"),
        ('reference = "link.wav"', "is outside of the directory of voices"),
        ('reference = "loop.wav"', "loop.wav"),
        ('reference = "nowhere.wav"', "'nowhere.wav': no such file"),
        ('reference = "a\\u0000.wav"', "no file name"),
        ('reference = "a.exe"', "must end in one of .wav"),
        ('reference = "empty.wav"', "is 0 bytes"),
        ('reference = "dir.wav"', "no such file"),
        ('reference = ["a.wav"]', "reference: Expected `str`"),
        (FOLDER + 'auxiliary = ["link.wav"]', r"auxiliary[0]: 'link.wav' is outside"),
        (FOLDER + f"auxiliary = {['a.wav'] * 5}", "auxiliary: 5 recordings; at most 4"),
        (FOLDER + 'language = "tlh"', "language: 'tlh' is not one of zh"),
        (FOLDER + 'aliases = ["a/b"]', "voice name: 'a/b'"),
        (FOLDER + f"aliases = {[f'a{n}' for n in range(33)]}", "aliases: 33 given; at most 32"),
        (FOLDER + f'text = "{"x" * 9000}"', "text: is longer than 8192 bytes"),
        (FOLDER + f'description = "{"x" * 1001}"', "description: is longer"),
        (FOLDER + "colour = 1", "unknown field `colour`"),
        (FOLDER + "[defaults]\nspeed = 5.0", "defaults.speed: Expected `float` <= 4.0"),
        (FOLDER + "[defaults]\nspeed = nan", "defaults.speed"),
        (FOLDER + "[defaults]\ntemperature = inf", "defaults.temperature"),
        (FOLDER + "[defaults]\nseed = -1", "defaults.seed: Expected `int` >= 0"),
        (FOLDER + '[defaults]\nlanguage = "?"', "language: '?'"),
        (FOLDER + "[defaults]\nvolume = 3", "unknown field `volume`"),
        ("reference = ", "voice.toml: Invalid value"),
        ("a = " + "[" * 5_000, "voice.toml"),
        ("# " + "x" * 70_000, "voice.toml: is longer than 65536 bytes"),
        (b"\xff\xfe".decode("latin-1"), "voice.toml"),
    ],
)
def test_a_broken_voice_takes_no_other_down(directory: Path, settings: str, problem: str) -> None:
    """What is wrong with a voice is told; the others are there."""
    put(directory, "good.wav")
    put(directory, "bad/a.wav")
    put(directory, "bad/empty.wav", b"")
    (directory / "bad" / "dir.wav").mkdir()
    (directory / "bad" / "link.wav").symlink_to(directory.parent / "secret.wav")
    (directory / "bad" / "loop.wav").symlink_to("loop.wav")
    put(directory, "bad/voice.toml", settings)

    registry = VoiceRegistry(directory)

    assert names(registry) == ["good"]
    assert problem in registry.problems["bad"]


def test_each_kind_of_broken_file_is_told(directory: Path) -> None:
    """Files that cannot be a voice are listed with the reason, by name."""
    put(directory, "a.b.wav")
    put(directory, "twice.wav")
    put(directory, "twice.flac")
    put(directory, "lonely.toml", "")
    put(directory, "utf16.wav")
    put(directory, "utf16.txt", "words".encode("utf-16"))
    put(directory, "long.wav")
    put(directory, "long.txt", "x" * 10_000)
    put(directory, "other.wav")
    put(directory, "other.toml", 'reference = "long.wav"')
    put(directory, "huge.wav")
    os.truncate(directory / "huge.wav", 13 << 20)
    put(directory, "folder/a.wav")
    (directory / "link.wav").symlink_to(directory.parent / "secret.wav")

    registry = VoiceRegistry(directory)

    assert not registry.voices()
    expected = {
        "a.b": "may hold letters",
        "twice": "several recordings (twice.flac, twice.wav)",
        "lonely": "add lonely.wav",
        "utf16": "utf16.txt: not UTF-8 at byte 0",
        "long": "long.txt: is longer than 8192 bytes",
        "other": "reference: is for voice.toml in a folder",
        "huge": "is 13631488 bytes, must be more than 0 and at most 12582912",
        "folder": "has no voice.toml",
        "link": "outside of the directory",
    }
    assert registry.problems.keys() == expected.keys()
    for name, part in expected.items():
        assert part in registry.problems[name]


def test_a_linked_folder_leads_nowhere(directory: Path) -> None:
    """A folder that is a link out of the directory is not read, not even its settings."""
    put(directory.parent, "elsewhere/a.wav")
    put(directory.parent, "elsewhere/voice.toml", FOLDER)
    (directory / "bob").symlink_to(directory.parent / "elsewhere")

    registry = VoiceRegistry(directory)

    assert "outside of the directory" in registry.problems["bob"]


def test_hidden_files_are_left_alone(directory: Path) -> None:
    """What an editor or a file system leaves behind is neither a voice nor a problem."""
    for name in (".DS_Store", "._ann.wav", ".git/config", "__pycache__/a.pyc", ".part.wav"):
        put(directory, name)

    registry = VoiceRegistry(directory)

    assert not registry.voices()
    assert not registry.problems


def test_names_that_collide(directory: Path) -> None:
    """Of two voices with one name the first is kept; an alias never takes another's name."""
    put(directory, "ann.wav")
    put(directory, "Ann/a.wav")
    put(directory, "Ann/voice.toml", FOLDER)
    put(directory, "bob.wav")
    put(directory, "bob.toml", 'aliases = ["ann", "robert"]')

    registry = VoiceRegistry(directory)

    assert names(registry) == ["Ann", "bob"]
    assert registry.get("ann").name == "Ann"
    assert registry.get("robert").name == "bob"
    assert "name of another voice (Ann)" in registry.problems["ann"]
    assert "'ann' is a name of Ann" in registry.problems["bob"]


def test_there_is_a_limit(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More voices than the limit are left out, and said to be."""
    monkeypatch.setattr("sovits_serve.voices.registry.MAX_VOICES", 3)
    for index in range(5):
        put(directory, f"v{index}.wav")

    registry = VoiceRegistry(directory)

    assert names(registry) == ["v0", "v1", "v2"]
    assert registry.problems == dict.fromkeys(("v3", "v4"), "there are more than 3 voices")


def _add(directory: Path) -> None:
    put(directory, "new.wav")


def _change_text(directory: Path) -> None:
    put(directory, "ann.txt", "other words")


def _remove(directory: Path) -> None:
    (directory / "ann.wav").unlink()


def _change_folder(directory: Path) -> None:
    put(directory, "bob/voice.toml", FOLDER + 'text = "set"')


@pytest.mark.parametrize("change", [_add, _change_text, _remove, _change_folder])
def test_changes_show_without_a_restart(directory: Path, change: Callable[[Path], None]) -> None:
    """A file that comes, goes or changes is seen, at most a second later."""
    put(directory, "ann.wav")
    put(directory, "bob/a.wav")
    put(directory, "bob/voice.toml", FOLDER)
    clock = Clock()
    registry = VoiceRegistry(directory, clock=clock)
    before = registry.voices()

    change(directory)
    clock.now_s += 0.9
    assert not registry.reload_if_changed()
    assert registry.voices() is before
    clock.now_s += 0.2
    assert registry.reload_if_changed()

    assert registry.voices() == VoiceRegistry(directory).voices() != before
    clock.now_s += 2
    assert not registry.reload_if_changed()


def test_only_what_changed_is_read_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of many voices is not read anew for one of them."""
    for index in range(5):
        put(directory, f"v{index}.wav")
    clock = Clock()
    registry = VoiceRegistry(directory, clock=clock)
    old = registry.get("v1")

    put(directory, "v0.txt", "words")
    clock.now_s += 2
    registry.reload_if_changed()

    assert registry.get("v0").prompt_text == "words"
    assert registry.get("v1") is old


def test_a_problem_is_logged_once(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each broken voice is in the log when it appears, not once a second, and goes when mended."""
    clock = Clock()
    with caplog.at_level(logging.WARNING):
        put(directory, "bad.toml")
        registry = VoiceRegistry(directory, clock=clock)
        for _ in range(3):
            clock.now_s += 2
            registry.reload_if_changed()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "bad" in caplog.text

    (directory / "bad.toml").write_text("")
    put(directory, "bad.wav")
    clock.now_s += 2

    assert registry.reload_if_changed()
    assert not registry.problems
    assert names(registry) == ["bad"]


def test_directory_may_come_later(tmp_path: Path) -> None:
    """A directory that is not there yet is a problem, not a crash, and is found when it is."""
    clock = Clock()
    registry = VoiceRegistry(tmp_path / "voices", clock=clock)
    assert "no such directory" in registry.problems.values()

    put(tmp_path, "voices/ann.wav")
    clock.now_s += 2

    assert registry.reload_if_changed()
    assert names(registry) == ["ann"]
    assert not registry.problems


def test_trouble_with_the_disk_keeps_the_voices(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the directory cannot be read for a while, the voices that were known still work."""
    put(directory, "ann.wav")
    clock = Clock()
    registry = VoiceRegistry(directory, clock=clock)

    def fail(path: object) -> None:
        raise OSError(24, "Too many open files", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", fail)
        clock.now_s += 2
        registry.reload_if_changed()
        assert names(registry) == ["ann"]
        assert "Too many open files" in registry.problems.values()
    clock.now_s += 2
    registry.reload_if_changed()

    assert names(registry) == ["ann"]
    assert not registry.problems


def test_a_voice_that_could_not_be_read_is_tried_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the system is not taken for a property of the file."""
    put(directory, "ann.wav")
    clock = Clock()

    def fail(files: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("sovits_serve.voices.registry.read_voice", fail)
        registry = VoiceRegistry(directory, clock=clock)
        assert registry.problems == {"ann": "Too many open files"}
    clock.now_s += 2
    registry.reload_if_changed()

    assert names(registry) == ["ann"]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("top_k", (1, 10_000)),
        ("top_p", (1e-9, 1.0)),
        ("temperature", (0.0, 100.0)),
        ("repetition_penalty", (0.01, 100.0)),
        ("seed", (0, 2**63 - 1)),
    ],
)
def test_defaults_that_are_accepted_can_be_used(
    directory: Path, field: str, values: tuple[float, float]
) -> None:
    """The ends of each range that a voice may set are ones that the engine takes."""
    limits = ModelLimits(100, 100, 100, 100, 4, can_read_chinese=True)
    for value in values:
        put(directory, "ann.wav")
        put(directory, "ann.toml", f"[defaults]\n{field} = {value}")
        defaults = VoiceRegistry(directory).get("ann").defaults

        check_sampling(SamplingParams(**{field: getattr(defaults, field)}), limits)
    check_range("speed", 0.25, 0.25, 4.0)


def test_demo_voice_is_a_voice(tmp_path: Path) -> None:
    """The made-up voice is found, has words, and is 4 s of sound that a model accepts."""
    recording = make_demo_voice(tmp_path / "made" / "here", seed=3)

    voice = VoiceRegistry(recording.parent).get("alloy")
    sound = decode_audio(recording.read_bytes())

    assert (voice.name, voice.prompt_text) == ("default", "This is a made-up voice.")
    assert (sound.rate_hz, sound.duration_s, sound.num_channels) == (32_000, 4.0, 1)
    assert 0.2 < abs(sound.samples).max() < 0.9
    again = make_demo_voice(tmp_path / "again", seed=3)
    assert again.read_bytes() == recording.read_bytes()
