"""A plain HTTP client that sees how a body ends: with its last chunk, or broken off."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

BodyEnd = Literal["complete", "broken"]
HOST = "127.0.0.1"
_BROKEN = (http.client.IncompleteRead, ConnectionResetError, BrokenPipeError)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    end: BodyEnd = "complete"

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def call(
    port: int, path: str, body: Mapping[str, object] | None = None, timeout_s: float = 60.0
) -> Answer:
    """Send one request on a connection of its own and read all of the answer.

    Raises:
        OSError: no connection, or no answer in time.
    """
    with stream(port, path, body, timeout_s) as response:
        data = bytearray()
        try:
            while piece := response.read1(1 << 16):
                data += piece
        except _BROKEN:
            return Answer(response.status, bytes(data), "broken")
        is_short = response.length not in {None, 0}  # of a body with a length
        return Answer(response.status, bytes(data), "broken" if is_short else "complete")


@contextmanager
def stream(
    port: int, path: str, body: Mapping[str, object] | None = None, timeout_s: float = 60.0
) -> Iterator[http.client.HTTPResponse]:
    """Send one request; the connection is closed at the end, read or not."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            headers = {"content-type": "application/json"}
            connection.request("POST", path, json.dumps(body).encode(), headers)
        with connection.getresponse() as response:
            yield response
    except http.client.BadStatusLine as error:  # closed without an answer
        raise ConnectionResetError(str(error)) from error
    finally:
        connection.close()
