"""Measurements of sentences to figures, with the goals beside them, as Markdown and JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tools.builtin_voice.evaluate_speakers import Trials


@dataclass(frozen=True)
class Figure:
    """One number of the table. ``is_met`` None: there is no goal, or no number."""

    name: str
    value: float | None
    unit: str = ""
    goal: str = ""
    is_met: bool | None = None
    count: int | None = None  # measured sentences


@dataclass
class Sentence:
    """What was measured of one sentence; ``problems`` says why something is missing."""

    text: str
    values: dict[str, float] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VoiceReport:
    """The figures of one voice in one language."""

    voice: str
    language: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class _Row:
    """How one figure is made of the sentences' values."""

    name: str
    key: str
    summary: Callable[[np.ndarray], float]
    unit: str = ""
    goal: str = ""
    is_met: Callable[[float], bool] | None = None


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


def _percent(values: np.ndarray) -> float:
    return 100 * float(values.mean())


def _percent_within_15(values: np.ndarray) -> float:
    return 100 * float((np.abs(values - 1) <= 0.15).mean())


def _total(values: np.ndarray) -> float:
    return float(values.sum())


def _largest(values: np.ndarray) -> float:
    return float(values.max())


_ROWS = (
    _Row("recognised, 1 of 20", "heard", _percent, "%", ">= 95", lambda x: x >= 95),
    _Row("recognised, teacher", "heard_teacher", _percent, "%"),
    _Row("refused or failed to speak", "failed", _percent, "%", "0", lambda x: x == 0),
    _Row("mel cepstral distance", "cepstral_distance_db", _mean, "dB"),
    _Row("- of the teacher's other sentences", "other_cepstral_distance_db", _mean, "dB"),
    _Row("pitch correlation", "pitch_correlation", _mean, "", "> 0.7", lambda x: x > 0.7),
    _Row("- with the teacher's other sentences", "other_pitch_correlation", _mean),
    _Row("pitch error, root mean square", "pitch_error_semitones", _mean, "semitones"),
    _Row("voicing errors", "voicing_errors", _percent, "%"),
    _Row("duration by the teacher's", "duration_ratio", _mean, "", "0.85..1.15",
         lambda x: abs(x - 1) <= 0.15),
    _Row("sentences within 15 % of it", "duration_ratio", _percent_within_15, "%"),
    _Row("skipped or repeated words", "flagged", _percent, "%", "<= 1", lambda x: x <= 1),
    _Row("token distance (0: equal)", "token_distance", _mean),
    _Row("loudness", "loudness_lufs", _mean, "LUFS", "-23 +- 2", lambda x: abs(x + 23) <= 2),
    _Row("loudness, teacher", "loudness_lufs_teacher", _mean, "LUFS"),
    _Row("highest peak", "peak", _largest),
    _Row("clipped samples", "num_clipped", _total, "", "0", lambda x: x == 0),
    _Row("DC by level, largest", "dc", _largest, "", "< 0.02", lambda x: x < 0.02),
    _Row("joins listened to", "num_joins", _total),
    _Row("clicks at joins", "num_clicks", _total, "", "0", lambda x: x == 0),
)  # fmt: skip


def summarize(sentences: Sequence[Sentence]) -> list[Figure]:
    """Return the figures that sentences give together; what nobody has is left out."""
    return [figure for row in _ROWS if (figure := _figure(row, sentences)) is not None]


def _figure(row: _Row, sentences: Sequence[Sentence]) -> Figure | None:
    found = np.array([s.values[row.key] for s in sentences if row.key in s.values])
    if not len(found):
        return None
    value = row.summary(found)
    is_met = None if row.is_met is None else row.is_met(value)
    return Figure(row.name, round(value, 4), row.unit, row.goal, is_met, len(found))


def trial_figure(name: str, trials: Trials, *, has_goal: bool) -> Figure:
    """Return a figure of speaker trials."""
    if not trials.num_all:
        return Figure(name, None, "%")
    value = 100 * trials.num_right / trials.num_all
    goal, is_met = ("100", trials.num_right == trials.num_all) if has_goal else ("", None)
    return Figure(name, round(value, 2), "%", goal, is_met, trials.num_all)


