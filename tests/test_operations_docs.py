"""docs/operations.md and docs/voices.md say what is so: metrics, settings, messages, commands."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from prometheus_client import Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from sovits_serve.cli import app
from sovits_serve.config_sources import all_settings
from sovits_serve.metrics import PREFIX, ServerMetrics, Snapshot
from sovits_serve.protocol.messages import EngineStatus, Status
from sovits_serve.voices.registry import VoiceRegistry
from sovits_serve.voices.voice import VoiceDefaults
from tests.api.app_server import recording

ROOT = Path(__file__).parents[1]
PAGES = {name: (ROOT / f"docs/{name}.md").read_text() for name in ("operations", "api", "voices")}
OPERATIONS = PAGES["operations"]
# Flags of other programs.
_FOREIGN = frozenset({"--init", "--stop-timeout", "--workers", "--create-home"})
_OF_TOP = frozenset({"--url", "--once", "--api-key", "--interval"})


def _section(title: str) -> str:
    return OPERATIONS.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _first_column(title: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)`", _section(title), re.MULTILINE)


def test_every_metric_is_explained() -> None:
    """The table has each metric of ours with its labels, and no other."""
    metrics = ServerMetrics()
    metrics.export(lambda: Snapshot(Status(0, "ready", "", (EngineStatus("cpu", "ready"),))))
    families = [
        family
        for family in text_string_to_metric_families(metrics.render().decode())
        if family.name.startswith(PREFIX) and not family.name.endswith("_created")
    ]
    names = {
        family.name.removeprefix(f"{PREFIX}_") + ("_total" if family.type == "counter" else "")
        for family in families
    }

    assert set(_first_column("Metrics")) == names


def test_labels_are_those_of_the_metrics() -> None:
    """The second column names the labels that a metric was declared with."""
    metrics = ServerMetrics()
    rows = dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", _section("Metrics"), re.MULTILINE))
    metrics.export(lambda: Snapshot(Status(0, "ready", "", (EngineStatus("cpu", "ready"),))))
    for collector in vars(metrics).values():
        if not isinstance(collector, Counter | Histogram) or collector._labelvalues:
            continue  # a part of one that is looked at anyway
        kind = "_total" if isinstance(collector, Counter) else ""
        name = f"{collector._name}{kind}".removeprefix(f"{PREFIX}_")
        assert re.findall(r"`(\w+)`", rows[name]) == list(collector._labelnames), name
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            name = sample.name.removeprefix(f"{PREFIX}_")
            if name in rows:
                assert re.findall(r"`(\w+)`", rows[name]) == list(sample.labels), name


@pytest.mark.parametrize("page", PAGES)
def test_flags_and_variables_are_those_of_settings(page: str) -> None:
    """Each flag and SOVITS_SERVE_ variable that a page names is there."""
    settings = all_settings()
    flags = {setting.flag for setting in settings} | {"--config"} | _FOREIGN | _OF_TOP
    variables = {setting.environment for setting in settings} | {"SOVITS_SERVE_CONFIG"}

    assert not set(re.findall(r"(?<![\w-])--[a-z][a-z-]+[a-z]", PAGES[page])) - flags
    assert not set(re.findall(r"SOVITS_SERVE_[A-Z_]+[A-Z]", PAGES[page])) - variables


def test_figures_of_settings_are_their_defaults() -> None:
    """A figure in brackets after a setting's name is its default."""
    by_flag = {setting.flag: setting.declared.default for setting in all_settings()}
    by_key = {setting.key: setting.declared.default for setting in all_settings()}
    by_key["max_waiting"] = by_flag["--max-waiting"]  # the engine has one, too
    shown = re.findall(r"`(--)?([a-z_-]+)` \((\d[\d.]*)(?: s)?\)", OPERATIONS)

    assert len(shown) > 6
    for dashes, name, figure in shown:
        default = by_flag[f"--{name}"] if dashes else by_key[name]
        assert float(str(default)) == float(figure), name


def test_messages_are_said_somewhere() -> None:
    """Each message of the troubleshooting table is one that the sources have."""
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "src/sovits_serve").rglob("*.py")
    )
    said = re.sub(r'"\s*\n\s*f?"', "", sources)  # one message over several lines
    messages = _first_column("Troubleshooting")

    assert len(messages) > 15
    assert not [message for message in messages if message not in said]


def test_commands_parse() -> None:
    """The page's own commands are those of the command line."""
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```$", OPERATIONS, re.MULTILINE | re.DOTALL))
    lines = [shlex.split(line) for line in blocks.splitlines()]
    ours = [words for words in lines if words[0] in {"sovits-serve", "scripts/serve"}]

    assert len(ours) >= 5
    for words in ours:
        arguments = words[1:] if words[0] == "sovits-serve" else ["serve", *words[1:]]
        result = CliRunner().invoke(app, [*arguments, "--help"])
        assert result.exit_code == 0, words


def test_the_voice_settings_that_are_shown_are_a_voice(tmp_path: Path) -> None:
    """The example of a voice.toml is read, and shows every default there is."""
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGES["voices"], re.MULTILINE | re.DOTALL)
    folder = tmp_path / "anna"
    folder.mkdir()
    (folder / "voice.toml").write_text(text)
    for name in ("calm.flac", "second.flac"):
        (folder / name).write_bytes(recording())

    registry = VoiceRegistry(tmp_path)

    assert not registry.problems
    assert registry.get("narrator").name == "anna"
    assert tomllib.loads(text)["defaults"].keys() == set(VoiceDefaults.__struct_fields__)
