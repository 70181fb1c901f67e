"""Tests of g2pW with small made-up tables and a fake model, and once with a real ONNX file."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sovits_serve.errors import CheckpointError, ConfigError
from sovits_serve.frontend.chinese import g2pw
from sovits_serve.frontend.chinese.g2pw import G2pwModel

Inputs = Mapping[str, NDArray[np.generic]]
POLYPHONES = {"行": "ㄒㄧㄥ2 ㄏㄤ2", "長": "ㄔㄤ2 ㄓㄤ3", "重": "ㄔㄨㄥ2 ㄓㄨㄥ4", "一": "ㄧ1"}
MONOPHONES = {"銀": "ㄧㄣ2", "綠": "ㄌㄩ4", "似": "ㄘㄞ1"}
SOUNDS = {"ㄒㄧㄥ": "xing", "ㄏㄤ": "hang", "ㄔㄤ": "chang", "ㄓㄤ": "zhang"}
SOUNDS |= {"ㄓㄨㄥ": "zhong", "ㄧㄣ": "yin", "ㄌㄩ": "lü", "ㄧ": "wrong", "ㄘㄞ": "wrong"}
LABELS = ["ㄏㄤ2", "ㄒㄧㄥ2", "ㄓㄤ3", "ㄓㄨㄥ4", "ㄔㄤ2", "ㄔㄨㄥ2", "ㄧ1"]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "行", "長", "銀", "好", "一"]


class FakeSession:
    """Prefers the last (or first) label that the mask allows, and remembers what it was asked."""

    def __init__(self, *, prefers_last: bool = False) -> None:
        self.prefers_last = prefers_last
        self.asked: list[Inputs] = []

    def run(self, _: object, inputs: Inputs, /) -> list[NDArray[np.float32]]:
        """Return a score for each query and label."""
        self.asked.append(inputs)
        mask = np.asarray(inputs["phoneme_mask"], np.float32)
        ramp = np.linspace(1, 2, mask.shape[1], dtype=np.float32)
        return [mask * (ramp if self.prefers_last else 3 - ramp)]


def lines(table: Mapping[str, str]) -> str:
    """Write a table of characters and their readings as the published model does."""
    return "\n".join(f"{char}\t{sound}" for char in table for sound in table[char].split()) + "\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Make a model directory with a model file that is none."""
    (tmp_path / "POLYPHONIC_CHARS.txt").write_text(lines(POLYPHONES), encoding="utf-8")
    (tmp_path / "MONOPHONIC_CHARS.txt").write_text(lines(MONOPHONES), encoding="utf-8")
    (tmp_path / "bopomofo_to_pinyin_wo_tune_dict.json").write_text(
        json.dumps(SOUNDS), encoding="utf-8"
    )
    (tmp_path / "config.py").write_text("use_mask = True\nuse_char_phoneme = False\n")
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    (tmp_path / "g2pW.onnx").write_bytes(b"no model")
    return tmp_path


@pytest.fixture
def session() -> FakeSession:
    """Make a fake model."""
    return FakeSession()


@pytest.fixture
def model(directory: Path, session: FakeSession) -> G2pwModel:
    """Make a g2pW that asks the fake model."""
    return G2pwModel(directory, open_session=lambda _: session)


def test_the_model_decides_how_polyphones_are_read(directory: Path) -> None:
    """What the model prefers among a character's own readings is its pinyin."""
    first, last = FakeSession(), FakeSession(prefers_last=True)

    assert G2pwModel(directory, open_session=lambda _: first).pinyin(["行长!"]) == [
        ["hang2", "zhang3", "!"]
    ]
    assert G2pwModel(directory, open_session=lambda _: last).pinyin(["行长!"]) == [
        ["xing2", "chang2", "!"]
    ]


def test_one_row_of_tokens_holds_all_questions(model: G2pwModel, session: FakeSession) -> None:
    """The model gets the traditional sentence once, and one mask, character and place a query."""
    model.pinyin(["银行行长好"])

    asked = {name: value.tolist() for name, value in session.asked[-1].items()}
    own = [[1.0, 1.0, 0, 0, 0, 0, 0], [1.0, 1.0, 0, 0, 0, 0, 0], [0, 0, 1.0, 0, 1.0, 0, 0]]
    assert asked == {
        "input_ids": [[2, 6, 4, 4, 5, 7, 3]],
        "token_type_ids": [[0] * 7],
        "attention_mask": [[1] * 7],
        "phoneme_mask": own,
        "char_ids": [sorted(POLYPHONES).index(char) for char in "行行長"],
        "position_ids": [2, 3, 4],
    }


