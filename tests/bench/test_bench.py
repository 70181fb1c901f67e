"""``sovits-serve bench``: what it says of a server is what the server did."""

import itertools
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sovits_serve.bench.load import Target
from sovits_serve.bench.player import play
from sovits_serve.bench.report import percentiles
from sovits_serve.bench.run import BenchJob, measure
from sovits_serve.bench.texts import LANGUAGES, LENGTHS, Language, Length, texts
from sovits_serve.bench.wav import NotWav, WavStream
from sovits_serve.cli import app
from tests.server_process import ServerProcess

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("length", LENGTHS)
def test_texts_differ_and_repeat_with_their_seed(language: Language, length: Length) -> None:
    """No text twice in a run; another seed gives others; longer ones are longer."""
    some = list(itertools.islice(texts(language, length, 1), 600))

    assert len(set(some)) == 600
    assert some == list(itertools.islice(texts(language, length, 1), 600))
    assert some[:5] != list(itertools.islice(texts(language, length, 2), 5))
    shorter = {"short": 0, "medium": 12, "long": 45}[length]
    assert min(map(len, some)) > shorter


def test_a_listener_waits_where_audio_comes_too_late() -> None:
    """Half a second of hole after one second of audio; what comes early is no hole."""
    heard = play([(10.0, 1.0), (11.5, 1.0), (11.6, 1.0), (13.4, 0.5)])

    assert heard.num_underruns == 1
    assert heard.waited_s == pytest.approx(0.5)
    assert heard.gaps_s == pytest.approx((1.5, 0.1, 1.8))
    assert play([]).gaps_s == ()


def test_percentiles_are_values_that_were_there() -> None:
    """Of a hundred values the 99th is p99; of one value it is all of them."""
    figures = percentiles([float(number) for number in range(1, 101)])

    assert figures == {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert set(percentiles([3.0], 1000).values()) == {3000.0}
    assert percentiles([]) == {}


def wav(samples: bytes, *, bits: int = 16, extra: bytes = b"") -> bytes:
    """Return a streamed WAV at 8 kHz, whose lengths say nothing."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16_000, 2, bits)
    head = b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + form + extra
    return head + b"data" + struct.pack("<I", 0xFFFFFFFF) + samples


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_wav_is_read_in_any_pieces(step: int) -> None:
    """Chunks that it does not know are passed over, and only samples are counted."""
    data = wav(b"\0\0\1\0" * 50, extra=b"LIST" + struct.pack("<I", 3) + b"abc\0")
    stream = WavStream()
    fed = [stream.feed(data[at : at + step]) for at in range(0, len(data), step)]

    assert sum(fed) == stream.num_bytes == 200
    assert stream.bytes_per_second == 16_000
    assert not stream.is_silent


@pytest.mark.parametrize("data", [b"ID3", b"RIFF....JUNK", wav(b"", bits=24)])
def test_what_is_no_wav_is_told(data: bytes) -> None:
    """Other formats are not measured as if they were samples."""
    with pytest.raises(NotWav):
        WavStream().feed(data)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server whose speech is as long as its text says."""
    switches = {"SECONDS_PER_PHONEME": 0.05, "CHUNK_S": 0.2, "SLOW_STEP_MS": 5}
    with ServerProcess(tmp_path_factory.mktemp("bench"), switches=switches) as one:
        one.wait_ready()
        yield one


def bench(*words: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["bench", *map(str, words)])


def run_of(result: Result, path: Path) -> list[dict[str, object]]:
    """Return the runs of a report."""
    assert result.exit_code == 0, result.output
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    assert isinstance(runs, list)
    return runs


@pytest.mark.e2e
@pytest.mark.parametrize("api", ["openai", "api_v2"])
def test_every_answer_is_counted_and_its_audio_added_up(
    server: ServerProcess, tmp_path: Path, api: str
) -> None:
    """Streams of both dialects: as many as were asked for, with first audio before the last."""
    path = tmp_path / "figures.json"
    voice = "alice" if api == "openai" else "alice.wav"
    more = ("--voice", voice, "--requests", 12, "--clients", 2, "--clients", 4, "--json", path)
    result = bench("latency", "--url", server.url, "--api", api, *more, "--field", "top_k=5")

    runs = run_of(result, path)
    assert [run["load"] for run in runs] == ["2", "4"]
    for run in runs:
        assert run["num_good"] == run["num_requests"] == 12, run["problems"]
        assert run["problems"] == {}
        ttfa, latency = run["ttfa_ms"], run["latency_ms"]
        assert isinstance(ttfa, dict)
        assert isinstance(latency, dict)
        assert 0 < ttfa["p50"] < latency["p50"]
        assert isinstance(run["audio_s"], float)
        assert 12 * 1.0 < run["audio_s"] < 12 * 8.0
        assert run["streams_with_underruns"] in range(13)  # none, where nobody else takes the cores


@pytest.mark.e2e
def test_whole_answers_are_drawn_and_printed(server: ServerProcess, tmp_path: Path) -> None:
    """A table for people, a line of JSON, and a picture."""
    picture = tmp_path / "figures.png"
    words = ("--clients", 1, "--clients", 3, "--requests", 6, "--language", "zh")
    result = bench("throughput", "--url", server.url, *words, "--plot", picture)

    assert result.exit_code == 0, result.output
    assert "audio-s/s" in result.stdout
    assert len(json.loads(result.stdout.splitlines()[-1])["runs"]) == 2
    assert picture.read_bytes().startswith(PNG)


@pytest.mark.e2e
def test_a_load_can_go_on_for_a_time(server: ServerProcess) -> None:
    """Every client asks until the time is over, and what was asked by then is answered."""
    job = BenchJob(Target(server.url, voice="alice"), [3], seconds=1.0, num_requests=1)
    figures = measure(job)[0]

    assert figures["num_good"] == figures["num_requests"]
    assert isinstance(figures["num_requests"], int)
    assert figures["num_requests"] >= 3
    assert isinstance(figures["wall_s"], float)
    assert figures["wall_s"] >= 1.0


@pytest.mark.e2e
def test_an_open_loop_keeps_its_rate(server: ServerProcess, tmp_path: Path) -> None:
    """Forty requests at twenty a second take two seconds or so, however quick the answers."""
    path = tmp_path / "figures.json"
    words = ("--rate", 20, "--requests", 40, "--length", "short", "--json", path)
    [run] = run_of(bench("serve", "--url", server.url, *words), path)

    assert run["load"] == "20/s"
    assert run["num_good"] == 40
    assert isinstance(run["wall_s"], float)
    assert run["wall_s"] > 0.8


@pytest.mark.e2e
def test_refusals_are_no_speech(server: ServerProcess) -> None:
    """A voice that is not there: no figure is made of it, and the server's words are shown."""
    result = bench("serve", "--url", server.url, "--voice", "nobody", "--requests", 3)

    assert result.exit_code == 70
    assert "3 x status 404" in result.stdout
    assert "nobody" in result.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--url", "https://a"), "is not http://"),
        (("--url", "http://a:b"), "is not http://"),
        (("--url", "http://[a"), "is not http://"),
        (("--field", "x"), "is not NAME=VALUE"),
        (("--clients", "1", "--rate", "1"), "--clients, or --rate"),
    ],
)
def test_wrong_usage_is_told(words: tuple[str, ...], told: str) -> None:
    """What cannot be meant is refused before any load."""
    result = bench("serve", *words)

    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_an_output_that_cannot_be_written_is_told(
    server: ServerProcess, tmp_path: Path, option: str
) -> None:
    """The figures are printed all the same where only the picture fails."""
    path = tmp_path / "missing" / "figures.png"
    result = bench("serve", "--url", server.url, "--requests", 2, option, path)

    assert result.exit_code == 73
    assert str(path) in result.stderr


