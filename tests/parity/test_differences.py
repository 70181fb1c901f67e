"""The list of texts that the product reads otherwise."""

import json
from pathlib import Path

from sovits_serve.frontend.text_frontend import TextFrontend
from sovits_serve.parity.differences import rows
from sovits_serve.parity.golden import GoldenDirectory


def test_only_texts_with_other_phonemes_are_listed(tmp_path: Path) -> None:
    """A text read alike is left out; one read otherwise is a row with both readings."""
    ids = TextFrontend("v2").one_segment("你们好，世界。", "zh").phonemized().phone_ids
    same = {"mode": "zh", "version": "v2", "text": "你们好，世界。", "ids": ids, "segs": []}
    other = {
        "mode": "zh",
        "version": "v2",
        "text": "5-8个人",
        "ids": [1, 2, 3],
        "segs": [{"lang": "zh", "norm": "五减八个人"}],
    }
    golden = tmp_path / "frontend_modes.json"
    golden.write_text(json.dumps([same, other]), encoding="utf-8")

    assert list(rows(GoldenDirectory(tmp_path))) == [
        "| zh | 5-8个人 | zh: 五减八个人 | zh: 五到八个人 |"
    ]