def test_types_of_the_inputs_are_those_of_the_model(model: G2pwModel, session: FakeSession) -> None:
    """Ids are int64 and masks float32, as the published model declares them."""
    model.pinyin(["行"])

    types = {name: value.dtype for name, value in session.asked[-1].items()}
    assert types.pop("phoneme_mask") == np.float32
    assert set(types.values()) == {np.dtype(np.int64)}


def test_characters_of_one_reading_come_from_the_table(model: G2pwModel) -> None:
    """The table of monophones is used, with ü as "v", except for the characters it gets wrong."""
    assert model.pinyin(["银绿", "相似"]) == [["yin2", "lv4"], ["xiang1", "si4"]]


def test_characters_that_the_model_misreads_come_from_the_dictionary(
    model: G2pwModel, session: FakeSession
) -> None:
    """Upstream leaves some polyphones to the dictionary; they are not asked for."""
    assert model.pinyin(["一"]) == [["yi1"]]
    assert len(session.asked) == 1  # what checks the model


def test_a_label_without_pinyin_leaves_the_dictionary_reading(directory: Path) -> None:
    """A sound that the directory's table lacks is no reading."""
    session = FakeSession(prefers_last=True)
    model = G2pwModel(directory, open_session=lambda _: session)

    assert model.pinyin(["重庆"]) == [["chong2", "qing4"]]


def test_what_has_no_pinyin_is_given_back(model: G2pwModel) -> None:
    """Every character has one reading; marks, and ideographs without any, are their own."""
    assert model.pinyin(["好……兙", "!?"]) == [["hao3", "…", "…", "兙"], ["!", "?"]]


def test_sixteen_characters_on_either_side_are_read(model: G2pwModel, session: FakeSession) -> None:
    """The model sees sixteen characters around those that it is asked for."""
    model.pinyin(["好" * 100 + "行银行" + "好" * 100])

    assert session.asked[-1]["input_ids"].shape == (1, 1 + 16 + 3 + 16 + 1)
    assert session.asked[-1]["position_ids"].tolist() == [17, 19]


def test_long_sentences_are_read_in_parts(model: G2pwModel, session: FakeSession) -> None:
    """No run has more tokens than BERT reads, and every character gets its reading."""
    assert model.pinyin(["行好" * 2000]) == [["hang2", "hao3"] * 2000]
    assert max(asked["input_ids"].size for asked in session.asked) <= 512


def test_without_a_mask_all_labels_may_win(directory: Path, session: FakeSession) -> None:
    """``use_mask`` of the directory's settings is followed."""
    (directory / "config.py").write_text("use_mask = False\n")

    G2pwModel(directory, open_session=lambda _: session).pinyin(["行"])

    assert session.asked[-1]["phoneme_mask"].tolist() == [[1.0] * len(LABELS)]


def test_labels_may_be_those_of_each_character(directory: Path, session: FakeSession) -> None:
    """``use_char_phoneme`` gives every character labels of its own."""
    (directory / "config.py").write_text("use_char_phoneme = True\n")

    model = G2pwModel(directory, open_session=lambda _: session)

    assert model.pinyin(["行长"]) == [["hang2", "zhang3"]]
    # In the order of characters, then sounds: 一, 行 (two), 重 (two), 長 (two).
    assert session.asked[-1]["phoneme_mask"].tolist() == [[0, 1, 1, 0, 0, 0, 0], [0] * 5 + [1, 1]]


def test_settings_are_not_executed(directory: Path, session: FakeSession) -> None:
    """Code in the directory does not run."""
    (directory / "config.py").write_text("open('ran', 'w')\nraise SystemExit\nuse_mask = True\n")

    assert G2pwModel(directory, open_session=lambda _: session).pinyin(["行"]) == [["hang2"]]


