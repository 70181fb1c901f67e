"""Two whole servers for all tests of clients: one open to everybody, one with keys and limits."""

from collections.abc import Iterator

import pytest

from tests.clients.whole_server import ORIGIN, WholeServer, whole_server

API_KEY = "sk-speech"
OTHER_KEY = "sk-other"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeServer]:
    """Return a server without keys, whose CORS lets in SillyTavern's page."""
    settings = {"SOVITS_SERVE_API_CORS_ORIGINS": ORIGIN}
    with whole_server(tmp_path_factory.mktemp("open"), settings) as running:
        yield running


@pytest.fixture(scope="session")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeServer]:
    """Return a server with two keys, each of which may have one request at a time; slow engines."""
    settings = {
        "SOVITS_SERVE_API_KEY": f"{API_KEY},{OTHER_KEY}",
        "SOVITS_SERVE_QUEUE_MAX_PER_KEY": "1",
        "FAKE_SLOW_STEP_MS": "20",
    }
    with whole_server(tmp_path_factory.mktemp("keyed"), settings) as running:
        yield running
