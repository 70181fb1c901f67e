"""Who may do what: keys, hosts, origins. Everything needs a key unless it is on a list here.

Decisions are made on ``scope["path"]``, which is also what routes are matched by, never on a URL
that is put together from headers. A client that brings no key where none is set is told apart by
its address. ``scope["state"]`` holds the outcome: ``caller`` (for fairness) and ``is_trusted``
(may see details of the inside).
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from sovits_serve.api.errors import HttpError
from sovits_serve.api.limits import BodyLimits, refuse
from sovits_serve.api.request_log import RequestLog
from sovits_serve.config import ApiConfig

PROBES = frozenset({"/livez", "/readyz", "/startupz"})
# GET without a key: what orchestrators ask, and lists that clients fetch without their key.
PUBLIC = PROBES | {
    "/audio/models",
    "/audio/voices",
    "/ping",
    "/speakers",
    "/v1/audio/models",
    "/v1/audio/voices",
    "/v1/models",
}
# What changes the server for everybody.
ADMIN = frozenset({"/control", "/set_gpt_weights", "/set_refer_audio", "/set_sovits_weights"})
_SAFE_METHODS = frozenset({"GET", "HEAD"})
# Names that only this machine's resolver gives to this machine (the latter by Docker and Podman).
_LOCAL_NAMES = ("localhost", "*.localhost", "host.docker.internal", "host.containers.internal")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
# No user, path or what else a URL has: "localhost:99@evil.example" is not this machine.
_HOST = re.compile(r"(\[(?P<address>[^\[\]@/]*)\]|(?P<name>[^\[\]:@/?#\\\s]*))(:\d*)?")
_EXPOSED = ("X-Request-Id", "X-Sample-Rate", "X-Seed", "Retry-After", "Content-Disposition")


def install(app: Starlette, config: ApiConfig) -> None:
    """Put everything between clients and routes: ids, CORS, keys and hosts, body limits."""
    app.add_middleware(BodyLimits, config=config)
    app.add_middleware(AccessControl, config=config)
    origins = _split(config.cors_origins)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"),
            # Any: Authorization, X-API-Key, ngrok-skip-browser-warning, x-stainless-lang, ...
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=_EXPOSED,
        )
    app.add_middleware(RequestLog)


class AccessControl:
    """Lets in who may come in."""

    def __init__(self, app: ASGIApp, config: ApiConfig) -> None:
        self._app = app
        self._api_keys = tuple(_digest(key) for key in _split(config.api_key))
        self._admin_key = (_digest(config.admin_key),) if config.admin_key else ()
        self._origins = frozenset(_split(config.cors_origins)) - {"*"}
        self._hosts = tuple(host.lower() for host in _split(config.allowed_hosts))
        self._own_host = config.host.strip("[]").lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope, Headers(scope=scope))
        except HttpError as error:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": error.message[:120]})
                return
            await refuse(scope, receive, send, error)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Decide.

        Raises:
            HttpError: the request may not come in.
        """
        if len(headers.getlist("host")) > 1:  # which of them others go by is anybody's guess
            raise HttpError("Host: given more than once", 400, "unknown_host")
        is_known_host = self._answers_to(scope, headers)
        if not is_known_host and not _is_probe(scope):
            raise _unknown_host(headers["host"])
        digests = [_digest(key) for key in _presented_keys(headers)]
        admin = _first_known(digests, self._admin_key)
        user = _first_known(digests, self._api_keys)
        is_admin, has_key = bool(admin), bool(admin or user)
        state = scope.setdefault("state", {})
        state["caller"] = f"key:{(admin or user)[:12]}" if has_key else _address(scope)
        # A probe under a made-up name is answered, but not told what strangers are not told.
        state["is_trusted"] = has_key or (is_known_host and not self._api_keys)
        if scope["type"] == "http" and _is_public(scope, headers):
            return
        if _path(scope) in ADMIN:
            self._check_admin(scope, headers, is_admin=is_admin)
        elif self._api_keys and not has_key:
            raise _no_key("an API key")

    def _answers_to(self, scope: Scope, headers: Headers) -> bool:
        """Return whether the Host header is none that a stranger's DNS made up (rebinding)."""
        host = _host_name(headers.get("host", ""))
        if not host or self._is_known_host(host):
            return True
        is_local = _is_loopback(self._own_host) and _is_loopback(_server_address(scope))
        return not (self._hosts or is_local)

    def _is_known_host(self, host: str) -> bool:
        if _fits(host, self._hosts):
            return True
        return not self._hosts and (
            host == self._own_host or _is_loopback(host) or _fits(host, _LOCAL_NAMES)
        )

    def _check_admin(self, scope: Scope, headers: Headers, *, is_admin: bool) -> None:
        if self._is_from_foreign_page(headers):
            raise HttpError(
                "this changes the server, and the request comes from a web page of another origin; "
                "origins that may do that are set by cors_origins",
                403,
                "foreign_origin",
            )
        if is_admin:
            return
        if self._admin_key:
            raise _no_key("the admin key")
        if self._api_keys or not _is_direct_and_local(scope, headers):
            raise HttpError(
                "this changes the server for everybody: it is open to this machine itself while no "
                "keys are set, else it needs admin_key (SOVITS_SERVE_API_ADMIN_KEY), sent as "
                "Authorization: Bearer, as X-API-Key, or as the password in the URL",
                403,
                "admin_only",
            )

    def _is_from_foreign_page(self, headers: Headers) -> bool:
        """Return whether a browser sends this on behalf of some other site's page."""
        origin = headers.get("origin")
        if origin is not None and origin in self._origins:
            return False
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return True
        # Browsers send no Sec-Fetch-Site to plain http addresses of a network.
        page = origin if origin is not None else headers.get("referer")
        return page is not None and urlsplit(page).netloc.lower() != headers.get("host", "").lower()


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _first_known(digests: Iterable[str], known: Iterable[str]) -> str:
    """Return the first digest that is known, or "".

    All are compared with all, however early one fits, so that the time tells nothing.
    """
    known = tuple(known)
    pairs = [(digest, hmac.compare_digest(digest, one)) for digest in digests for one in known]
    return next((digest for digest, is_equal in pairs if is_equal), "")


