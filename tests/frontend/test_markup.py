"""Inline control: breaks, readings, what is plain text, and which mistakes are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovits_serve.errors import InvalidRequest
from sovits_serve.frontend.markup import MAX_TAGS, Break, MarkedReading, parse_markup

SCRAPS = st.sampled_from(
    "< > [ ] | \\ a 银行 yin2 トー = \" ' <break /> </break> </phoneme> <b> <phoneme·py='a1'> ·time='1s' "
    "[银行|yin2·hang2] · \n".replace(" ", "\t")
    .replace("·", " ")
    .split("\t")
)


@pytest.mark.parametrize(
    ("tag", "seconds"),
    [
        ('<break time="700ms"/>', 0.7),
        ("<break time='1.5s' />", 1.5),
        ('<break time="700ms">', 0.7),
        ('<break time="700ms"></break>', 0.7),
        ('<BREAK TIME = "2S"/>', 2.0),
        ('<break time=" .5s "/>', 0.5),
        ('<break time="+1s"/>', 1.0),
        ('<break time="0s"/>', 0.0),
        ('<break time="10s"/>', 10.0),
        ('<break time="10000ms"/>', 10.0),
        ("<break/>", 0.5),
        ("<break>", 0.5),
        ('<break strength="none"/>', 0.0),
        ('<break strength="medium"/>', 0.5),
        ('<break strength="x-strong" time="1s"/>', 1.0),
    ],
)
def test_break_is_a_pause_where_it_stood(tag: str, seconds: float) -> None:
    """A break is taken out of the text; its place and its length are kept."""
    marked = parse_markup(f"你好{tag}世界")

    assert marked.text.text == "你好世界"
    assert marked.breaks == (Break(2, seconds),)


def test_strengths_grow() -> None:
    """A stronger break is longer."""
    names = ("none", "x-weak", "weak", "medium", "strong", "x-strong")
    marked = parse_markup("".join(f'<break strength="{name}"/>' for name in names))
    seconds = [pause.seconds for pause in marked.breaks]

    assert seconds == sorted(set(seconds))


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ('<break time="10.1s"/>', r"character 2: break time '10.1s' is over the limit of 10s"),
        ('<break time="99999999s"/>', "over the limit of 10s"),
        ('<break time="soon"/>', r"break time 'soon' is no time; write <break time=\"700ms\"/>"),
        ('<break time="5"/>', "'5' is no time"),
        ('<break time="-1s"/>', "'-1s' is no time"),
        ('<break time="1e3s"/>', "'1e3s' is no time"),
        ('<break time="١s"/>', "is no time"),
        ('<break time=""/>', "'' is no time"),
        ('<break strength="huge"/>', "strength 'huge' is not one of none, x-weak"),
        ('<break length="1s"/>', "<break> has no attribute 'length'"),
        ('<break time="1s" time="2s"/>', "attribute time twice"),
        ("<break time=1s/>", "<break> is malformed"),
        ('<break time="1s"', "<break> is malformed"),
        ("</break>", "</break> without <break>"),
        ('<break time="' + "9" * 500 + '"/>', "9…' is no time"),
    ],
)
def test_bad_break_is_told(tag: str, message: str) -> None:
    """The error says where, which value, and what is allowed; no tag is read aloud."""
    with pytest.raises(InvalidRequest, match=message):
        parse_markup(f"你好{tag}世界")


@pytest.mark.parametrize(
    ("attributes", "notation", "reading"),
    [
        ('py="yin2 hang2"', "pinyin", "yin2 hang2"),
        ("py='yin2 hang2'", "pinyin", "yin2 hang2"),
        ('jyutping="ngan4 hong4"', "jyutping", "ngan4 hong4"),
        ('arpabet="B AE1 NG K"', "arpabet", "B AE1 NG K"),
        ('kana="ギンコー"', "kana", "ギンコー"),
        ('hangul="은행"', "hangul", "은행"),
        ('alphabet="pinyin" ph="yin2 hang2"', "pinyin", "yin2 hang2"),
        ('ph="ギンコー" alphabet="Kana"', "kana", "ギンコー"),
    ],
)
def test_phoneme_gives_its_content_a_reading(attributes: str, notation: str, reading: str) -> None:
    """A phoneme tag leaves its content and says how that is read."""
    text = f"去<phoneme {attributes}>银行</phoneme>吧"
    marked = parse_markup(text)
    (found,) = marked.readings

    assert marked.text.text == "去银行吧"
    assert text[found.start : found.end] == "银行"
    assert (found.notation, found.reading) == (notation, reading)


def test_blanks_around_content_are_text() -> None:
    """The reading is that of the word, not of the blanks in its tag."""
    text = '<phoneme py="hang2">\n 行 </phoneme>'
    marked = parse_markup(text)

    assert marked.text.text == "\n 行 "
    assert text[marked.readings[0].start : marked.readings[0].end] == "行"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('啊<phoneme py="a1">啊', "character 1: <phoneme> has no </phoneme>"),
        ("啊</phoneme>", "character 1: </phoneme> without <phoneme>"),
        ('<phoneme py="a1"></phoneme>', "character 0: <phoneme> without content"),
        ('<phoneme py="a1"> </phoneme>', "without content"),
        ('<phoneme py="a1"/>', "without content"),
        ("<phoneme>啊</phoneme>", "<phoneme> with no attributes; write <phoneme py="),
        ('<phoneme py="">啊</phoneme>', "without a reading"),
        ('<phoneme ipa="a">啊</phoneme>', "<phoneme> with 'ipa'"),
        ('<phoneme py="a1" kana="ア">啊</phoneme>', "<phoneme> with 'py kana'"),
        ('<phoneme ph="a1">啊</phoneme>', "<phoneme> with 'ph'"),
        ('<phoneme alphabet="ipa" ph="a">啊</phoneme>', "'ipa' is not one of pinyin, jyutping"),
        ('<phoneme py="a1"><phoneme py="a1">啊</phoneme>', "character 17: <phoneme> inside"),
        ('<phoneme py="a1">啊<break/></phoneme>', "<break> inside <phoneme>"),
        ('<phoneme py="a1">[啊|a1]</phoneme>', r"\[word\|reading\] inside <phoneme>"),
        ('<phoneme py="a1>啊</phoneme>', "<phoneme> is malformed"),
    ],
)
def test_bad_phoneme_is_told(text: str, message: str) -> None:
    """A tag that cannot be understood is an error with its place, never spoken."""
    with pytest.raises(InvalidRequest, match=message):
        parse_markup(text)


@pytest.mark.parametrize(
    ("word", "reading", "notation"),
    [
        ("银行", "yin2 hang2", "tones"),
        ("tomato", "T AH0 M EY1 T OW0", "arpabet"),
        ("東京", "トーキョー", "kana"),
        ("읽다", "익따", "hangul"),
    ],
)
def test_compact_form_is_a_reading(word: str, reading: str, notation: str) -> None:
    """``[word|reading]`` leaves the word; the notation shows in the reading's form."""
    marked = parse_markup(f"a[{word}|{reading}]b")

    assert marked.text.text == f"a{word}b"
    assert marked.readings == (MarkedReading(2, 2 + len(word), notation, reading),)


