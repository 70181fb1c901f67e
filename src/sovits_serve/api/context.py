"""What every route needs, made once per app."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from sovits_serve.api.engine_client import EngineClient
from sovits_serve.config import ApiConfig

if TYPE_CHECKING:
    from sovits_serve.api.speech import SpeechBuilder
    from sovits_serve.voices.registry import VoiceRegistry


@dataclass(frozen=True)
class ApiContext:
    """The parts of an app; kept at ``app.state.context``."""

    config: ApiConfig
    client: EngineClient
    builder: "SpeechBuilder"
    voices: "VoiceRegistry"
    # Encoders (mp3, opus, ...) compute in these threads.
    encoders: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(2, "encoder"), compare=False
    )


def get_context(request: HTTPConnection) -> ApiContext:
    """Return the context of the app that a request came to."""
    context: ApiContext = request.app.state.context
    return context


def caller_key(request: HTTPConnection) -> str:
    """Return whose request this is, for fairness: the API key's name, or the client's address.

    The security middleware leaves the key's name in ``scope["state"]["caller"]``.
    """
    caller = request.scope.get("state", {}).get("caller")
    if caller:
        return str(caller)
    return request.client.host if request.client is not None else ""