def _no_key(what: str) -> HttpError:
    return HttpError(
        f"this needs {what}: send it as Authorization: Bearer KEY, or as X-API-Key: KEY",
        401,
        "invalid_api_key",
    )


def _unknown_host(host: str) -> HttpError:
    return HttpError(
        f"Host: {_host_name(host)[:80]!r} is not a name of this server; names to answer are set by "
        "allowed_hosts",
        400,
        "unknown_host",
    )


def _presented_keys(headers: Headers) -> Iterator[str]:
    """Yield the keys a client sends, the ways it may send them."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        yield value.strip()
    if kind.lower() == "basic":  # a key in the URL, for clients that know no headers
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = password = ""
        yield from (part for part in (password, user) if part)
    if headers.get("x-api-key"):
        yield headers["x-api-key"].strip()


def _path(scope: Scope) -> str:
    """Return the path as routes see it."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    inner = path[len(root) :] if root and path.startswith(root + "/") else path
    return inner.rstrip("/") or "/"


def _is_probe(scope: Scope) -> bool:
    """Return whether an orchestrator asks, which knows this server by an address alone."""
    is_read = scope["type"] == "http" and scope["method"] in _SAFE_METHODS
    return is_read and _path(scope) in PROBES


def _is_public(scope: Scope, headers: Headers) -> bool:
    if (
        scope["method"] == "OPTIONS"
    ):  # a preflight of an origin that is not allowed: no CORS headers
        return "access-control-request-method" in headers
    return scope["method"] in _SAFE_METHODS and _path(scope) in PUBLIC


def _host_name(host: str) -> str:
    """Return a Host header without its port; all of it if it is no host and port."""
    host = host.strip().lower()
    found = _HOST.fullmatch(host)
    return host if found is None else (found["address"] or found["name"]).rstrip(".")


def _fits(host: str, patterns: Iterable[str]) -> bool:
    return any(
        pattern in {"*", host} or (pattern.startswith("*.") and host.endswith(pattern[1:]))
        for pattern in patterns
    )


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _server_address(scope: Scope) -> str:
    """Return the address that the connection came in by; "" for Unix sockets."""
    server = scope.get("server")
    return str(server[0]) if server and server[1] is not None else ""


def _address(scope: Scope) -> str:
    """Return who a client is, by its address; of IPv6 what one customer gets (64 bits)."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network(f"{address}/64", strict=False))
    return host


def _is_direct_and_local(scope: Scope, headers: Headers) -> bool:
    """Return whether a process of this machine asks, with no proxy in between that says so."""
    client = str((scope.get("client") or ("",))[0])
    is_forwarded = any(name in headers for name in _FORWARDED)
    return _is_loopback(client) and _is_loopback(_server_address(scope)) and not is_forwarded
