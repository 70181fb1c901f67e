"""Last stage: measure a model against its teachers on held-out sentences.

    python -m tools.builtin_voice.evaluate --model DIR --language en zh --count 200 --output DIR

DIR is a model directory with ``voices/``. Without ``--model`` the teachers themselves are
measured: what is then missed no model can reach. Writes ``report.md``, ``report.json``,
``sentences.json`` and spectrograms. One thread, but for the speed measurement, which wants the
machine for itself. What cannot be measured of a sentence is counted, and the rest goes on.
"""

import argparse
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from sovits_serve import __version__
from tools.builtin_voice import texts
from tools.builtin_voice.evaluate_report import (
    Figure,
    Sentence,
    VoiceReport,
    speed_figures,
    summarize,
    trial_figure,
    write_report,
)
from tools.builtin_voice.evaluate_sentences import (
    Judge,
    Vectors,
    measure_joins,
    measure_recognition,
)
from tools.builtin_voice.evaluate_speakers import (
    cosine_distance,
    euclidean_distance,
    reference_trials,
    speech_trials,
)
from tools.builtin_voice.evaluate_speech import ModelEncoder, ModelSpeech, Speaks, TeacherSpeech
from tools.builtin_voice.evaluate_speed import measure_in_child

_VOICES = {"en": ("ada-en", "max-en", "mei-en", "bo-en"), "zh": ("mei-zh", "bo-zh")}
_NUM_PICTURES = 2
_NUM_SPEED_TEXTS = 20


def speaker_figures(vectors: Vectors) -> list[Figure]:
    """Return how well the speakers of one language can be told apart."""
    trials = speech_trials(vectors.spoken_timbre, vectors.timbre, euclidean_distance)
    teachers = reference_trials(vectors.timbre, euclidean_distance)
    figures = []
    if vectors.style:
        style = reference_trials(vectors.style, cosine_distance)
        figures.append(trial_figure("style nearer to the own speaker", style, has_goal=True))
    figures.append(trial_figure("timbre of our speech nearer to it", trials, has_goal=True))
    figures.append(trial_figure("timbre of the teacher's recordings", teachers, has_goal=False))
    return figures


def evaluate_voice(judge: Judge, lines: Sequence[str], output: Path) -> list[Sentence]:
    """Measure one voice: every held-out sentence, then the recogniser, then the joins."""
    results = []
    for place, text in enumerate(lines):
        name = f"spectrogram-{judge.voice}-{judge.language}-{place + 1}.png"
        picture = output / name if place < _NUM_PICTURES else None
        results.append(judge.sentence(text, lines[(place + 1) % len(lines)], picture))
    if judge.language == "en":
        results += measure_recognition(judge.ours, judge.voice, len(lines))
    if isinstance(judge.ours, ModelSpeech):
        results += measure_joins(judge.ours, judge.voice, judge.language, lines)
    return results


def evaluate(args: argparse.Namespace) -> None:
    """Measure everything that the arguments ask for, and write the report."""
    args.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    ours: Speaks = TeacherSpeech()
    encoder = None
    if args.model is not None:
        ours, encoder = ModelSpeech(args.model, num_threads=1), ModelEncoder(args.model)
    reports: list[VoiceReport] = []
    general: dict[str, list[Figure]] = {}
    sentences: dict[str, list[Sentence]] = {}
    begin = time.monotonic()
    for language in args.language:
        lines = texts.held_out(language, args.count)
        vectors = Vectors()
        voices = args.voice or _VOICES[language]
        for voice in voices:
            judge = Judge(ours, encoder, voice, language, vectors)
            found = evaluate_voice(judge, lines, args.output)
            sentences[f"{voice} {language}"] = found
            reports.append(VoiceReport(voice, language, tuple(summarize(found))))
            print(f"{language} {voice}: {time.monotonic() - begin:.0f} s", flush=True)
        general[f"Speakers, {language}"] = speaker_figures(vectors)
        if args.model is not None and not args.no_speed:
            title = f"Speed, {voices[0]}, {language}, all cores"
            general[title] = _speed(args.model, voices[0], language, lines[:_NUM_SPEED_TEXTS])
    write_report(args.output, reports, general, sentences, _header(args))
    print((args.output / "report.md").read_text(encoding="utf-8"))


def _speed(model: Path, voice: str, language: str, lines: Sequence[str]) -> list[Figure]:
    try:
        return speed_figures(measure_in_child(model, voice, language, lines))
    except subprocess.SubprocessError as error:  # what went wrong is on standard error
        return [Figure(f"speed ({type(error).__name__})", None)]


def _header(args: argparse.Namespace) -> dict[str, object]:
    return {
        "command": "python -m tools.builtin_voice.evaluate " + " ".join(sys.argv[1:]),
        "sentences": f"{args.count} per language and voice",
        "versions": f"sovits-serve {__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}",
    }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="model directory; default: the teachers speak")
    parser.add_argument("--language", nargs="+", choices=sorted(_VOICES), default=sorted(_VOICES))
    parser.add_argument("--voice", nargs="+", help="voices; default: all of the language")
    parser.add_argument("--count", type=int, default=200, help="sentences per language and voice")
    parser.add_argument("--no-speed", action="store_true", help="leave the speed out")
    parser.add_argument("--output", type=Path, required=True)
    evaluate(parser.parse_args())


if __name__ == "__main__":
    main()
