"""The user's dictionary: its file format, finding words, and reading it again."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovits_serve.errors import ConfigError
from sovits_serve.frontend import user_dictionary
from sovits_serve.frontend.markup import MarkedReading
from sovits_serve.frontend.user_dictionary import MAX_BYTES, UserDictionary


class Clock:
    """A clock that stands still until it is told the time."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def make(path: Path, *lines: str, clock: Clock | None = None) -> UserDictionary:
    """Write a dictionary file and read it."""
    (path / "words.txt").write_text("\n".join(lines), encoding="utf-8")
    return UserDictionary(path / "words.txt", clock=clock or Clock())


def rewrite(path: Path, content: str) -> None:
    """Change the file, and its time for certain."""
    file = path / "words.txt"
    file.write_text(content, encoding="utf-8")
    os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 5_000_000))


def found(words: UserDictionary, text: str, language: str | None = None) -> list[tuple[str, str]]:
    """Return what is found, as words and readings."""
    return [(text[one.start : one.end], one.reading) for one in words.find(text, language)]


@pytest.mark.parametrize(
    "line",
    [
        "银行\tyin2 hang2",
        "银行  yin2 hang2",
        "银行=yin2 hang2",
        "  银行 = yin2  hang2  # a bank",
        "银行\t\tyin2 hang2\t# a bank",
        "银行\tyin2 hang2\r",
        "\ufeff银行   =   yin2 hang2",
    ],
)
def test_entry_is_word_separator_reading(line: str, tmp_path: Path) -> None:
    """Tab, two blanks or "=" divide; blanks around and comments do not count."""
    words = make(tmp_path, line)

    assert words.find("去银行") == [MarkedReading(1, 3, "tones", "yin2 hang2")]


def test_comments_and_empty_lines_are_no_entries(tmp_path: Path) -> None:
    """Lines that begin with "#" and blank ones are skipped; "#" inside a word is the word's."""
    words = make(tmp_path, "# 银行 = yin2 hang2", "", "   ", "C# = S IY1 SH AA1 R P", "#")

    assert len(words) == 1
    assert found(words, "use C# now") == [("C#", "S IY1 SH AA1 R P")]


def test_word_may_have_blanks_and_equals_signs(tmp_path: Path) -> None:
    """One blank divides nothing, and after a tab "=" is part of the word."""
    words = make(tmp_path, "New York = N UW1 Y AO1 R K", "a=b\tEY1 B IY1")

    assert found(words, "New York, a=b") == [("New York", "N UW1 Y AO1 R K"), ("a=b", "EY1 B IY1")]


def test_sections_set_the_language(tmp_path: Path) -> None:
    """Before any section the notation tells; in one, its language does."""
    words = make(
        tmp_path, "行 = xing2", "[yue]", "銀行 = ngan4 hong4", "[ ZH ]", "银行 = yin2 hang2"
    )
    notations = [one.notation for one in words.find("行銀行银行")]

    assert notations == ["tones", "jyutping", "pinyin"]


def test_one_word_may_have_a_reading_in_each_language(tmp_path: Path) -> None:
    """Looking for one language finds its entries only, the longest of that language."""
    words = make(tmp_path, "[zh]", "行 = hang2", "[yue]", "行 = hong4", "[ja]", "銀行 = ギンコー")

    assert found(words, "銀行", "zh") == [("行", "hang2")]
    assert found(words, "銀行", "yue") == [("行", "hong4")]
    assert found(words, "銀行", "ja") == [("銀行", "ギンコー")]
    assert found(words, "銀行", "ko") == []
    assert found(words, "銀行") == [("銀行", "ギンコー")]


def test_last_entry_of_a_word_counts(tmp_path: Path) -> None:
    """A later line overrides an earlier one."""
    assert found(make(tmp_path, "行 = hang2", "行 = xing2"), "行") == [("行", "xing2")]


def test_longest_word_wins_and_nothing_overlaps(tmp_path: Path) -> None:
    """From left to right, the longest entry at each place; the search goes on after it."""
    words = make(tmp_path, "银 = yin2", "银行 = yin2 hang2", "行长 = hang2 zhang3", "长 = chang2")

    assert found(words, "银行长银") == [("银行", "yin2 hang2"), ("长", "chang2"), ("银", "yin2")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat", ["cat"]),
        ("Cat CAT", ["Cat", "CAT"]),
        ("cats concat cat5 5cat", []),
        ("the cat's tail, the cat’s", ["cat", "cat"]),
        ("cat-like (cat)", ["cat", "cat"]),
        ("o'cat cat'll", []),
        ("猫cat猫", ["cat"]),
        ("고양이cat이", ["cat"]),
        ("chat", []),
        ("İcat", []),
    ],
)
def test_latin_words_are_found_whole(text: str, expected: list[str], tmp_path: Path) -> None:
    """A word of letters is not found inside another one, in whatever case."""
    assert [word for word, _ in found(make(tmp_path, "cat = K AE1 T"), text)] == expected


def test_own_case_wins(tmp_path: Path) -> None:
    """An entry in the text's own case counts more than one in another, then one in lower case."""
    words = make(tmp_path, "polish = P AA1 L IH0 SH", "Polish = P OW1 L IH0 SH", "US = Y UW1 EH1 S")

    assert found(words, "Polish polish POLISH") == [
        ("Polish", "P OW1 L IH0 SH"),
        ("polish", "P AA1 L IH0 SH"),
        ("POLISH", "P AA1 L IH0 SH"),
    ]
    assert found(words, "us") == [("us", "Y UW1 EH1 S")]


