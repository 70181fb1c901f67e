"""Routes whose functions take the request and return the response, and nothing in between.

FastAPI solves dependencies and looks at bodies for every call, which is a fifth of a millisecond;
functions that want neither are called as they are. The OpenAPI document has them all the same.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class DirectRoute(APIRoute):
    """For ``APIRouter(route_class=DirectRoute)``; functions take a ``Request`` alone."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function itself."""
        return self.endpoint