_SPEED_ROWS: Mapping[str, tuple[str, str, float | None]] = {
    "real_time_factor": ("real-time factor, alone", "", 0.15),
    "first_audio_median_ms": ("first audio, streaming, median", "ms", 150),
    "first_audio_max_ms": ("first audio, slowest", "ms", None),
    "first_audio_cold_ms": ("first audio of the first text", "ms", None),
    "peak_rss_mb": ("peak RSS of engine and frontend", "MB", 700),
    "load_s": ("loading the model", "s", 3),
    "import_s": ("importing libraries before", "s", None),
    "load_average_before": ("load average of the machine before", "", None),
}


def speed_figures(measured: Mapping[str, float]) -> list[Figure]:
    """Return the figures of the speed measurement."""
    figures = []
    for key, (name, unit, limit) in _SPEED_ROWS.items():
        value = measured[key]
        goal, is_met = ("", None) if limit is None else (f"< {limit:g}", value < limit)
        figures.append(Figure(name, value, unit, goal, is_met))
    return figures


def write_report(
    directory: Path,
    reports: Sequence[VoiceReport],
    general: Mapping[str, Sequence[Figure]],
    sentences: Mapping[str, Sequence[Sentence]],
    header: Mapping[str, object],
) -> None:
    """Write report.md, report.json and sentences.json into a directory."""
    parts = [
        _voices_table(language, reports) for language in dict.fromkeys(r.language for r in reports)
    ]
    parts += [_table(title, figures) for title, figures in general.items() if figures]
    parts.append(_problems(sentences))
    lines = "\n".join(f"- {name}: {value}" for name, value in header.items())
    (directory / "report.md").write_text("\n\n".join([lines, *parts]) + "\n", encoding="utf-8")
    _write_json(
        directory / "report.json",
        {
            **header,
            "voices": [asdict(report) for report in reports],
            "general": {title: [asdict(f) for f in figures] for title, figures in general.items()},
        },
    )
    _write_json(
        directory / "sentences.json",
        {name: [asdict(sentence) for sentence in found] for name, found in sentences.items()},
    )


def _write_json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _voices_table(language: str, reports: Sequence[VoiceReport]) -> str:
    """Return a table with a column per voice."""
    own = [report for report in reports if report.language == language]
    names = dict.fromkeys(figure.name for report in own for figure in report.figures)
    lines = [
        f"### {language}",
        "",
        "| measure | goal | " + " | ".join(report.voice for report in own) + " |",
        "| --- | --- |" + " ---: |" * len(own),
    ]
    for name in names:
        cells = [next((f for f in report.figures if f.name == name), None) for report in own]
        known = next(figure for figure in cells if figure is not None)
        label = f"{name}, {known.unit}" if known.unit else name
        shown = " | ".join("" if figure is None else _cell(figure) for figure in cells)
        lines.append(f"| {label} | {known.goal} | {shown} |")
    return "\n".join(lines)


def _table(title: str, figures: Sequence[Figure]) -> str:
    lines = [f"### {title}", "", "| measure | goal | value |", "| --- | --- | ---: |"]
    for figure in figures:
        label = f"{figure.name}, {figure.unit}" if figure.unit else figure.name
        lines.append(f"| {label} | {figure.goal} | {_cell(figure)} |")
    return "\n".join(lines)


def _cell(figure: Figure) -> str:
    if figure.value is None:
        return "not measured"
    return f"{figure.value:.4g}" + (" (missed)" if figure.is_met is False else "")


def _problems(sentences: Mapping[str, Sequence[Sentence]]) -> str:
    """Return what could not be measured, counted, with one example each."""
    lines = ["### Not measured", ""]
    for name, found in sentences.items():
        for key in dict.fromkeys(key for sentence in found for key in sentence.problems):
            reasons = [s.problems[key] for s in found if key in s.problems]
            lines.append(f"- {name}, {key}: {len(reasons)} of {len(found)}, first: {reasons[0]}")
    return "\n".join(lines if len(lines) > 2 else [*lines, "Nothing."])
