"""Languages of a text: which part of it is in which, and which can say it."""

from sovits_serve.frontend.languages.detection import load_model as load_detection
from sovits_serve.frontend.languages.mode import collapse_blanks, split_by_mode
from sovits_serve.frontend.languages.phrase import load_models as load_phrases
from sovits_serve.frontend.languages.run import LanguageRun, join_runs
from sovits_serve.frontend.languages.segmentation import segment_languages
from sovits_serve.frontend.languages.spoken import spoken_by

__all__ = [
    "LanguageRun",
    "collapse_blanks",
    "join_runs",
    "load_models",
    "segment_languages",
    "split_by_mode",
    "spoken_by",
]


def load_models() -> None:
    """Load what the first call of ``segment_languages`` would load; a second call does nothing."""
    load_detection()
    load_phrases()
