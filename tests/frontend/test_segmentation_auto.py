"""Our own way to cut text: where it cuts, where it never does, and how long segments are."""

import re
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sovits_serve.frontend.aligned_text import AlignedText
from sovits_serve.frontend.segmentation import segment_auto
from sovits_serve.frontend.segmentation.auto import MAX_LENGTH, TARGET_LENGTH
from sovits_serve.frontend.segmentation.borders import Rank, find_borders
from sovits_serve.frontend.segmentation.weight import spoken_weight

WORDS = st.sampled_from(
    "hello world 3.14 1,234.56 12:30 192.168.0.1 v1.2.3 https://a.bc/d?e=f,g x@y.org read_me.txt "
    "Dr. e.g. U.S. a.m. don't state-of-the-art 你好 今天天气很好 吾輩は猫である 東京タワー 안녕하세요 "
    "오늘은 😀 👨‍👩‍👧 é 100% ㍿ １２３".split()
)
MARKS = st.sampled_from(
    '。|，|！|？|……|?!|、|. |, |; | |\n|\n\n|“|”|「|」|(|)|"|《|》|——|~|：|'.split("|")
)
TEXTS = st.lists(st.one_of(WORDS, MARKS, st.text(max_size=4)), max_size=60).map("".join)


def cut_texts(text: str) -> list[str]:
    """Return the texts of the segments."""
    return [piece.text for piece in segment_auto(AlignedText.of(text), "auto")]


@given(TEXTS)
def test_every_character_is_in_one_segment(text: str) -> None:
    """Segments follow each other; only blanks between them are left out."""
    done = 0
    for piece in segment_auto(AlignedText.of(text), "auto"):
        start, end = piece.origin(0, len(piece))
        assert piece.text == text[start:end]
        assert not text[done:start].strip()
        done = end

    assert not text[done:].strip()


@given(TEXTS)
def test_no_segment_is_empty_or_too_long(text: str) -> None:
    """Every segment has something in it, and is within the limit."""
    for piece in cut_texts(text):
        assert piece == piece.strip() != ""
        assert spoken_weight(piece) <= MAX_LENGTH


@given(TEXTS)
def test_marks_alone_are_no_segment(text: str) -> None:
    """A segment has a letter or digit, unless the text has none, or symbols fill it."""
    assume(any(map(str.isalnum, text)) and sum(map(spoken_weight, re.findall(r"\W", text))) < 20)

    for piece in cut_texts(text):
        assert any(map(str.isalnum, piece))


@given(st.lists(st.one_of(WORDS, MARKS), max_size=80).map("".join))
def test_words_and_numbers_are_whole(text: str) -> None:
    """No border has a Latin letter or digit on both sides, nor parts what is one character."""
    done = None
    for piece in segment_auto(AlignedText.of(text), "auto"):
        start, end = piece.origin(0, len(piece))
        if (
            done == start
            and spoken_weight(max(re.findall("[!-~]+", text), key=len, default="")) < 40
        ):
            assert not re.fullmatch("[A-Za-z0-9]{2}", text[start - 1 : start + 1])
        assert not re.match("[\u0301\u200d\udc00-\udfff]", piece.text)
        done = end


@pytest.mark.parametrize(
    "text",
    [
        "Pi is 3.14 and e is 2.718, roughly",
        "It cost 1,234.56 dollars at 12:30",
        "Ping 192.168.0.1 or fe80:1",
        "Version 1.2.3-beta of Node.js",
        "See https://example.com/a.b?c=1,2;d!e now",
        "See www.example.co.uk/x?y=1 now",
        "Write to first.last@mail.example.org today",
        "Open read.me.txt and C:/temp/a.b",
        "Dr. Smith met Mr. and Mrs. Jones",
        "He has a Ph.D. in physics",
        "We like fruit, e.g. apples, i.e. food",
        "The U.S. economy grew",
        "At 5 p.m. on Monday",
        "No. 5 is alive",
        "On Jan. 5 we met",
        "J. R. R. Tolkien wrote it",
        "George W. Bush spoke",
        "He said “Yes. I know. Go!” and left",
        "(It was late. He slept. Why?)",
        "他读了《你好。世界！再见？》这本书",
        "「はい。そうです。行きます。」と言った",
        "价格是3．14元或者12：30的票",
        "从10~20个到2020—2021年",
        "1. Open the door",
    ],
)
def test_no_sentence_ends_inside(text: str) -> None:
    """Numbers, addresses, abbreviations, initials, quotes and brackets have no sentence ends."""
    borders = find_borders(text + ".", quote_length=TARGET_LENGTH, max_length=MAX_LENGTH)

    assert borders.between(Rank.SENTENCE, 0, len(text)) == []


