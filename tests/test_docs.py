"""What the documentation says is true: commands, Python code, versions, links."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from sovits_serve import __version__
from sovits_serve.cli import app

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")
DOCUMENTS = sorted(
    path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
)


def _blocks(document: str, language: str) -> list[str]:
    """Return the fenced code blocks of one language."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _commands(document: str) -> list[list[str]]:
    """Return the commands of a document's shell blocks, as words without comments."""
    lines = "".join(_blocks(document, "bash")).replace("\\\n", "").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def _command_line(words: list[str]) -> list[str] | None:
    """Return the arguments of ``sovits-serve`` that a command line comes to, if it is one."""
    if Path(words[0]).name == "sovits-serve":
        return words[1:]
    script = words[0].removeprefix("scripts/")
    return [script, *words[1:]] if words[0] in {"scripts/say", "scripts/serve"} else None


def _tracked_files() -> list[Path]:
    """Return the files that git tracks; without git or a checkout there are none to look at."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


@pytest.mark.parametrize("document", [*READMES, "CONTRIBUTING.md"])
def test_commands_exist(document: str) -> None:
    """Every program that a document starts is there and can be started."""
    programs = {words[0] for words in _commands(document) if words[0].startswith("scripts/")}

    assert programs
    assert not [name for name in programs if not os.access(ROOT / name, os.X_OK)]


@pytest.mark.parametrize("document", READMES)
def test_command_lines_parse(document: str) -> None:
    """Commands and options in the README are those of the command line."""
    found = [line for words in _commands(document) if (line := _command_line(words)) is not None]
    # With --help a command line is parsed, and refused if it is wrong, but not run.
    results = {" ".join(line): CliRunner().invoke(app, [*line, "--help"]) for line in found}

    assert results
    assert not {line: result.output for line, result in results.items() if result.exit_code}


def test_translation_has_the_same_code() -> None:
    """Both READMEs show the same commands and the same Python."""
    first, second = ([_blocks(name, kind) for kind in ("bash", "python")] for name in READMES)

    assert first == second


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_to_files(document: Path) -> None:
    """A relative link in a document leads to a file of the repository."""
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)

    assert not [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]


def test_architecture_names_every_part() -> None:
    """The architecture page has every package, every file of the engine, and no other."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    source = ROOT / "src/sovits_serve"
    packages = {f"{path.parent.name}/" for path in source.glob("*/__init__.py")}
    engine = {path.name for path in (source / "engine").glob("[!_]*.py")}
    named = set(re.findall(r"`([\w/]+\.py|\w+/)`", text))

    assert packages | engine <= named
    assert not [name for name in named if not _exists(source, name)]


def _exists(source: Path, name: str) -> bool:
    return any(
        (folder / name).exists() for folder in (source, source / "engine", source / "frontend")
    )


def test_changelog_starts_with_this_version() -> None:
    """The top entry of the changelog is the version of the package."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    top = re.search(r"^## \[(\S+?)\](?: (\S+))?", text, re.MULTILINE)

    assert top is not None
    assert __version__ in top.groups()


def test_no_machine_path_is_tracked() -> None:
    """Nothing in the repository points into somebody's machine."""
    # Written so that the pattern does not match itself. Binary test data may hold anything.
    machine = re.compile(rb"/(?:w[o]rk|r[o]ot|home/\w+|f[a]rm)/|[.]pye[n]v|/tmp/b[a]sh_jobs")
    sources = [path for path in _tracked_files() if path.is_file()]
    binary = {".npz", ".wav", ".ckpt", ".pth", ".safetensors"}
    texts = [path for path in sources if path.suffix not in binary]

    assert not [str(path) for path in texts if machine.search(path.read_bytes())]


def _run(directory: Path, *arguments: str) -> None:
    """Run an interpreter as a user would, with this source."""
    subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
        timeout=110,
    )


@pytest.mark.e2e
def test_readme_first_audio(tmp_path: Path) -> None:
    """The README's first command for audio writes audio."""
    (words,) = (
        words
        for words in _commands("README.md")
        if "scripts/say" in words[0] and "hello.wav" in words
    )
    _run(tmp_path, "-m", "sovits_serve", *(_command_line(words) or []))
    samples, rate_hz = soundfile.read(tmp_path / "hello.wav", dtype="int16")

    assert rate_hz == 32_000
    assert samples.any()


@pytest.mark.e2e
def test_readme_python_runs(tmp_path: Path) -> None:
    """The Python of the README runs as it is; streamed and whole are equally long."""
    (code,) = (code for code in _blocks("README.md", "python") if "Synthesizer" in code)
    _run(tmp_path, "-c", code)
    samples, _ = soundfile.read(tmp_path / "whole.wav", dtype="int16")

    assert samples.any()
    assert (tmp_path / "stream.pcm").stat().st_size == 2 * len(samples)