def test_a_server_that_is_not_there_is_no_crash() -> None:
    """Every request has its problem, and the exit code says that nothing was measured."""
    result = bench("serve", "--url", "http://127.0.0.1:9", "--requests", 2, "--clients", 1)

    assert result.exit_code == 70
    assert "no connection" in result.stdout


@pytest.mark.slow
def test_every_stage_has_a_figure(tmp_path: Path) -> None:
    """Of the built-in model, at two batch sizes, on the CPU; no BERT, for it reads none."""
    path = tmp_path / "stages.json"
    words = ("--batch", 1, "--batch", 3, "--repeats", 1, "--steps", 4, "--threads", 1)
    result = bench("stages", "--device", "cpu", *words, "--json", path)

    assert result.exit_code == 0, result.output
    figures = json.loads(path.read_text(encoding="utf-8"))["stages"]
    of_batch = [[f["stage"] for f in figures if f["batch"] == batch] for batch in (1, 3)]
    assert len(of_batch[0]) == 5
    assert of_batch[1] == of_batch[0][1:]
    assert all(figure["ms"] > 0 < figure["per_s"] for figure in figures)


def test_the_key_is_sent_as_other_commands_send_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is given, else the one that the server reads; none where there is none."""
    request = Target("http://a:1", key="one").request("Hello.", 1)
    assert b"\r\nAuthorization: Bearer one\r\n" in request
    assert b"Authorization" not in Target("http://a:1").request("Hello.", 1)

    keys = []
    monkeypatch.setattr("sovits_serve.bench.run.run_bench", lambda job: keys.append(job.target.key))
    monkeypatch.setenv("SOVITS_SERVE_API_KEY", "two, three")
    assert bench("serve").exit_code == bench("serve", "--api-key", "one").exit_code == 0
    assert keys == ["two", "one"]