@pytest.mark.parametrize(
    "whole",
    "3.14 1,234.56 12:30:05 12：30 10~20 10～20 2020—2021 192.168.0.1 v1.2.3-rc.1 Node.js don't "
    "rock’n’roll AT&T read_me.txt a.b@c-d.org https://example.com/a,b;c!d?e=f:g. www.x.org/y?z=1 "
    "state-of-the-art U.S.A Ph.D 3．14".split(),
)
def test_no_cut_inside(whole: str) -> None:
    """These are not cut at all, whatever marks they have inside."""
    text = f"我的{whole} 在这里"
    borders = find_borders(text, quote_length=TARGET_LENGTH, max_length=MAX_LENGTH)

    assert borders.between(Rank.BLANK, 2, 2 + len(whole.rstrip("."))) == []


@pytest.mark.parametrize("text", ["Dr. Smith", "No. 5", "J. R. R. Tolkien", "Mr. X", "e.g. this"])
def test_no_cut_after_an_abbreviation(text: str) -> None:
    """What belongs together is not even cut at its blanks."""
    borders = find_borders(text, quote_length=TARGET_LENGTH, max_length=MAX_LENGTH)

    assert borders.between(Rank.BLANK, 0, len(text)) == []


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("你来了。我走了！他呢？", ["你来了。", "我走了！", "他呢？"]),
        ("你来了.我走了.", ["你来了.", "我走了."]),
        ("好！！！真的？！对……吧。", ["好！！！", "真的？！", "对……吧。"]),
        ("“你来了。”“我走了。”", ["“你来了。”", "“我走了。”"]),
        ("行きます。「はい。」「ええ。」", ["行きます。", "「はい。」", "「ええ。」"]),
        ("Go on. Stop it! Really?! Yes.", ["Go on.", "Stop it!", "Really?!", "Yes."]),
        ('He left. "Why?" She knew.', ["He left.", '"Why?"', "She knew."]),
        ("he left. she knew. we saw.", ["he left.", "she knew.", "we saw."]),
        ("Well... Maybe not... who knows.", ["Well...", "Maybe not... who knows."]),
        (
            "No. I won't. Not in the U.S. He left.",
            ["No.", "I won't.", "Not in the U.S.", "He left."],
        ),
        (
            "Plan B. Then we go. It is 5 p.m. Then rest.",
            ["Plan B.", "Then we go.", "It is 5 p.m.", "Then rest."],
        ),
        ("안녕하세요. 저는 학생입니다.", ["안녕하세요.", "저는 학생입니다."]),
        ("We ate fruit, etc. Then bread.", ["We ate fruit, etc.", "Then bread."]),
    ],
)
def test_sentences_end_here(text: str, sentences: list[str]) -> None:
    """Sentences of the five languages are found; closing marks stay with what they close."""
    borders = find_borders(text, quote_length=TARGET_LENGTH, max_length=MAX_LENGTH)
    ends = [0, *borders.between(Rank.SENTENCE, 0, len(text)), len(text)]

    assert [text[start:end].strip() for start, end in pairwise(ends)] == sentences


def test_first_segment_is_short() -> None:
    """Of a long sentence the first clause of some length comes first, to be heard early."""
    text = "他说，先帝创业未半而中道崩殂，今天下三分，益州疲弊，此诚危急存亡之秋也。然侍卫之臣不懈于内。"

    assert cut_texts(text)[0] == "他说，先帝创业未半而中道崩殂，"
    assert spoken_weight(cut_texts(text)[1]) > TARGET_LENGTH / 2


def test_first_segment_ends_with_a_sentence_if_it_can() -> None:
    """A sentence that is nearly long enough is not joined to the first words of the next."""
    text = "メロスは激怒した。必ず、かの邪智暴虐の王を除かなければならぬと決意した。"

    assert cut_texts(text)[0] == "メロスは激怒した。"


def test_short_text_is_one_segment() -> None:
    """What can be said in a few seconds is not torn apart."""
    text = "你好。今天天气很好，我们去公园吧。"

    assert cut_texts(text) == [text]


def test_short_sentences_are_joined_up_to_the_target() -> None:
    """A dialogue of short sentences is spoken in longer breaths."""
    segments = cut_texts("你来了。我走了。他也要去吗？是的。" * 20)

    assert all(
        TARGET_LENGTH / 2 < spoken_weight(piece) <= TARGET_LENGTH for piece in segments[1:-1]
    )


