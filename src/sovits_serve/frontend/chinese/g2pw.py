"""g2pW: a BERT that decides, from the whole sentence, how a character is read.

Optional: needs onnxruntime and a local directory with the published model. It reads traditional
characters, so sentences are converted first. What it was not trained on, the dictionary reads.

Source: GPT-SoVITS 48b1a01, text/g2pw/onnx_api.py. Differs: sentences with more than 510
characters between the first and the last one asked for are read in parts (upstream reads them
with the tokens of one query for all); each sentence is a run of its own, without padding.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sovits_serve.errors import CheckpointError, ConfigError
from sovits_serve.frontend.chinese.bert_tokens import BertTokens, read_vocabulary, vocabulary_path
from sovits_serve.frontend.chinese.g2pw_tables import (
    MONOPHONES_FILE,
    POLYPHONES_FILE,
    SOUNDS_FILE,
    G2pwTables,
    read_tables,
)
from sovits_serve.frontend.chinese.normalization.simplification import simplified_characters

_MODEL_FILES = ("g2pW.onnx", "g2pw.onnx")
_CONTEXT = 16  # characters on either side of those asked for
_MAX_WINDOW = 510  # BERT reads 512 tokens, two of them its own
_NUM_THREADS = 2  # for one sentence; more are no faster


class Session(Protocol):
    """The part of ``onnxruntime.InferenceSession`` that is used."""

    def run(
        self, output_names: Sequence[str] | None, inputs: Mapping[str, NDArray[np.generic]], /
    ) -> Sequence[NDArray[np.float32]]:
        """Compute the outputs."""


class G2pwModel:
    """A ``PolyphoneModel``. Checks its files at once, and loads them at first use."""

    def __init__(
        self,
        directory: Path,
        bert_directory: Path | None = None,
        *,
        open_session: Callable[[Path], Session] | None = None,
    ) -> None:
        if not directory.is_dir():
            raise ConfigError(f"g2pw: {directory} is not a directory; it holds the g2pW model")
        for name in (POLYPHONES_FILE, MONOPHONES_FILE, SOUNDS_FILE):
            if not (directory / name).is_file():
                raise CheckpointError(f"{directory / name}: missing; a g2pW model comes with it")
        if open_session is None and find_spec("onnxruntime") is None:
            raise ConfigError(
                "g2pw: needs the library onnxruntime: pip install 'sovits-serve[g2pw]'"
            )
        self._directory = directory
        self._vocabulary = vocabulary_path(bert_directory or directory).parent
        self._model_path = _model_path(directory)
        self._open_session = open_session or open_onnx_session
        self._lock = threading.Lock()
        self._reader: _Reader | None = None

    def pinyin(self, sentences: Sequence[str]) -> list[list[str]]:
        """Return one reading per character of each sentence; see ``PolyphoneModel``."""
        reader = self._load()
        return [reader.read(sentence) for sentence in sentences]

    def _load(self) -> "_Reader":
        with self._lock:
            if self._reader is None:
                reader = _Reader(
                    read_tables(self._directory),
                    read_vocabulary(self._vocabulary),
                    self._open_session(self._model_path),
                )
                reader.check(self._model_path)
                self._reader = reader
            return self._reader


class _Reader:
    """A loaded model."""

    def __init__(self, tables: G2pwTables, tokens: BertTokens, session: Session) -> None:
        from opencc import OpenCC

        self._tables = tables
        self._tokens = tokens
        self._session = session
        self._convert: Callable[[str], str] = OpenCC("s2tw").convert

    def read(self, sentence: str) -> list[str]:
        """Return the reading of each character."""
        traditional = self._traditional(sentence)
        readings = [
            reading if reading[:-1].isascii() else character  # some rare ideographs have none
            for character, reading in zip(sentence, _by_dictionary(traditional), strict=True)
        ]
        asked = []
        for place, character in enumerate(traditional):
            if character in self._tables.read_by_model:
                asked.append(place)
            else:
                readings[place] = self._tables.fixed.get(character, readings[place])
        for start, end, places in _windows(asked, len(traditional)):
            found = self._ask(traditional[start:end], [place - start for place in places])
            for place, label in zip(places, found, strict=True):
                readings[place] = self._tables.labels[label] or readings[place]
        return readings

    def check(self, path: Path) -> None:
        """Ask two questions about one text, to see that the model is what it should be.

        Raises:
            CheckpointError: it is not.
        """
        text = next(iter(self._tables.char_ids)) * 2
        failures: tuple[type[Exception], ...] = (*_onnx_errors(), ValueError, IndexError)
        try:
            self._ask(text, [0, 1])
        except failures as error:
            raise CheckpointError(
                f"{path}: not the g2pW model of {len(self._tables.labels)} labels that "
                f"{POLYPHONES_FILE} lists: {error}"
            ) from error

    def _ask(self, text: str, places: Sequence[int]) -> list[int]:
        """Return the label of each place. The text is one row; every place is a question."""
        tokenized = self._tokens.tokenize(text)
        ids = np.array([tokenized.ids], np.int64)  # (1, T)
        characters = [text[place] for place in places]
        inputs: dict[str, NDArray[np.generic]] = {
            "input_ids": ids,
            "token_type_ids": np.zeros_like(ids),
            "attention_mask": np.ones_like(ids),
            "phoneme_mask": self._mask(characters),  # (N, L)
            "char_ids": np.array([self._tables.char_ids[c] for c in characters], np.int64),  # (N,)
            "position_ids": np.array([tokenized.positions[p] for p in places], np.int64),  # (N,)
        }
        scores = self._session.run(None, inputs)[0]
        if scores.shape != (len(places), len(self._tables.labels)):
            raise ValueError(f"its output has the shape {scores.shape}")
        return [int(label) for label in scores.argmax(axis=1)]

    def _mask(self, characters: Sequence[str]) -> NDArray[np.float32]:
        """Return one row for each character, 1 where a label is a reading it has."""
        shape = len(characters), len(self._tables.labels)
        if not self._tables.is_masked:
            return np.ones(shape, np.float32)
        mask = np.zeros(shape, np.float32)
        for row, character in enumerate(characters):
            mask[row, list(self._tables.choices[character])] = 1
        return mask

    def _traditional(self, sentence: str) -> str:
        converted = self._convert(sentence)
        if len(converted) == len(sentence):
            return converted
        # A word became longer or shorter: characters alone do not.
        alone = (self._convert(character) for character in sentence)
        return "".join(new[:1] or old for old, new in zip(sentence, alone, strict=True))


def _by_dictionary(traditional: str) -> list[str]:
    """Return the readings that the dictionary words of a sentence give its characters."""
    from pypinyin import Style, pinyin

    simplified = simplified_characters()
    readings = pinyin(
        "".join(simplified.get(character, character) for character in traditional),
        style=Style.TONE3,
        neutral_tone_with_five=True,
        errors=list,  # type: ignore[arg-type]  # character by character; it takes lists too
    )
    return [reading[0].replace("ü", "v") for reading in readings]


def _windows(places: Sequence[int], length: int) -> Iterator[tuple[int, int, list[int]]]:
    """Yield the ranges of a sentence that the model reads at once, and the places it is asked for."""
    window: list[int] = []
    for place in places:
        start = max(0, window[0] - _CONTEXT) if window else 0
        if window and min(length, place + _CONTEXT + 1) - start > _MAX_WINDOW:
            yield start, min(length, window[-1] + _CONTEXT + 1), window
            window = []
        window.append(place)
    if window:
        yield max(0, window[0] - _CONTEXT), min(length, window[-1] + _CONTEXT + 1), window


def _model_path(directory: Path) -> Path:
    for name in _MODEL_FILES:
        if (directory / name).is_file():
            return directory / name
    raise CheckpointError(f"{directory / _MODEL_FILES[0]}: missing; it is the g2pW model")


def open_onnx_session(path: Path) -> Session:
    """Open a model for the CPU.

    Raises:
        CheckpointError: onnxruntime cannot read it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _NUM_THREADS
    options.log_severity_level = 4
    # Threads that wait for the next sentence must not burn the processor meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session: Session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except _onnx_errors() as error:
        raise CheckpointError(f"{path}: onnxruntime cannot read it: {error}") from error
    return session


def _onnx_errors() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises: classes without a base of their own."""
    if find_spec("onnxruntime") is None:
        return ()
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "EPFail EngineError Fail InvalidArgument InvalidGraph InvalidProtobuf NoModel NoSuchFile "
        "NotImplemented RuntimeException"
    )
    return tuple(getattr(state, name) for name in names.split())
