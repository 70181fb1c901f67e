"""The frontend as a whole, with languages that tell what they were asked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sovits_serve.config import FrontendConfig
from sovits_serve.errors import InvalidRequest, TextTooLong, UnsupportedLanguage
from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.base import Phonemization, Reading, Unit
from sovits_serve.frontend.registry import LanguageRegistry
from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.protocol.messages import TextSpan


@dataclass
class FakeLanguage:
    """Says ``phoneme`` for every letter, and ``.`` for every mark; a reading is its phonemes."""

    phoneme: str
    calls: list[tuple[str, tuple[Reading, ...]]] = field(default_factory=list)

    def warm_up(self) -> None:
        """Load nothing."""

    def check_reading(self, text: str, reading: str) -> None:
        """Refuse one reading."""
        if reading == "ha3":
            raise InvalidRequest(f"reading {reading!r} of {text!r}: not in this language")

    def phonemize(self, text: AlignedText, readings: Sequence[Reading] = ()) -> Phonemization:
        """Make one unit per character that is no blank."""
        self.calls.append((text.text, tuple(readings)))
        units = [
            Unit(character, self._read(text, i, readings), *text.origin(i, i + 1))
            for i, character in enumerate(text.text)
            if not character.isspace()
        ]
        return Phonemization("".join(unit.text for unit in units), tuple(units))

    def _read(self, text: AlignedText, i: int, readings: Sequence[Reading]) -> tuple[str, ...]:
        for reading in readings:
            if reading.start <= text.starts[i] < reading.end:
                return tuple(reading.reading.split())
        return (self.phoneme,) if text.text[i].isalnum() else (".",)


PHONEMES = {"zh": "a1", "yue": "Yaa1", "en": "AA1", "ja": "o", "ko": "ㅏ"}


@pytest.fixture
def fakes() -> dict[str, FakeLanguage]:
    """Return one fake per language."""
    return {language: FakeLanguage(phoneme) for language, phoneme in PHONEMES.items()}


def make(
    fakes: dict[str, FakeLanguage],
    config: FrontendConfig | None = None,
    *,
    version: str = "v2",
    is_strict: bool = False,
) -> TextFrontend:
    """Return a frontend of fakes."""
    languages = LanguageRegistry(version, config or FrontendConfig(), fakes)
    return TextFrontend(version, config, languages=languages, is_strict=is_strict)


def languages_of(frontend: TextFrontend, text: str, mode: str) -> list[tuple[str, str]]:
    """Return which language read what."""
    pieces = [piece for segment in frontend.segments(text, mode) for piece in segment.pieces]
    return [(piece.language, piece.text) for piece in pieces]


def test_each_phoneme_names_the_range_it_came_from(fakes: dict[str, FakeLanguage]) -> None:
    """Origins point into the text as it was given, markup and all."""
    text = '你好\u200b吗 <break time="1s"/>我们很好呀。'

    segments = make(fakes).segments(text, "zh")

    for segment in segments:
        found = "".join(text[start:end] for start, end in segment.origins)
        assert found == segment.normalized.strip(".。") + "。" * (segment is segments[1])
    assert [text[segment.start : segment.end].strip() for segment in segments][1] == "我们很好呀。"


def test_break_becomes_the_pause_between_segments(fakes: dict[str, FakeLanguage]) -> None:
    """Breaks in a row add up; one before all text is a pause before the first segment."""
    text = '<break time="200ms"/>你们大家好<break time="700ms"/><break time="1s"/>我们都很好'

    first, second = make(fakes).segments(text, "zh")

    assert (first.lead_pause_s, first.pause_s) == (0.2, 1.7)
    assert (second.lead_pause_s, second.pause_s) == (0.0, None)
    assert first.phonemized().pause_s == 1.7


def test_words_that_a_language_cannot_say_go_to_one_that_can(
    fakes: dict[str, FakeLanguage],
) -> None:
    """Kana in a Mandarin text are Japanese, hangul Korean, Cyrillic is spelled in Latin letters."""
    found = languages_of(make(fakes), "今天去タワー玩，안녕说，Привет。", "zh")

    assert [language for language, _ in found] == ["zh", "ja", "zh", "ko", "zh", "en"]
    assert found[5][1] == "Privet。"


def test_strict_frontend_does_as_upstream(fakes: dict[str, FakeLanguage]) -> None:
    """For comparison, everything goes where upstream sends it, spoken or not."""
    strict = make(fakes, is_strict=True)

    assert languages_of(strict, "今天去タワー，안녕。", "zh") == [("zh", "今天去タワー，안녕。")]


def test_strict_frontend_makes_strict_languages() -> None:
    """Held to upstream, the languages that it makes itself are held to it, too."""
    texts = {is_strict: TextFrontend(is_strict=is_strict) for is_strict in (True, False)}

    assert texts[True].one_segment("大概5-8个人。", "zh").normalized == "大概五减八个人."
    assert texts[False].one_segment("大概5-8个人。", "zh").normalized == "大概五到八个人."


def test_warm_up_loads_what_finds_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modes that look for languages load the models for that; English alone does not."""
    loaded: list[str] = []
    monkeypatch.setattr(
        "sovits_serve.frontend.text_frontend.load_models", lambda: loaded.append("models")
    )
    frontend = TextFrontend()

    frontend.warm_up(["en"])
    assert not loaded
    frontend.warm_up(["ko"])
    assert loaded


def test_written_reading_reaches_its_language(fakes: dict[str, FakeLanguage]) -> None:
    """A reading of the piece's own language leaves the piece whole."""
    text = '我在<phoneme py="hang2">行</phoneme>里工作呢。'

    (segment,) = make(fakes).segments(text, "zh")

    assert segment.phonemes[2] == "UNK"  # the fake says the reading as it stands
    (call,) = fakes["zh"].calls
    assert call[0] == "我在行里工作呢。"
    assert call[1] == (Reading(22, 23, "hang2"),)