def test_nothing_tiny_is_left_at_the_end() -> None:
    """A last word joins the segment before it."""
    segments = cut_texts("今天我们去北京的公园里看了很多漂亮的花。" * 2 + "好。")

    assert segments[-1].endswith("的花。好。")


def test_paragraphs_are_not_joined() -> None:
    """A segment does not go on into the next paragraph."""
    first, second = "今天我们去公园看花。", "明天我们去海边游泳。"

    assert cut_texts(f"{first}\n{second}") == [first, second]
    assert cut_texts(f"{first}\n \n{second}") == [first, second]


def test_short_lines_join_the_next() -> None:
    """A heading, or a line of a poem, is not spoken alone."""
    assert cut_texts("第一章\n今天我们去公园看花。") == ["第一章\n今天我们去公园看花。"]
    assert cut_texts("床前明月光\n疑是地上霜\n举头望明月\n低头思故乡") == [
        "床前明月光\n疑是地上霜",
        "举头望明月\n低头思故乡",
    ]


def test_wrapped_lines_are_one_paragraph() -> None:
    """A line break between two small letters only wraps the line."""
    text = "It was a dark and stormy\nnight, and the rain fell in\ntorrents."

    assert cut_texts(text) == [text]


def test_long_sentence_is_split_at_clauses() -> None:
    """A sentence over the limit is cut at its commas, into even pieces."""
    segments = cut_texts("，".join(["我们今天一起去北京的公园里看花"] * 12) + "。")

    assert all(piece[-1] in "，。" for piece in segments)
    assert all(spoken_weight(piece) <= TARGET_LENGTH * 1.2 for piece in segments)


def test_sentence_without_marks_is_split_at_blanks() -> None:
    """English without commas is cut between words, best before a conjunction."""
    segments = cut_texts("the quick brown fox jumped over the lazy dog and ran away " * 8)

    assert all(piece.startswith(("the ", "and ")) for piece in segments)


def test_sentence_without_blanks_is_split_after_particles() -> None:
    """Japanese without commas is cut where a phrase ends."""
    segments = cut_texts("東京の大学で日本語を勉強した学生が図書館へ毎日通った" * 6)

    assert len(segments) > 2
    assert all(re.search("[\u3041-\u3096]$", piece) for piece in segments)


def test_long_quote_is_cut_at_its_sentences() -> None:
    """A quote of many sentences is cut inside, at their ends."""
    segments = cut_texts("她说：“" + "我们今天一起去公园里看花吧。" * 8 + "”然后她走了。")

    assert len(segments) > 2
    assert all(piece.endswith(("。", "。”")) for piece in segments[1:])


def test_long_word_is_cut_at_the_limit() -> None:
    """What no voice can say in one go is cut, even a word, a number or an address."""
    for text in ("x" * 2000, "9" * 400, "https://a.bc/" + "path/" * 100, "(" + "a" * 999 + ")"):
        assert all(spoken_weight(piece) <= MAX_LENGTH for piece in cut_texts(text))


def test_kept_ranges_are_not_cut() -> None:
    """A range of the original that somebody marked stays whole."""
    text = "我们今天。一起去。看花。然后再回家。" * 5
    pieces = segment_auto(AlignedText.of(text, offset=7), "zh", keep_whole=[(7 + 5, 7 + 45)])

    assert any(text[5:45] in piece.text for piece in pieces)


def test_symbols_count_as_speech() -> None:
    """Symbols that are read out do not make an endless segment."""
    assert all(spoken_weight(piece) <= MAX_LENGTH for piece in cut_texts("五" + "+×÷=" * 100))


@pytest.mark.parametrize(
    ("text", "weight"),
    [("你好", 2), ("がぎ", 2), ("안녕", 2), ("。，！ \n", 0), ("😀", 0), ("12", 3), ("㍿", 3)],
)
def test_weight_is_about_syllables(text: str, weight: float) -> None:
    """An ideograph, a kana and a hangul syllable are one; marks are nothing."""
    assert spoken_weight(text) == weight


@pytest.mark.parametrize(("word", "syllables"), [("hello", 2), ("international", 5), ("banana", 3)])
def test_weight_of_words_is_near(word: str, syllables: int) -> None:
    """Latin words are about as long as they have syllables."""
    assert abs(spoken_weight(word) - syllables) <= 0.75
