import json
from pathlib import Path

import numpy as np
import pytest

from sovits_serve.parity.__main__ import main
from tests.parity.conftest import change_array
from tests.parity.synthetic_requests import STEM, write_requests

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write small requests once."""
    directory = tmp_path_factory.mktemp("requests")
    write_requests(directory)
    return directory


@pytest.fixture
def requests(recorded: Path, tmp_path: Path) -> Path:
    """Return a directory with the requests, its own to change."""
    for path in recorded.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def _lines(capsys: Capture) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _failed(capsys: Capture) -> list[object]:
    return [line["name"] for line in _lines(capsys) if not line["pass"]]


def test_requests_that_agree_pass(recorded: Path, capsys: Capture) -> None:
    """Batched, fragmented and streamed requests pass, each stage of each."""
    status = main([str(recorded)])
    lines = _lines(capsys)
    names = {line["name"] for line in lines}

    assert [line for line in lines if not line["pass"]] == []
    assert status == 0
    for key in ("prompt_semantic", "batches0", "y0", "y2", "margins", "engine_y1", "out0"):
        assert f"{STEM}_bucketed/{key}" in names
    for key in ("y0", "engine_y0", "out0", "num_outputs"):
        assert f"{STEM}_fragments/{key}" in names
    for key in ("stream0", "stream0_chunks", "stream0_calls", "out0", "out3"):
        assert f"{STEM}_stream/{key}" in names


@pytest.mark.parametrize(
    ("request_name", "key", "amount", "failed"),
    [
        ("bucketed", "prompt_semantic", 1, "prompt_semantic"),
        ("bucketed", "margins", 0.01, "margins"),
        ("bucketed", "out0", 5, "out0"),
        ("stream", "out1", 5, "out1"),
        ("fragments", "noise0", 1.0, "out0"),
    ],
)
def test_a_changed_recording_fails_its_stage(
    requests: Path, capsys: Capture, request_name: str, key: str, amount: float, failed: str
) -> None:
    """A value out of tolerance is reported under the stage it belongs to."""
    name = f"{STEM}_{request_name}"
    change_array(requests / f"{name}.npz", key, amount)
    status = main([str(requests), "--only", name])

    assert status == 1
    assert f"{name}/{failed}" in _failed(capsys)


def test_a_changed_token_fails_where_it_was_decided(requests: Path, capsys: Capture) -> None:
    """Another token than ours fails its sequence, but not the others of the batch."""
    name = f"{STEM}_bucketed"
    path = requests / f"{name}.npz"
    with np.load(path) as stored:
        first = len(stored["prompt_semantic"])
        arrays = {key: np.array(stored[key]) for key in stored.files}
    arrays["y1"][first] += 1
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for options
    main([str(requests), "--only", name])
    failed = _failed(capsys)

    assert f"{name}/y1" in failed
    assert f"{name}/y0" not in failed
    assert f"{name}/y2" not in failed


def test_a_missing_recipe_is_named(requests: Path, capsys: Capture) -> None:
    """What cannot be checked is skipped with the name of the file that is missing."""
    (requests / f"{STEM}_hubert.weights.json").unlink()
    status = main([str(requests)])

    assert status == 2
    assert f"{STEM}_stream skipped: {STEM}_hubert.weights.json missing" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_other_decoders_are_skipped_by_name(requests: Path, capsys: Capture, version: str) -> None:
    """A request of a version without a generator is mentioned and not checked."""
    meta = json.loads((requests / f"{STEM}.meta.json").read_text(encoding="utf-8"))
    meta["requests"][0]["version"] = version
    (requests / f"{STEM}.meta.json").write_text(json.dumps(meta), encoding="utf-8")
    main([str(requests), "--only", f"{STEM}_bucketed", f"{STEM}_fragments"])
    captured = capsys.readouterr()

    assert f"{STEM}_bucketed skipped: no requests of {version} are checked here" in captured.err
    assert f"{STEM}_bucketed" not in captured.out


def test_sampled_tokens_without_noise_are_not_judged(requests: Path, capsys: Capture) -> None:
    """Tokens that were drawn cannot be found again: the rest of the request is still checked."""
    meta = json.loads((requests / f"{STEM}.meta.json").read_text(encoding="utf-8"))
    meta["requests"][0]["request"]["top_k"] = 5
    (requests / f"{STEM}.meta.json").write_text(json.dumps(meta), encoding="utf-8")
    status = main([str(requests), "--only", f"{STEM}_bucketed"])
    captured = capsys.readouterr()

    assert status == 0
    assert "tokens skipped: drawn without recorded noise" in captured.err
    assert f"{STEM}_bucketed/y0" not in captured.out
    assert f"{STEM}_bucketed/out0" in captured.out