def test_written_reading_decides_the_language(fakes: dict[str, FakeLanguage]) -> None:
    """A reading in another language's notation takes its word out of the text around it."""
    found = languages_of(make(fakes), "我要去[東京|トーキョー]玩三天。", "zh")

    assert found == [("zh", "我要去"), ("ja", "東京"), ("zh", "玩三天。")]


def test_bad_reading_is_refused_before_anything_is_read(fakes: dict[str, FakeLanguage]) -> None:
    """A reading that the language does not know is the caller's error, at once."""
    with pytest.raises(InvalidRequest, match="ha3"):
        make(fakes).iterate("[好|ha3]", "zh")

    assert not fakes["zh"].calls


def test_dictionary_speaks_where_the_language_fits(
    fakes: dict[str, FakeLanguage], tmp_path: Path
) -> None:
    """A word of the user's dictionary is read so in its language, and nowhere else."""
    path = tmp_path / "words.txt"
    path.write_text("重庆 = chong2 qing4\n", encoding="utf-8")
    frontend = make(fakes, FrontendConfig(dictionary=str(path)))

    frontend.segments("我在重庆工作呢。", "zh")
    frontend.segments("我在重庆工作呢。", "all_ja")

    assert fakes["zh"].calls[-1][1] == (Reading(2, 4, "chong2 qing4"),)
    assert fakes["ja"].calls[-1][1] == ()


def test_written_reading_wins_over_the_dictionary(
    fakes: dict[str, FakeLanguage], tmp_path: Path
) -> None:
    """What the text itself says counts more than the dictionary."""
    path = tmp_path / "words.txt"
    path.write_text("重庆 = chong2 qing4\n", encoding="utf-8")
    frontend = make(fakes, FrontendConfig(dictionary=str(path)))

    frontend.segments("我在[重庆|zhong4 qing4]工作呢。", "zh")

    assert [reading.reading for reading in fakes["zh"].calls[-1][1]] == ["zhong4 qing4"]


def test_short_text_gets_a_mark_in_front(fakes: dict[str, FakeLanguage]) -> None:
    """Fewer than six phonemes are read again after a mark, as the models learned it."""
    (short,) = make(fakes).segments("你好。", "zh")
    (long,) = make(fakes).segments("你们大家好啊。", "zh")

    assert short.phonemes == (".", "a1", "a1", ".")
    assert short.origins[0] == (0, 0)
    assert long.phonemes[0] == "a1"


def test_mandarin_pieces_are_spans_for_bert(fakes: dict[str, FakeLanguage]) -> None:
    """Each Mandarin piece names its place among the phonemes, its text and its counts."""
    (segment,) = make(fakes).segments("我们都喜欢hello这个词。", "zh")

    assert segment.phonemized().spans == (
        TextSpan(0, "我们都喜欢", (1,) * 5),
        TextSpan(10, "这个词。", (1,) * 4),
    )


def test_long_mandarin_is_several_spans(fakes: dict[str, FakeLanguage]) -> None:
    """BERT reads at most 510 characters at once: a longer piece is given to it in parts."""
    segment = make(fakes).one_segment("好" * 1200, "zh")
    spans = segment.phonemized().spans

    assert [len(span.text) for span in spans] == [510, 510, 180]
    assert [span.start for span in spans] == [0, 510, 1020]


@pytest.mark.parametrize(
    ("text", "mode", "version", "error", "words"),
    [
        ("", "zh", "v2", InvalidRequest, "text: empty"),
        ("……", "zh", "v2", InvalidRequest, "no word"),
        ("你好", "klingon", "v2", InvalidRequest, "language: 'klingon' is not one of zh, yue"),
        ("你" * 11, "zh", "v2", TextTooLong, "text: 11 characters; the limit is 10"),
        ("你好", "yue", "v1", UnsupportedLanguage, "v1 model speaks"),
        ("你好안녕", "auto", "v1", UnsupportedLanguage, "'안녕.' is ko"),
    ],
)
def test_what_cannot_be_read_is_named(
    fakes: dict[str, FakeLanguage],
    text: str,
    mode: str,
    version: str,
    error: type[Exception],
    words: str,
) -> None:
    """An error names the field, the value and what is allowed."""
    frontend = make(fakes, FrontendConfig(max_characters=10), version=version)
    if version == "v1":
        frontend.languages = LanguageRegistry("v1", FrontendConfig(), {"zh": fakes["zh"]})

    with pytest.raises(error, match=words):
        frontend.segments(text, mode)


def test_prompt_is_one_segment_with_an_end(fakes: dict[str, FakeLanguage]) -> None:
    """A transcript is never cut, and gets a final mark if it has none."""
    segment = make(fakes).prompt("第一句话。第二句话。第三句", "zh")

    assert segment.text == "第一句话。第二句话。第三句。"


def test_warm_up_in_background_tells_when_it_is_done() -> None:
    """The future ends when the languages of the modes are loaded, or with what went wrong."""
    frontend = TextFrontend()

    assert frontend.warm_up_in_background(["en", "auto"]).result(timeout=100) is None
    with pytest.raises(InvalidRequest, match="klingon"):
        frontend.warm_up_in_background(["klingon"]).result(timeout=100)


def test_language_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A missing library is an error with the extra's name, not an import error later."""
    monkeypatch.setattr("sovits_serve.frontend.registry.find_spec", lambda _: None)

    with pytest.raises(UnsupportedLanguage, match=r"pip install 'sovits-serve\[ja\]'"):
        TextFrontend().segments("こんにちは世界", "ja")
