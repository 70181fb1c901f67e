"""The tables of a g2pW directory: which characters the model reads, and its labels as pinyin.

Nothing in the directory is executed: of its ``config.py`` two literals are read.

Source: GPT-SoVITS 48b1a01, text/g2pw/onnx_api.py (_G2PWBaseOnnxConverter) and dataset.py. Differs:
labels whose sound is unknown have no pinyin; upstream fails when it meets one.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sovits_serve.errors import CheckpointError

POLYPHONES_FILE = "POLYPHONIC_CHARS.txt"
MONOPHONES_FILE = "MONOPHONIC_CHARS.txt"
SOUNDS_FILE = "bopomofo_to_pinyin_wo_tune_dict.json"
_CONFIG_FILE = "config.py"
_MAX_BYTES = 2**24

# Characters that upstream leaves to the dictionary, because the model or its table misreads them.
_NOT_BY_MODEL = frozenset("一不和咋嗲剖差攢倒難奔勁拗肖瘙誒泊听噢")
_NOT_BY_TABLE = frozenset("似攢")


@dataclass(frozen=True)
class G2pwTables:
    """What the model's numbers mean. Characters are traditional.

    Attributes:
        char_ids: the characters the model was trained on, in the order of its ids.
        choices: character -> the places of its readings among the labels.
        labels: the pinyin of each label; None if its sound has none.
        read_by_model: the characters that the model is asked for.
        fixed: character with one reading -> its pinyin.
        is_masked: whether the model chooses among a character's own readings only.
    """

    char_ids: Mapping[str, int]
    choices: Mapping[str, tuple[int, ...]]
    labels: tuple[str | None, ...]
    read_by_model: frozenset[str]
    fixed: Mapping[str, str]
    is_masked: bool


def read_tables(directory: Path) -> G2pwTables:
    """Read the tables.

    Raises:
        CheckpointError: a file is missing, too large, or not what it should be.
    """
    sounds = _read_sounds(directory / SOUNDS_FILE)
    settings = _read_text(directory / _CONFIG_FILE) if (directory / _CONFIG_FILE).exists() else ""
    by_character = _literal(settings, "use_char_phoneme", default=False)
    pairs = _read_pairs(directory / POLYPHONES_FILE)
    # Either one label a sound, or one for each character and sound.
    named = [(character, (character if by_character else "", sound)) for character, sound in pairs]
    labels = sorted({label for _, label in named}, key=" ".join)
    places = {label: place for place, label in enumerate(labels)}
    choices: dict[str, tuple[int, ...]] = {}
    for character, label in named:
        choices[character] = (*choices.get(character, ()), places[label])
    fixed = {
        character: pinyin
        for character, sound in _read_pairs(directory / MONOPHONES_FILE)
        if character not in _NOT_BY_TABLE and (pinyin := _pinyin(sound, sounds))
    }
    return G2pwTables(
        char_ids={character: place for place, character in enumerate(sorted(choices))},
        choices=choices,
        labels=tuple(_pinyin(sound, sounds) for _, sound in labels),
        read_by_model=frozenset(choices) - _NOT_BY_MODEL,
        fixed=fixed,
        is_masked=_literal(settings, "use_mask", default=True),
    )


def _pinyin(sound: str, sounds: Mapping[str, str]) -> str | None:
    """Turn bopomofo with a tone digit into pinyin with one."""
    letters = sounds.get(sound[:-1])
    return letters + sound[-1] if letters and sound[-1] in "12345" else None


def _literal(settings: str, name: str, *, default: bool) -> bool:
    found = re.search(rf"^{name} *= *(True|False)\b", settings, re.MULTILINE)
    return found.group(1) == "True" if found else default


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    """Read lines of a character, a tab and a sound."""
    pairs = []
    for line in _read_text(path).strip().split("\n"):
        character, tab, sound = line.rstrip("\r").partition("\t")
        if len(character) != 1 or not tab or not sound:
            raise CheckpointError(f"{path}: {line[:40]!r} is not a character, a tab and a sound")
        pairs.append((character, sound))
    return pairs


def _read_sounds(path: Path) -> dict[str, str]:
    """Read bopomofo -> pinyin, both without tone, ü as "v"."""
    try:
        sounds = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from error
    if not isinstance(sounds, dict) or not all(isinstance(v, str) for v in sounds.values()):
        raise CheckpointError(f"{path}: not an object of strings")
    return {sound: pinyin.replace("ü", "v") for sound, pinyin in sounds.items()}


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{path}: larger than {_MAX_BYTES} bytes; not a g2pW table")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
