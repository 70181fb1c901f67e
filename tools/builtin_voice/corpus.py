"""Stage 1: make the training corpus. Text, the teachers' speech and our phonemes, in one file each.

    python -m tools.builtin_voice.corpus --speaker ada --language en --hours 1 --output FILE

A file is an ``.npz`` of plain arrays (no pickle): ``audio`` int16 at 16 kHz, all utterances one
after the other, ``audio_ends`` int64, ``phones`` int16 (ids of the v2 table), ``phone_ends``
int64, ``texts`` (UTF-8 lines).
"""

import argparse
import difflib
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tools.builtin_voice import teacher

_MIN_AGREEMENT = 0.85  # of flite's phones with ours; below it the two read the text differently
_MAX_S, _MIN_S = 12.0, 0.4
_CHUNK = 64
_VOWELS = {"ax": "ah", "axr": "er", "ix": "ih"}


@dataclass(frozen=True)
class Utterance:
    """One sentence as a teacher said it."""

    text: str
    phone_ids: tuple[int, ...]
    samples: npt.NDArray[np.int16]


def make_utterance(text: str, speaker: str, language: str) -> Utterance | None:
    """Say and phonemise one text; None where teacher and frontend do not read it alike."""
    try:
        segments = list(teacher.frontend().iterate(text, language))
        samples, phones = teacher.synthesize_with_phones(text, speaker, language)
    except (teacher.Unpronounceable, subprocess.SubprocessError):
        return None
    duration_s = len(samples) / teacher.RATE_HZ
    if len(segments) != 1 or not _MIN_S <= duration_s <= _MAX_S:
        return None
    if phones and agreement(phones, segments[0].phonemes) < _MIN_AGREEMENT:
        return None
    quantized = np.round(samples * 32_767).astype(np.int16)
    return Utterance(text, tuple(segments[0].phonemized().phone_ids), quantized)


def agreement(flite_phones: Sequence[str], phonemes: Sequence[str]) -> float:
    """Return how far flite's phones and our ARPAbet are the same sequence, 0 to 1."""
    theirs = [_VOWELS.get(phone, phone) for phone in flite_phones if phone != "pau"]
    ours = [p.rstrip("012").lower() for p in phonemes if p.rstrip("012").isalpha()]
    return difflib.SequenceMatcher(None, theirs, ours, autojunk=False).ratio()


def _make_chunk(job: tuple[list[str], str, str]) -> list[Utterance]:
    lines, speaker, language = job
    made = (make_utterance(text, speaker, language) for text in lines)
    return [utterance for utterance in made if utterance is not None]


def make_corpus(
    lines: Sequence[str], speaker: str, language: str, *, hours: float, workers: int
) -> Iterator[Utterance]:
    """Yield utterances of ``lines`` until there are so many hours of speech."""
    jobs = [
        (list(lines[start : start + _CHUNK]), speaker, language)
        for start in range(0, len(lines), _CHUNK)
    ]
    left = hours * 3600 * teacher.RATE_HZ
    with ProcessPoolExecutor(workers) as pool:
        for start in range(0, len(jobs), 4 * workers):
            for chunk in pool.map(_make_chunk, jobs[start : start + 4 * workers]):
                for utterance in chunk:
                    yield utterance
                    left -= len(utterance.samples)
            if left <= 0:
                return


def save(path: Path, utterances: Sequence[Utterance]) -> None:
    """Write a corpus file."""
    np.savez(
        path,
        audio=np.concatenate([u.samples for u in utterances]),
        audio_ends=np.cumsum([len(u.samples) for u in utterances]),
        phones=np.concatenate([np.array(u.phone_ids, dtype=np.int16) for u in utterances]),
        phone_ends=np.cumsum([len(u.phone_ids) for u in utterances]),
        texts=np.frombuffer("\n".join(u.text for u in utterances).encode(), dtype=np.uint8),
    )


def load(path: Path) -> list[Utterance]:
    """Read a corpus file."""
    with np.load(path, allow_pickle=False) as data:
        audio = np.split(data["audio"], data["audio_ends"][:-1])
        phones = np.split(data["phones"], data["phone_ends"][:-1])
        lines = data["texts"].tobytes().decode().split("\n")
    return [
        Utterance(text, tuple(ids.tolist()), samples)
        for text, ids, samples in zip(lines, phones, audio, strict=True)
    ]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speaker", choices=sorted(teacher.SPEAKERS), required=True)
    parser.add_argument("--language", choices=("en", "zh"), required=True)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    from tools.builtin_voice import texts  # not needed to read corpora, as training does

    make = {"en": texts.english_sentences, "zh": texts.mandarin_sentences}[args.language]
    lines = make(int(args.hours * 3000) + 200, args.seed)
    made = list(
        make_corpus(lines, args.speaker, args.language, hours=args.hours, workers=args.workers)
    )
    save(args.output, made)
    seconds = sum(len(u.samples) for u in made) / teacher.RATE_HZ
    print(f"{args.output.name}: {len(made)} of {len(lines)} sentences, {seconds / 3600:.2f} h")


if __name__ == "__main__":
    main()