def test_words_are_composed_as_texts_are(tmp_path: Path) -> None:
    """A file written with separate accents matches composed text."""
    words = make(tmp_path, "cafe\u0301 = K AH0 F EY1")

    assert found(words, "a caf\u00e9") == [("caf\u00e9", "K AH0 F EY1")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["# ok", "银行"], r"words\.txt: line 2: '银行' is no entry; write a word"),
        (["= a1"], "line 1: '= a1' is no entry"),
        (["a ="], "line 1: 'a =' is no entry"),
        (["银行 = yin hang"], "line 1: 'yin hang' is in none of the notations: 'yin2 hang2'"),
        (["[ja]", "銀行 = yin2"], "line 2: 'yin2' is no kana; it is written like"),
        (["[en]", "a = b"], "line 2: 'b' is no arpabet"),
        (["[fr]"], r"line 1: '\[fr\]' is no language; write one of \[zh\], \[yue\]"),
        (["a" * 101 + " = EY1"], "line 1: a word of 101 characters; the limit is 100"),
        (["a = " + "EY1 " * 300], "line 1: 1204 characters; the limit is 1000"),
    ],
)
def test_bad_line_stops_the_start(lines: list[str], message: str, tmp_path: Path) -> None:
    """The error names the file, the line and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        make(tmp_path, *lines)


def test_bytes_that_are_no_utf8_are_told(tmp_path: Path) -> None:
    """A file in another encoding is refused with the line where that shows."""
    (tmp_path / "words.txt").write_bytes("# ok\n银行".encode("gbk"))

    with pytest.raises(ConfigError, match="line 2: byte 0xd2 is no UTF-8"):
        UserDictionary(tmp_path / "words.txt")


def test_missing_file_and_folder_are_told(tmp_path: Path) -> None:
    """A path that is no file stops the start."""
    with pytest.raises(ConfigError, match="nowhere: No such file"):
        UserDictionary(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="is no file"):
        UserDictionary(tmp_path)


def test_size_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is too large, or has too many entries, is refused."""
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match=f"{MAX_BYTES + 1} bytes; the limit is {MAX_BYTES}"):
        UserDictionary(tmp_path / "large.txt")
    monkeypatch.setattr(user_dictionary, "MAX_ENTRIES", 2)
    with pytest.raises(ConfigError, match="line 3: more than 2 entries"):
        make(tmp_path, "a = EY1", "b = B IY1", "c = S IY1")


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    """A change counts at the next use, a second after the last look."""
    clock = Clock()
    words = make(tmp_path, "行 = hang2", clock=clock)
    rewrite(tmp_path, "行 = xing2")

    clock.now = 0.9
    assert found(words, "行") == [("行", "hang2")]
    clock.now = 1.1
    assert found(words, "行") == [("行", "xing2")]


def test_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at the file costs no reading."""
    clock = Clock()
    words = make(tmp_path, "行 = hang2", clock=clock)
    monkeypatch.setattr(user_dictionary, "_load", None)
    clock.now = 5.0

    assert found(words, "行") == [("行", "hang2")]
    assert words.problem is None


@pytest.mark.parametrize("content", ["行 = hang", "[xx]", "行"])
def test_file_that_became_bad_keeps_the_good_entries(content: str, tmp_path: Path) -> None:
    """Requests go on with the last good entries; the problem is told, until it is mended."""
    clock = Clock()
    words = make(tmp_path, "行 = hang2", clock=clock)
    rewrite(tmp_path, content)
    clock.now = 2.0

    assert found(words, "行") == [("行", "hang2")]
    assert words.problem is not None
    assert "words.txt: line 1: " in words.problem
    rewrite(tmp_path, "行 = xing2")
    clock.now = 4.0
    assert words.problem is None
    assert found(words, "行") == [("行", "xing2")]


def test_file_that_vanished_and_came_back(tmp_path: Path) -> None:
    """A missing file is a problem only while it is missing, even if it comes back unchanged."""
    clock = Clock()
    words = make(tmp_path, "行 = hang2", clock=clock)
    (tmp_path / "words.txt").rename(tmp_path / "moved.txt")
    clock.now = 2.0

    assert found(words, "行") == [("行", "hang2")]
    assert "No such file" in str(words.problem)
    (tmp_path / "moved.txt").rename(tmp_path / "words.txt")
    clock.now = 4.0
    assert words.problem is None


def test_empty_file_is_a_dictionary(tmp_path: Path) -> None:
    """No entries is no error."""
    words = make(tmp_path, "")

    assert len(words) == 0
    assert words.find("任何") == []


@given(st.text(st.sampled_from("ab银行'İΣ \ud800é1"), max_size=20))
def test_ranges_are_those_of_the_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever the text, ranges are in order, apart, and hold a word of the dictionary."""
    path = tmp_path_factory.getbasetemp() / "common.txt"
    if not path.exists():
        path.write_text("a = EY1\nab = EY1 B\n银行 = yin2 hang2\n行 = hang2\né = EY1\n", "utf-8")
    results = UserDictionary(path).find(text)

    assert all(
        text[one.start : one.end].lower() in {"a", "ab", "银行", "行", "é"} for one in results
    )
    ends = [0, *(end for one in results for end in (one.start, one.end))]
    assert ends == sorted(ends)
