"""The small recorded set that travels with the source: all of it must agree."""

import io

import torch

from sovits_serve.parity.limits import Precision
from sovits_serve.parity.report import Report
from sovits_serve.parity.runner import run
from tests.golden import DATA

GROUPS = {
    "bert_tiny",
    "checkpoint_layouts",
    "frontend_clean",
    "frontend_langseg",
    "frontend_modes",
    "frontend_zh_g2pw_injected",
    "merge_short_text",
    "pinyin_to_symbol",
    "postprocess",
    "ref_features",
    "s2_v1_tiny",
    "s2_v2ProPlus_tiny",
    "s2_v2Pro_tiny",
    "s2_v2_tiny",
    "sampler",
    "symbols",
    "t2s_v1025",
    "t2s_v65",
    "text_split",
}


def test_every_recorded_result_agrees() -> None:
    """Each comparison with the committed goldens is within its tolerance, in every group."""
    lines, notes = io.StringIO(), io.StringIO()
    report = Report(lines, notes)
    status = run(DATA, Precision(torch.device("cpu"), torch.float32), report)
    groups = {line.split('"')[3].split("/")[0] for line in lines.getvalue().splitlines()}

    assert not report.failed
    assert status == 0
    assert groups == GROUPS
    assert "skipped" not in notes.getvalue()
