import json
from pathlib import Path

import pytest
import torch

from bench.compare_report import Row, markdown, write_report
from bench.upstream_launch import link_encoder, replace_nltk_data, write_t2s
from sovits_serve.checkpoints.random_model import write_random_t2s
from sovits_serve.models.spec import ModelVersion


def row(server: str, speed: float, mode: str = "whole") -> Row:
    """Return the figures of one load."""
    return {
        "server": server,
        "mode": mode,
        "clients": 4,
        "num_good": 9,
        "num_requests": 9,
        "audio_s_per_s": speed,
        "ttfa_ms": {"p50": 41.6, "p99": 12_345.0},
        "latency_ms": {"p50": 900.0, "p99": 1000.0},
        "real_time_factor": {"p50": 0.1},
        "mean_audio_s": 5.0,
        "rss_gib": 3.5,
    }


def test_servers_are_compared_by_the_best_of_the_other() -> None:
    """Each mode has its own baseline; without one there is no factor."""
    rows = [row("ours", 350.0), row("ours", 6.0, "stream"), row("upstream", 3.5)]
    rows.append(row("upstream", 1.75))
    lines = markdown(rows, "upstream").splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]

    assert [line[4:6] for line in cells] == [
        ["350", "100.0"], ["6.00", ""], ["3.50", "1.0"], ["1.75", "0.5"],
    ]  # fmt: skip
    assert cells[0][6:8] == ["42 ms", "12.3 s"]


def test_a_report_is_three_files(tmp_path: Path) -> None:
    """JSON with everything, the table, the picture; figures of GPUs are shown."""
    seen: Row = {"gpu_busy_percent": 91.5, "gpu_memory_gib": {"start": 1, "peak": 9.5, "end": 9}}
    rows = [{**row("ours", 350.0), **seen}, row("ours", 200.0, "stream")]
    shown = write_report(tmp_path / "new" / "cpu", {"cores": 2}, rows, "upstream")

    assert "91.5 %" in shown
    assert "9.5" in shown
    content = json.loads((tmp_path / "new" / "cpu.json").read_text())
    assert content["cores"] == 2
    assert [one["audio_s_per_s"] for one in content["rows"]] == [350.0, 200.0]
    assert (tmp_path / "new" / "cpu.md").read_text() == shown
    assert (tmp_path / "new" / "cpu.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def t2s(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny GPT checkpoint."""
    path = tmp_path_factory.mktemp("t2s") / "gpt.ckpt"
    write_random_t2s(path, version=ModelVersion.V2, size="tiny", seed=0)
    return path


def test_upstream_is_made_to_stop(t2s: Path, tmp_path: Path) -> None:
    """Its limit is 50 tokens a second of max_sec, and the end token is never likely."""
    write_t2s(t2s, tmp_path / "gpt.ckpt", 125)
    before, after = (torch.load(path, weights_only=True) for path in (t2s, tmp_path / "gpt.ckpt"))

    assert after["config"]["data"]["max_sec"] * 50 == 125
    logits = after["weight"]["model.ar_predict_layer.weight"]
    assert not logits[1024].any()
    assert torch.equal(logits[:1024], before["weight"]["model.ar_predict_layer.weight"][:1024])


def test_encoders_have_what_upstream_reads(tmp_path: Path) -> None:
    """Weights are linked, not copied, and loaded in float32; the source stays as it is."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text('{"model_type": "hubert"}')
    (source / "model.safetensors").write_bytes(b"weights")
    copy = link_encoder(source, tmp_path / "copy")

    assert json.loads((copy / "config.json").read_text()) == {
        "model_type": "hubert", "torch_dtype": "float32",
    }  # fmt: skip
    assert (copy / "model.safetensors").is_symlink()
    assert (copy / "preprocessor_config.json").exists()
    assert (source / "config.json").read_text() == '{"model_type": "hubert"}'


def test_a_tagger_without_weights_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NLTK finds the tagger and the dictionary that upstream loads at its start."""
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [])
    replace_nltk_data(tmp_path)

    assert nltk.pos_tag(["good", "day"]) == [("good", "NN"), ("day", "NN")]
    assert nltk.data.find("taggers/averaged_perceptron_tagger.zip")
    assert nltk.corpus.cmudict.dict() == {"a": [["AH0"]]}
