import subprocess
import sys

import pytest

from sovits_serve.frontend.chinese.hmm import load_tagging_model
from sovits_serve.frontend.chinese.words import cut, halves


def cut_to_text(sentence: str) -> str:
    """Return the words of a sentence with their tags, as people write them."""
    return " ".join(f"{word}/{tag}" for word, tag in cut(sentence))


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("我来到北京清华大学", "我/r 来到/v 北京/ns 清华大学/nt"),
        ("他来到了网易杭研大厦.", "他/r 来到/v 了/ul 网易/n 杭/j 研/vn 大厦/n ./x"),
        ("我走.", "我/r 走/v ./m"),
        ("你好,", "你好/l ,/x"),
        ("", ""),
    ],
)
def test_sentences_are_cut_as_jieba_does(sentence: str, expected: str) -> None:
    """Known words come from the dictionary, unknown ones from the model, marks are their own."""
    assert cut_to_text(sentence) == expected


@pytest.mark.parametrize("sentence", ["龘" * 40, "龘行" * 20, "行" * 700, "一" * 700, "好,龘.龘-"])
def test_no_character_is_lost(sentence: str) -> None:
    """Characters that no dictionary has, in long runs, stay in their order."""
    assert "".join(word for word, _ in cut(sentence)) == sentence


def test_a_run_of_unknown_characters_settles_without_changing() -> None:
    """What is reused for a long run is what computing every step would give."""
    model = load_tagging_model()
    scores = {y: model.start[y] - 3.14e100 for y in range(len(model.tags))}
    steps = []
    for _ in range(11):
        scores, before = model._step(scores, "龘")
        steps.append(before)
    path = [max(scores, key=lambda y: (scores[y], y))]
    for step in reversed(steps):
        path.append(step[path[-1]])

    assert model._path("龘" * 12) == path[::-1]


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("蒙古包", ("蒙古", "包")),
        ("纸老虎", ("纸", "老虎")),
        ("好", ("好", "")),
        ("所有人", ("所有", "人")),
    ],
)
def test_words_fall_into_halves(word: str, parts: tuple[str, str]) -> None:
    """The shortest part that the dictionary knows is split off."""
    assert halves(word) == parts


def test_neither_jieba_nor_pypinyin_is_imported() -> None:
    """Their data files are enough: importing them costs 200 MiB and may write files."""
    program = (
        "import sys; from sovits_serve.frontend.chinese.frontend import ChineseFrontend;"
        "ChineseFrontend().warm_up();"
        "sys.exit(bool({'jieba', 'pypinyin', 'torch'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
