import json
from pathlib import Path

import pytest

from sovits_serve.parity.__main__ import main
from tests.golden import DATA
from tests.parity.conftest import CopyGoldens, change_array

FIELDS = ["name", "metric", "value", "tolerance", "pass"]
Capture = pytest.CaptureFixture[str]


def _lines(capsys: Capture) -> list[dict[str, object]]:
    """Return what was printed to standard output, parsed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_lines_have_exactly_the_promised_fields(capsys: Capture) -> None:
    """Standard output holds one JSON object per check with five fields, and nothing else."""
    status = main([str(DATA), "--only", "sampler", "checkpoint_layouts"])
    lines = _lines(capsys)

    assert status == 0
    assert lines
    assert all(list(line) == FIELDS for line in lines)
    assert all(line["pass"] is True for line in lines)


@pytest.mark.parametrize(
    ("key", "amount", "name"),
    [
        ("c0_probs", 1e-4, "sampler/c0_probs"),
        ("c1_idx", 1, "sampler/c1_idx"),
    ],
)
def test_a_changed_golden_fails(
    copy_goldens: CopyGoldens, capsys: Capture, key: str, amount: float, name: str
) -> None:
    """One element out of tolerance fails its own check, and the command."""
    directory = copy_goldens("sampler.*")
    change_array(directory / "sampler.npz", key, amount)
    status = main([str(directory)])

    assert status == 1
    assert [line["name"] for line in _lines(capsys) if not line["pass"]] == [name]


@pytest.mark.parametrize(
    ("stem", "key", "amount", "name"),
    [
        ("s2_v2_tiny", "c0_audio", 1e-3, "c0_audio"),
        ("bert_tiny", "b0", 1e-3, "b0"),
        ("postprocess", "p0_out", 2, "p0"),
    ],
)
def test_a_changed_stage_fails(
    copy_goldens: CopyGoldens, capsys: Capture, stem: str, key: str, amount: float, name: str
) -> None:
    """A change past the limit is seen in models and signal processing alike."""
    directory = copy_goldens(f"{stem}.*", "bert_vocab.txt")
    change_array(directory / f"{stem}.npz", key, amount)
    status = main([str(directory), "--only", stem])
    failed = [line["name"] for line in _lines(capsys) if not line["pass"]]

    assert status == 1
    assert failed == [f"{stem}/{name}"]


def test_a_damaged_golden_costs_its_own_checks_only(
    copy_goldens: CopyGoldens, capsys: Capture
) -> None:
    """A file that breaks a check is one failed line with the reason; the others go on."""
    directory = copy_goldens("checkpoint_layouts.json", "s2_layout_*.pth")
    (directory / "s2_layout_v2.pth").write_bytes(b"PK")
    status = main([str(directory)])
    lines = _lines(capsys)
    errors = [line for line in lines if line["metric"] == "error"]

    assert status == 1
    assert [line["name"] for line in errors] == ["checkpoint_layouts/s2_layout_v2"]
    assert sum(line["pass"] is True for line in lines) > 10


@pytest.mark.parametrize("content", [None, "README.md", "*.wav"])
def test_nothing_to_check_is_bad_usage(
    copy_goldens: CopyGoldens, capsys: Capture, content: str | None
) -> None:
    """A directory that holds no goldens is status 2 and a message, not a pass."""
    directory = copy_goldens(content) if content else copy_goldens()
    status = main([str(directory)])
    captured = capsys.readouterr()

    assert status == 2
    assert not captured.out
    assert "no golden files" in captured.err


def test_a_wrong_directory_is_bad_usage(tmp_path: Path, capsys: Capture) -> None:
    """A directory that does not exist is status 2 and named."""
    status = main([str(tmp_path / "nowhere")])

    assert status == 2
    assert "nowhere: no such directory" in capsys.readouterr().err


@pytest.mark.parametrize("glob", ["sampler", "sampl*", "sampler.npz", "*.npz"])
def test_only_chooses_by_name_and_by_file(
    copy_goldens: CopyGoldens, capsys: Capture, glob: str
) -> None:
    """``--only`` takes globs of golden names and of file names; the rest is not run."""
    directory = copy_goldens("sampler.*", "checkpoint_layouts.json", "s2_layout_*.pth")
    status = main([str(directory), "--only", glob])
    names = {str(line["name"]).split("/")[0] for line in _lines(capsys)}

    assert status == 0
    assert names == {"sampler"}


def test_only_that_matches_nothing_names_what_there_is(
    copy_goldens: CopyGoldens, capsys: Capture
) -> None:
    """A filter that matches nothing is status 2 and lists the goldens there are."""
    status = main([str(copy_goldens("sampler.*")), "--only", "vocoder"])

    assert status == 2
    assert "matches none of: sampler" in capsys.readouterr().err


def test_files_that_nothing_checks_are_named(copy_goldens: CopyGoldens, capsys: Capture) -> None:
    """A golden that no check reads is mentioned, so that a pass does not say too much."""
    directory = copy_goldens("sampler.*")
    (directory / "future.json").write_text("{}")
    status = main([str(directory)])

    assert status == 0
    assert "future.json skipped" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--device", "tpu"], ["--dtype", "int8"], []])
def test_wrong_options_are_bad_usage(arguments: list[str]) -> None:
    """Unknown devices and types, and no directory at all, are status 2."""
    with pytest.raises(SystemExit) as stopped:
        main(["." for _ in arguments[:1]] + arguments)

    assert stopped.value.code == 2
