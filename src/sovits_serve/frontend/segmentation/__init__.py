"""Cut text into segments: what is spoken in one go. Knows no phonemes.

``segment`` is what the pipeline calls; ``auto`` is our own way (``auto.py``), cut0 to cut5 are
upstream's (``upstream.py``).
"""

from sovits_serve.frontend.segmentation.auto import segment_auto
from sovits_serve.frontend.segmentation.methods import METHODS, segment
from sovits_serve.frontend.segmentation.upstream import (
    cut,
    merge_short,
    replace_consecutive_punctuation,
    segment_upstream,
    split_long,
)

__all__ = [
    "METHODS",
    "cut",
    "merge_short",
    "replace_consecutive_punctuation",
    "segment",
    "segment_auto",
    "segment_upstream",
    "split_long",
]