@pytest.mark.parametrize(
    "name",
    [
        "POLYPHONIC_CHARS.txt",
        "MONOPHONIC_CHARS.txt",
        "bopomofo_to_pinyin_wo_tune_dict.json",
        "g2pW.onnx",
        "vocab.txt",
    ],
)
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    """A directory without one of its files is refused before anything is loaded."""
    (directory / name).unlink()

    with pytest.raises(CheckpointError, match=name):
        G2pwModel(directory)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ㄧ": 1}', "[" * 100_000])
@pytest.mark.parametrize(
    "name", ["POLYPHONIC_CHARS.txt", "bopomofo_to_pinyin_wo_tune_dict.json", "vocab.txt"]
)
def test_a_file_that_is_something_else_is_named(
    directory: Path, session: FakeSession, name: str, content: str
) -> None:
    """A table that cannot be understood stops the first use with its name."""
    (directory / name).write_text(content, encoding="utf-8")
    model = G2pwModel(directory, open_session=lambda _: session)

    with pytest.raises(CheckpointError, match=name):
        model.pinyin(["行"])


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """The setting that names no directory is refused."""
    with pytest.raises(ConfigError, match="nowhere"):
        G2pwModel(tmp_path / "nowhere")


def test_missing_onnxruntime_says_what_to_install(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without onnxruntime the message says how to get it."""
    monkeypatch.setattr(g2pw, "find_spec", lambda _: None)

    with pytest.raises(ConfigError, match=r"pip install 'sovits-serve\[g2pw\]'"):
        G2pwModel(directory)


def test_the_vocabulary_may_be_in_another_directory(
    directory: Path, session: FakeSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The directory of the BERT model is searched for the vocabulary, also in tokenizer.json."""
    bert = tmp_path_factory.mktemp("bert")
    vocabulary = {token: 10 * place for place, token in enumerate(TOKENS)}
    (bert / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    (directory / "vocab.txt").unlink()

    G2pwModel(directory, bert, open_session=lambda _: session).pinyin(["行"])

    assert session.asked[-1]["input_ids"].tolist() == [[20, 40, 30]]


def test_a_model_of_other_labels_is_refused(directory: Path) -> None:
    """A model whose output is not one score a label is not used."""

    class Other(FakeSession):
        def run(self, *_: object) -> list[NDArray[np.float32]]:
            return [np.zeros((1, 3), np.float32)]

    model = G2pwModel(directory, open_session=lambda _: Other())

    with pytest.raises(CheckpointError, match=r"g2pW.onnx.*7 labels.*\(1, 3\)"):
        model.pinyin(["行"])


def test_threads_share_one_loaded_model(directory: Path) -> None:
    """However many threads ask first, the model is opened once."""
    opened: list[FakeSession] = []

    def open_session(_: Path) -> FakeSession:
        opened.append(FakeSession())
        return opened[-1]

    model = G2pwModel(directory, open_session=open_session)
    threads = [threading.Thread(target=model.pinyin, args=(["行"],)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(opened) == 1


def field(number: int, value: int | bytes | str) -> bytes:
    """Write one field of a protobuf message; numbers are below 128, or 2 bytes long."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    data = value.encode() if isinstance(value, str) else value
    low, high = len(data) & 127, len(data) >> 7
    return bytes([number << 3 | 2, *([low | 128, high] if high else [low])]) + data


def onnx_model(num_labels: int) -> bytes:
    """Write an ONNX model with g2pW's inputs: scores are the mask times 1, 2, 3 and so on."""

    def tensor(name: str, kind: int, *dims: str) -> bytes:
        shape = b"".join(field(1, field(2, dim)) for dim in dims)
        return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))

    def graph() -> Iterator[bytes]:
        yield field(1, field(1, "phoneme_mask") + field(1, "w") + field(2, "s") + field(4, "Mul"))
        yield field(2, "g2pw")
        ramp = np.arange(1, num_labels + 1, dtype="<f4").tobytes()
        yield field(5, field(1, num_labels) + field(2, 1) + field(8, "w") + field(9, ramp))
        for name in ("input_ids", "token_type_ids", "attention_mask"):
            yield field(11, tensor(name, 7, "B", "T"))
        for name in ("char_ids", "position_ids"):
            yield field(11, tensor(name, 7, "N"))
        yield field(11, tensor("phoneme_mask", 1, "N", "L"))
        yield field(12, tensor("s", 1, "N", "L"))

    opset = field(8, field(1, "") + field(2, 13))
    return field(1, 8) + field(7, b"".join(graph())) + opset


needs_onnxruntime = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="no onnxruntime")


@needs_onnxruntime
def test_onnxruntime_computes_the_scores(directory: Path) -> None:
    """A real ONNX file is opened, run, and its best label read."""
    (directory / "g2pW.onnx").write_bytes(onnx_model(len(LABELS)))

    assert G2pwModel(directory).pinyin(["银行", "长"]) == [["yin2", "xing2"], ["chang2"]]


@needs_onnxruntime
@pytest.mark.parametrize("content", [lambda: b"no model", lambda: b"", lambda: onnx_model(3)])
def test_a_file_that_is_no_such_model_is_refused(
    directory: Path, content: Callable[[], bytes]
) -> None:
    """What onnxruntime cannot read or run stops the first use, and the file is named."""
    (directory / "g2pW.onnx").write_bytes(content())
    model = G2pwModel(directory)

    with pytest.raises(CheckpointError, match=r"g2pW\.onnx"):
        model.pinyin(["行"])
