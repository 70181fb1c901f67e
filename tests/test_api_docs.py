"""docs/api.md has every route, field and error code, and its examples work."""

import asyncio
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.routing import BaseRoute, Route

from sovits_serve import errors
from sovits_serve.api.app import create_app
from sovits_serve.api.schemas import NativeSpeech, OpenAISpeech
from sovits_serve.api.tts_params import FIELDS
from sovits_serve.config import ApiConfig, FrontendConfig, ModelConfig
from tests.api.app_server import recording, serving

PAGE = (Path(__file__).parents[1] / "docs/api.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:9880"
# What curl's options of the examples take, and whether it changes the request.
OPTIONS_WITH_VALUE = frozenset({"-d", "-H", "-F", "-o"})
OPTIONS_ALONE = frozenset({"-N"})


@dataclass
class Call:
    """A curl command as the request that it sends."""

    url: str = ""
    output: str = ""
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    form: list[tuple[str, str]] = field(default_factory=list)

    @property
    def method(self) -> str:
        """Return the method that curl would choose."""
        return "GET" if self.body is None and not self.form else "POST"


def _section(title: str) -> str:
    """Return the text under a heading, up to the next one of its rank."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def _first_cells(text: str) -> set[str]:
    """Return what stands in backticks in the first columns of a text's tables."""
    rows = re.findall(r"^\|([^|]*)\|", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def _calls() -> list[Call]:
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [_parse(shlex.split(line)) for line in lines]


def _parse(words: list[str]) -> Call:
    assert words[0] == "curl", words
    call, rest = Call(), iter(words[1:])
    for word in rest:
        if word in OPTIONS_WITH_VALUE:
            _take(call, word, next(rest))
        elif word not in OPTIONS_ALONE:
            assert not word.startswith("-"), f"an option that this test does not know: {word}"
            assert not call.url, f"two URLs: {words}"
            call.url = word
    assert call.url.startswith(ADDRESS), words
    return call


def _take(call: Call, option: str, value: str) -> None:
    if option == "-d":
        call.body = value
    elif option == "-H":
        name, _, content = value.partition(":")
        call.headers[name.lower()] = content.strip()
    elif option == "-F":
        name, _, content = value.partition("=")
        call.form.append((name, content))
    else:
        call.output = value


def _routes(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """Yield all routes; newer FastAPI keeps those of routers in there."""
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is not None:
            yield from _routes(router.routes)
        else:
            assert isinstance(route, Route)
            yield route


def _all_errors(kind: type[errors.ServingError]) -> Iterator[type[errors.ServingError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _all_errors(child)


def _error_rows() -> dict[str, str]:
    """Return the status of each code as the table says it."""
    return dict(re.findall(r"^\| `(\w+)` \| (\d{3}|as said) \|", _section("Errors"), re.MULTILINE))


def test_every_route_is_on_the_page() -> None:
    """Each route of the app is named with its method, and the page names no other."""
    app = create_app(ApiConfig(), FrontendConfig(), ModelConfig(), "ipc:///nowhere.sock")
    served = {
        f"{method} {route.path}"
        for route in _routes(app.routes)
        for method in (route.methods or set()) - {"HEAD"}
    }
    named = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^\s`?]*)`", PAGE))

    assert named == served


def test_every_field_is_on_the_page() -> None:
    """The fields of each dialect are in its section's tables, and no others."""
    openai = {*OpenAISpeech.__struct_fields__}
    native = {*NativeSpeech.__struct_fields__}
    tts = {declared.name for declared in FIELDS}
    tables = _section("GPT-SoVITS api_v2").partition("### ")[0]

    assert _first_cells(_section("OpenAI")) == openai
    assert {*re.findall(r"`(\w+)`", _section("Native"))} >= native
    assert _first_cells(_section("Native")) == native - openai | {
        *("voice", "model", "stream", "stream_format")
    }
    assert _first_cells(tables) == tts


def test_every_error_code_is_in_the_table() -> None:
    """Each code of the error tree, and of the HTTP layer, is there with its status."""
    kinds = {
        kind.code: kind
        for kind in _all_errors(errors.ServingError)
        if kind.__module__ == errors.__name__
    }
    rows = _error_rows()

    assert rows.keys() >= kinds.keys()
    assert {code: rows[code] for code in kinds} == {
        code: str(kind.http_status) for code, kind in kinds.items()
    }


def test_every_code_of_the_http_layer_is_in_the_table() -> None:
    """What the HTTP layer's sources say as a code is there, and what nobody says is not."""
    sources = Path(__file__).parents[1] / "src/sovits_serve"
    text = "".join(path.read_text() for path in [*sources.glob("api/*.py"), sources / "errors.py"])
    # HttpError(message, status, "code"), one argument to a line or all on one; and classes.
    said = set(re.findall(r'\b\d{3},\s*"([a-z_]+)",?\s*\)', text))
    said |= set(re.findall(r'^    code = "([a-z_]+)"', text, re.MULTILINE))
    said |= set(re.findall(r'\b40[45]: "([a-z_]+)"', text))
    rows = _error_rows().keys()

    assert said - rows == set()
    assert {code for code in rows if f'"{code}"' not in text} == set()


def test_examples_are_served(tmp_path: Path) -> None:
    """Each curl line of the page is answered with 200, and audio of the kind its file says."""
    calls = _calls()
    assert len(calls) > 8
    beginnings = {"wav": (b"RIFF",), "flac": (b"fLaC",), "mp3": (b"\xff", b"ID3")}

    async def job() -> None:
        async with serving(ApiConfig(allowed_paths=str(tmp_path))) as server:
            for call in calls:
                answer = await server.client.request(
                    call.method,
                    call.url.removeprefix(ADDRESS),
                    content=call.body,
                    headers=_headers(call),
                    files=_files(call),
                )
                assert answer.status_code == 200, (call, answer.text)
                kind = call.output.rpartition(".")[2]
                assert answer.content.startswith(beginnings.get(kind, (b"",))), call

    asyncio.run(job())


def _headers(call: Call) -> Mapping[str, str]:
    """Return the headers, with what curl says of a body by itself."""
    if call.body is None:
        return call.headers
    return {"content-type": "application/x-www-form-urlencoded", **call.headers}


def _files(call: Call) -> list[tuple[str, tuple[str | None, bytes]]] | None:
    """Return the parts of a form; whatever file it names is a recording."""
    parts: list[tuple[str, tuple[str | None, bytes]]] = []
    for name, value in call.form:
        is_file = value.startswith("@")
        parts.append((name, (value[1:], recording()) if is_file else (None, value.encode())))
    return parts or None


@pytest.mark.parametrize("call", _calls(), ids=lambda call: f"{call.method} {call.url[21:50]}")
def test_examples_are_well_formed(call: Call) -> None:
    """Bodies are JSON, URLs have no character that a shell or HTTP would stumble over."""
    assert call.url.isascii()
    assert " " not in call.url
    assert not urlsplit(call.url).fragment
    if call.body is not None:
        assert isinstance(json.loads(call.body), dict)


def test_error_bodies_are_as_shown() -> None:
    """The two bodies that the page shows are those that the app answers with."""
    shown = [
        json.loads(block)
        for block in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    ]

    async def job() -> None:
        async with serving() as server:
            openai = await server.client.post("/v1/speech", json={"text": "a", "speed": 9.0})
            weights = await server.client.get("/set_gpt_weights")
            assert [openai.json(), weights.json()] == shown

    asyncio.run(job())