@pytest.mark.parametrize(
    "text",
    [
        "[a|b]",
        "[see note]",
        "[1|2]",
        "[银行|yin hang]",
        "[|yin2]",
        "[ |yin2]",
        "[银行|]",
        "[银行|yin2\n]",
        "a < b > c",
        "<b>bold</b>",
        "<breakfast>",
        "<phonemes/>",
        "< break/>",
        "a<break",
        "[[x]]",
        "]|[",
        "C:\\dir",
        "",
    ],
)
def test_everything_else_is_plain_text(text: str) -> None:
    """Brackets and tags that mean nothing here are left as they are."""
    marked = parse_markup(text)

    assert marked.text.text == text
    assert (marked.readings, marked.breaks) == ((), ())


def test_reading_after_an_unfinished_bracket_counts() -> None:
    """A stray bracket does not hide the reading after it."""
    assert parse_markup("[x|[银行|yin2 hang2]").text.text == "[x|银行"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\\[银行|yin2 hang2]", "[银行|yin2 hang2]"),
        ("\\<break/>", "<break/>"),
        ("\\\\<", "\\<"),
        ("\\x\\", "\\x\\"),
    ],
)
def test_backslash_makes_a_bracket_plain(text: str, plain: str) -> None:
    """An escaped bracket is text, without its backslash."""
    marked = parse_markup(text)

    assert marked.text.text == plain
    assert (marked.readings, marked.breaks) == ((), ())


def test_origins_point_into_the_text_with_its_markup() -> None:
    """Every character left knows its place among the tags."""
    text = 'a<break/>b[银行|yin2 hang2]\\[c<phoneme py="d1">的</phoneme>'
    marked = parse_markup(text).text

    assert marked.text == "ab银行[c的"
    assert [text[i:j] for i, j in zip(marked.starts, marked.ends, strict=True)] == list(marked.text)


def test_text_without_markup_is_its_own_original() -> None:
    """Most texts have no markup; they are not copied."""
    assert parse_markup("plain").text.starts == range(5)


def test_too_many_tags_are_refused() -> None:
    """The number of tags is bounded, so that what comes after is too."""
    assert len(parse_markup("<break/>" * MAX_TAGS).breaks) == MAX_TAGS
    with pytest.raises(InvalidRequest, match="more than 10000 tags"):
        parse_markup("<break/>" * MAX_TAGS + "[啊|a1]")


@given(st.lists(SCRAPS, max_size=30).map("".join))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text breaks the parser; what is left comes from its place, and ranges are in range."""
    try:
        marked = parse_markup(text)
    except InvalidRequest:
        return

    kept = zip(marked.text.text, marked.text.starts, marked.text.ends, strict=True)
    assert all(text[start:end] == character for character, start, end in kept)
    assert list(marked.text.starts) == sorted(set(marked.text.starts))
    assert all(text[reading.start : reading.end].strip() for reading in marked.readings)
    assert all(text[pause.position] == "<" for pause in marked.breaks)


def test_ssml_loses_its_other_tags_and_entities() -> None:
    """A text that begins with <speak> is SSML: tags go, sentences end lines, entities are read."""
    text = '<speak version="1.1"><p><s>Q&amp;A</s><s>Hi<break time="1s"/> you</s></p></speak>'

    marked = parse_markup(text)

    assert marked.text.text.split() == ["Q&A", "Hi", "you"]
    assert len(marked.breaks) == 1
    at = marked.text.text.index("&")
    assert marked.text.origin(at, at + 1) == (text.index("&"), text.index("&") + 1)


def test_tags_outside_ssml_are_text() -> None:
    """Without <speak> at the beginning nothing but our own tags is taken out."""
    assert parse_markup("a <b>c</b> &amp; <speak>d").text.text == "a <b>c</b> &amp; <speak>d"
