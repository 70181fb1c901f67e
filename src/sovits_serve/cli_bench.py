"""The commands ``sovits-serve bench ...``. Imports nothing heavy."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sovits_serve.cli_errors import exit_codes
from sovits_serve.errors import StopCommand

if TYPE_CHECKING:
    from sovits_serve.bench.load import Target

EXIT_USAGE = 2

bench_app = typer.Typer(
    help="Put a server under load and measure it; any that speaks OpenAI's or api_v2's language.",
    no_args_is_help=True,
)


class Api(StrEnum):
    """Dialects that the load can speak."""

    OPENAI = "openai"
    API_V2 = "api_v2"


class TextLanguage(StrEnum):
    """Languages of made-up texts."""

    EN = "en"
    ZH = "zh"
    MIXED = "mixed"


class TextLength(StrEnum):
    """Lengths of made-up texts."""

    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"


Url = Annotated[str, typer.Option(help="The server, http://HOST:PORT.")]
ApiOption = Annotated[Api, typer.Option(help="openai: /v1/audio/speech; api_v2: /tts.")]
Voice = Annotated[
    str, typer.Option(help="A voice; for api_v2 the reference's path as the server knows it.")
]
TextLang = Annotated[str, typer.Option(help="text_lang of api_v2.")]
Field = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="NAME=VALUE", help="One more field of each request, as JSON."),
]
Key = Annotated[
    str, typer.Option("--api-key", help="The server's key; else that of SOVITS_SERVE_API_KEY.")
]
Requests = Annotated[int, typer.Option(min=0, help="Requests per run; 0: 4 per client.")]
WarmUp = Annotated[int, typer.Option(min=0, help="Requests before, not measured.")]
Lang = Annotated[TextLanguage, typer.Option("--language", "-l", help="Language of the texts.")]
Size = Annotated[TextLength, typer.Option("--length", help="About 2, 5 or 15 s of speech.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same texts.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Longest answer, in seconds.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the JSON line there.")]
Plot = Annotated[Path | None, typer.Option(help="Draw a PNG (or .svg, .pdf).")]
DEFAULT_URL = "http://127.0.0.1:9880"


@bench_app.command("serve")
def bench_serve(
    url: Url = DEFAULT_URL,
    api: ApiOption = Api.OPENAI,
    clients: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="So many at once (closed loop).")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="So many a second, at random (open loop).")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Take audio as it is made.")] = False,
    voice: Voice = "default",
    text_lang: TextLang = "auto",
    field: Field = None,
    key: Key = "",
    requests: Requests = 0,
    warm_up: WarmUp = 4,
    language: Lang = TextLanguage.EN,
    length: Size = TextLength.MEDIUM,
    seed: Seed = 0,
    timeout: Timeout = 120.0,
    json_path: Json = None,
    plot: Plot = None,
) -> None:
    """Measure a server at one load: so many clients, or so many requests a second."""
    with exit_codes():
        if clients is not None and rate is not None:
            raise StopCommand("--clients, or --rate", EXIT_USAGE)
        load = float(rate if rate is not None else clients or 8)
        target = _target(url, api, voice, text_lang, field, key, is_streaming=stream)
        _run(
            target, [load], rate is not None, requests, warm_up,
            language, length, seed, timeout, json_path, plot,
        )  # fmt: skip


@bench_app.command("throughput")
def bench_throughput(
    url: Url = DEFAULT_URL,
    api: ApiOption = Api.OPENAI,
    clients: Annotated[
        list[int], typer.Option(min=1, max=10_000, help="Numbers of clients, one run each.")
    ] = [1, 8, 64, 256],  # noqa: B006  # typer's way; never changed
    voice: Voice = "default",
    text_lang: TextLang = "auto",
    field: Field = None,
    key: Key = "",
    requests: Requests = 0,
    warm_up: WarmUp = 4,
    language: Lang = TextLanguage.EN,
    length: Size = TextLength.MEDIUM,
    seed: Seed = 0,
    timeout: Timeout = 120.0,
    json_path: Json = None,
    plot: Plot = None,
) -> None:
    """Measure how much speech a server makes per second for 1, 8, 64, 256 clients, not streaming."""
    with exit_codes():
        target = _target(url, api, voice, text_lang, field, key, is_streaming=False)
        _run(
            target, [float(one) for one in clients], False, requests, warm_up,
            language, length, seed, timeout, json_path, plot,
        )  # fmt: skip


@bench_app.command("latency")
def bench_latency(
    url: Url = DEFAULT_URL,
    api: ApiOption = Api.OPENAI,
    clients: Annotated[
        list[int], typer.Option(min=1, max=10_000, help="Numbers of listeners, one run each.")
    ] = [1, 4, 16, 64],  # noqa: B006  # typer's way; never changed
    voice: Voice = "default",
    text_lang: TextLang = "auto",
    field: Field = None,
    key: Key = "",
    requests: Requests = 0,
    warm_up: WarmUp = 4,
    language: Lang = TextLanguage.EN,
    length: Size = TextLength.MEDIUM,
    seed: Seed = 0,
    timeout: Timeout = 120.0,
    json_path: Json = None,
    plot: Plot = None,
) -> None:
    """Measure when first audio comes, and whether it goes on without a hole, for 1 to 64 listeners."""
    with exit_codes():
        target = _target(url, api, voice, text_lang, field, key, is_streaming=True)
        _run(
            target, [float(one) for one in clients], False, requests, warm_up,
            language, length, seed, timeout, json_path, plot,
        )  # fmt: skip


def _target(
    url: str,
    api: Api,
    voice: str,
    text_lang: str,
    fields: list[str] | None,
    key: str,
    *,
    is_streaming: bool,
) -> "Target":
    from sovits_serve.bench.load import Target
    from sovits_serve.config_sources import client_api_key

    return Target(
        url,
        api=api.value,
        voice=voice,
        language=text_lang,
        is_streaming=is_streaming,
        extra=dict(map(_field, fields or ())),
        key=key or client_api_key(),
    )


def _field(given: str) -> tuple[str, object]:
    name, found, value = given.partition("=")
    if not found or not name:
        raise StopCommand(f"--field: {given!r} is not NAME=VALUE", EXIT_USAGE)
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _run(
    target: "Target",
    loads: list[float],
    is_open: bool,
    requests: int,
    warm_up: int,
    language: TextLanguage,
    length: TextLength,
    seed: int,
    timeout: float,
    json_path: Path | None,
    plot: Path | None,
) -> None:
    from sovits_serve.bench.run import BenchJob, run_bench

    run_bench(
        BenchJob(
            target=target,
            loads=loads,
            is_open=is_open,
            num_requests=requests,
            num_warm_up=warm_up,
            language=language.value,
            length=length.value,
            seed=seed,
            timeout_s=timeout,
            json_path=json_path,
            plot_path=plot,
        )
    )


@bench_app.command("stages")
def bench_stages(
    model: Annotated[
        Path | None, typer.Option(help="Directory of a model; without one the built-in one.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bfloat16.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all.")] = 0,
    decode_weights: Annotated[str, typer.Option(help="float, or int8 on a CPU.")] = "float",
    batch: Annotated[
        list[int], typer.Option(min=1, max=1024, help="Batch sizes, one run each.")
    ] = [1, 8, 32, 128],  # noqa: B006  # typer's way; never changed
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each; the median counts.")] = 5,
    steps: Annotated[int, typer.Option(min=1, max=1024, help="Decode steps of each run.")] = 64,
    json_path: Json = None,
) -> None:
    """Measure each stage of the engine by itself on a device of this machine; needs no server."""
    with exit_codes():
        from sovits_serve.bench.stages import StagesJob, run_stages

        run_stages(
            StagesJob(
                model, device, dtype, threads, decode_weights, batch, repeats, steps, json_path
            )
        )
