"""First syntheses: of a made-up voice and of each voice, and what they find."""

import logging
from pathlib import Path

import pytest
from torch import Tensor

from sovits_serve.engine.warm_up import NotFinite, warm_up_model, warm_up_voice, warm_up_voices
from sovits_serve.errors import BadReferenceAudio
from sovits_serve.models.bundle import Models
from sovits_serve.models.sovits.model import SovitsModel
from sovits_serve.voices.demo import write_demo_recording
from sovits_serve.voices.voice import Voice
from tests.fakes import make_engine


def make_voice(directory: Path, name: str) -> Voice:
    """Write a recording and return its voice."""
    path = directory / f"{name}.wav"
    write_demo_recording(path, seed=1)
    return Voice(name, path)


def test_a_model_is_tried_and_left_clean(tiny: Models) -> None:
    """The first synthesis runs to its end and leaves nothing behind."""
    core = make_engine(tiny)
    warm_up_model(core, "v2")
    core.check_integrity()

    assert core.num_steps > 10
    assert not core.has_work()
    assert not core.scheduler.requests


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_its_phonemes_are_in_both_tables(tiny: Models, version: str) -> None:
    """The fixed text is known to models of either symbol table."""
    warm_up_model(make_engine(tiny), version)


def test_a_bad_voice_is_told_and_others_are_tried(
    tiny: Models, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A recording that cannot be used takes neither the engine nor another voice down."""
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"no recording")
    voices = [
        Voice("bad", noise),
        Voice("gone", tmp_path / "gone.wav"),
        make_voice(tmp_path, "good"),
    ]
    with caplog.at_level(logging.ERROR):
        problems = dict(warm_up_voices(make_engine(tiny), "v2", voices))

    assert "no audio file" in problems["bad"]
    assert "gone.wav" in problems["gone"]
    assert problems["good"] == ""
    assert "voice bad cannot be used" in caplog.text


def test_a_recording_too_short_is_found(tiny: Models, tmp_path: Path) -> None:
    """What the models cannot take is found too, not only what cannot be decoded."""
    voice = make_voice(tmp_path, "short")
    data = voice.reference.read_bytes()
    voice.reference.write_bytes(data[: 44 + 32_000])
    problems = dict(warm_up_voices(make_engine(tiny), "v2", [voice]))

    assert "is 0.5 s; needs 3 to 10 s" in problems["short"]


def test_a_precision_that_does_not_suffice_is_found(
    tiny: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples that are not finite are an error of their own: the precision is at fault."""
    generate = SovitsModel.generate

    def broken(self: SovitsModel, z: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        return generate(self, z, lengths, style) * float("nan")

    monkeypatch.setattr(SovitsModel, "generate", broken)

    with pytest.raises(NotFinite):
        warm_up_model(make_engine(tiny), "v2")


def test_a_voice_reads_its_other_recordings(tiny: Models, tmp_path: Path) -> None:
    """Auxiliary recordings are checked too."""
    voice = make_voice(tmp_path, "voice")
    (tmp_path / "aux.wav").write_bytes(b"")
    with pytest.raises(BadReferenceAudio):
        warm_up_voice(
            make_engine(tiny),
            "v2",
            Voice("voice", voice.reference, auxiliary=(tmp_path / "aux.wav",)),
        )
