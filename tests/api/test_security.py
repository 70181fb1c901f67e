import base64
from collections.abc import Mapping

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from sovits_serve.api import security
from sovits_serve.config import ApiConfig

LOCAL = "http://127.0.0.1:9880"
ROUTES = (*security.PUBLIC, *security.ADMIN, "/tts", "/metrics", "/health", "/v1/audio/voices/x")


async def whoami(request: Request) -> JSONResponse:
    """Say what the security layer found."""
    return JSONResponse({"caller": request.state.caller, "is_trusted": request.state.is_trusted})


def make_client(
    config: ApiConfig | None = None, *, url: str = LOCAL, address: str = "127.0.0.1"
) -> TestClient:
    """Return a client at an address, of a server that it calls by a URL."""
    app = Starlette(routes=[Route(path, whoami, methods=["GET", "POST"]) for path in ROUTES])
    security.install(app, config or ApiConfig())
    return TestClient(app, base_url=url, client=(address, 50000))


def basic(user: str, password: str) -> str:
    """Return what clients make of user and password in a URL."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("path", sorted(set(ROUTES) - security.PUBLIC))
def test_with_keys_set_everything_else_needs_one(path: str) -> None:
    """Only the public list answers without a key; what is unknown needs one, too."""
    client = make_client(ApiConfig(api_key="k1", admin_key="k2"))

    for method in ("GET", "POST", "PUT", "OPTIONS", "HEAD"):
        assert client.request(method, path).status_code == 401, method
    assert client.get("/no/such/route").status_code == 401
    assert client.get(path).headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", sorted(security.PUBLIC))
def test_public_paths_are_read_without_a_key_and_no_more(path: str) -> None:
    """Probes and lists are open for reading only."""
    client = make_client(ApiConfig(api_key="k1"))

    assert client.get(path).status_code == 200
    assert client.get(path).json()["is_trusted"] is False
    assert client.post(path).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer k1"},
        {"authorization": "bearer  k2 "},
        {"x-api-key": "k2"},
        {"authorization": basic("k1", "")},
        {"authorization": basic("me", "k1")},
        {"authorization": "Bearer wrong", "x-api-key": "k1"},
        {"authorization": "Bearer adm"},
    ],
)
def test_a_key_is_taken_in_every_usual_way(headers: Mapping[str, str]) -> None:
    """Bearer, X-API-Key, and the password of a URL; the admin's key opens everything."""
    client = make_client(ApiConfig(api_key="k1, k2", admin_key="adm"))

    answer = client.get("/tts", headers=headers)

    assert answer.status_code == 200
    assert answer.json()["caller"].startswith("key:")
    assert "k1" not in answer.text
    assert answer.json()["is_trusted"] is True


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer k"},
        {"authorization": "Bearer k1x"},
        {"authorization": "k1"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic /w=="},
        {"x-api-key": ""},
        {"x-api-key": "k1,k2"},
    ],
)
def test_a_wrong_key_is_refused(headers: Mapping[str, str]) -> None:
    """Nothing that is only nearly a key opens anything."""
    assert make_client(ApiConfig(api_key="k1,k2")).get("/tts", headers=headers).status_code == 401


def test_a_path_cannot_be_dressed_up() -> None:
    """Neither the Host header nor odd spellings of a path get around the key."""
    client = make_client(ApiConfig(api_key="k1", allowed_hosts="*"))
    paths = ["/livez/../tts", "/tts?/livez", "/TTS", "/%74ts", "//tts", "/livez%2f..%2ftts"]

    assert client.get("/tts", headers={"host": "x/livez?"}).status_code == 401
    for path in paths:
        assert client.get(path).status_code == 401, path


def test_callers_without_a_key_are_told_apart_by_address() -> None:
    """One customer's IPv6 network is one caller."""
    assert make_client(address="192.0.2.7").get("/tts").json()["caller"] == "192.0.2.7"
    near = make_client(address="2001:db8::1").get("/tts").json()["caller"]
    far = make_client(address="2001:db8::ffff:1").get("/tts").json()["caller"]
    assert near == far == "2001:db8::/64"


@pytest.mark.parametrize("path", sorted(security.ADMIN))
def test_local_clients_may_change_a_server_without_keys(path: str) -> None:
    """Clients of api_v2 on this machine work out of the box."""
    assert make_client().get(path).status_code == 200


@pytest.mark.parametrize(
    ("url", "address", "headers", "api_key"),
    [
        ("http://192.0.2.1:9880", "192.0.2.9", {}, ""),  # over the network
        (LOCAL, "192.0.2.9", {}, ""),  # a proxy that tells the true client
        (LOCAL, "127.0.0.1", {"x-forwarded-for": "192.0.2.9"}, ""),
        (LOCAL, "127.0.0.1", {"forwarded": "for=192.0.2.9"}, ""),
        (LOCAL, "127.0.0.1", {"x-real-ip": "192.0.2.9"}, ""),
        (LOCAL, "127.0.0.1", {"x-api-key": "k1"}, "k1"),  # users are no admins
    ],
)
def test_others_may_not_change_the_server(
    url: str, address: str, headers: Mapping[str, str], api_key: str
) -> None:
    """Without an admin key nobody but this machine's own clients changes weights."""
    client = make_client(ApiConfig(host="0.0.0.0", api_key=api_key), url=url, address=address)

    answer = client.get("/set_gpt_weights", headers=headers)

    assert answer.status_code == 403
    assert "SOVITS_SERVE_API_ADMIN_KEY" in answer.json()["Exception"]
    assert client.get("/tts", headers=headers).status_code == 200


def test_with_an_admin_key_only_that_key_changes_the_server() -> None:
    """A local address or an API key is not enough, then."""
    client = make_client(ApiConfig(api_key="k1", admin_key="adm"))

    for key, status in [("", 401), ("k1", 401), ("adm", 200)]:
        headers = {"x-api-key": key}
        assert client.get("/set_refer_audio", headers=headers).status_code == status, key


def test_there_is_one_admin_key_with_commas_or_without() -> None:
    """Unlike api_key it is no list: half of it opens nothing."""
    client = make_client(ApiConfig(admin_key="a,b"))

    for key, status in [("a", 401), ("b", 401), ("a,b", 200)]:
        headers = {"x-api-key": key}
        assert client.get("/set_refer_audio", headers=headers).status_code == status, key


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8000"},
        {"referer": "http://evil.example/page"},
        {"referer": "http://127.0.0.1:8000/"},
    ],
)
def test_a_web_page_of_another_origin_cannot_change_the_server(headers: Mapping[str, str]) -> None:
    """An <img> on any page could call GET /control otherwise, with or without a key."""
    assert make_client().get("/control", headers=headers).status_code == 403
    assert make_client(ApiConfig(cors_origins="*")).get(
        "/control", headers=headers
    ).status_code == (403)
    keyed = make_client(ApiConfig(admin_key="adm"))
    headers = {**headers, "authorization": basic("", "adm")}  # as a browser would remember it
    assert keyed.get("/control", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin", "referer": f"{LOCAL}/docs"},
        {"origin": LOCAL},
        {"sec-fetch-site": "cross-site", "origin": "http://tavern.example:8000"},
    ],
)
def test_own_pages_and_allowed_origins_may(headers: Mapping[str, str]) -> None:
    """The address bar, the server's own pages and origins named in cors_origins."""
    client = make_client(ApiConfig(cors_origins="http://tavern.example:8000"))

    assert client.get("/control", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9880",
        "127.0.0.2",
        "localhost",
        "LOCALHOST.:9880",
        "a.localhost:9880",
        "[::1]:9880",
        "host.docker.internal:9880",
    ],
)
def test_a_loopback_server_answers_to_local_names(host: str) -> None:
    """Every name that only this machine can give itself is answered."""
    assert make_client().get("/tts", headers={"host": host}).status_code == 200


def test_two_hosts_are_no_request() -> None:
    """Nobody chooses which of two Host headers counts; not even a probe."""
    hosts = [("host", "localhost"), ("host", "evil.example")]

    for path in ("/tts", "/livez"):
        assert make_client().get(path, headers=hosts).status_code == 400, path


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9880",
        "127.0.0.1.evil.example",
        "localhost:99@evil.example",
        "localhost@evil.example",
        "localhost:99:99",
        "localhost/x",
        "[::1]evil.example",
    ],
)
def test_a_loopback_server_refuses_strange_names(host: str) -> None:
    """A page whose DNS name was re-bound to 127.0.0.1 gets nothing."""
    answer = make_client().get("/tts", headers={"host": host})

    assert answer.status_code == 400
    assert "allowed_hosts" in answer.text


@pytest.mark.parametrize("path", sorted(security.PROBES))
def test_probes_are_answered_under_any_name(path: str) -> None:
    """A kubelet asks by the pod's address; under a strange name no details are told."""
    chosen = make_client(ApiConfig(host="0.0.0.0", allowed_hosts="tts.example"))

    for client, host in [(chosen, "10.1.2.3:9880"), (make_client(), "evil.example")]:
        answer = client.get(path, headers={"host": host})
        assert (answer.status_code, answer.json()["is_trusted"]) == (200, False)
        assert client.post(path, headers={"host": host}).status_code == 400
    assert chosen.get(path, headers={"host": "tts.example"}).json()["is_trusted"] is True


def test_a_public_server_answers_to_any_name_unless_told() -> None:
    """Names are limited where allowed_hosts says so."""
    anyone = make_client(ApiConfig(host="0.0.0.0"), url="http://tts.example")
    assert anyone.get("/tts").status_code == 200

    chosen = ApiConfig(host="0.0.0.0", allowed_hosts="tts.example,*.lan")
    for name, status in [("tts.example", 200), ("a.lan:80", 200), ("other.example", 400)]:
        client = make_client(chosen, url="http://tts.example")
        assert client.get("/tts", headers={"host": name}).status_code == status, name


@pytest.mark.parametrize("allowed", ["*", "http://page.example"])
def test_a_preflight_of_an_allowed_origin_needs_no_key(allowed: str) -> None:
    """Browsers may ask before they send; answers can be read by the page, errors as well."""
    client = make_client(ApiConfig(api_key="k1", cors_origins=allowed))
    origin = {"origin": "http://page.example"}
    asked = {
        **origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-api-key,ngrok-skip-browser-warning",
    }

    preflight = client.options("/tts", headers=asked)
    refused = client.post("/tts", headers=origin)

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] in {"*", "http://page.example"}
    allowed_headers = preflight.headers["access-control-allow-headers"].lower()
    assert all(
        name in allowed_headers for name in asked["access-control-request-headers"].split(",")
    )
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] in {"*", "http://page.example"}


def test_without_cors_origins_no_page_may_read() -> None:
    """CORS is closed until it is opened."""
    client = make_client()
    asked = {"origin": "http://page.example", "access-control-request-method": "POST"}

    assert "access-control-allow-origin" not in client.options("/tts", headers=asked).headers
    assert "access-control-allow-origin" not in client.post("/tts", headers=asked).headers
    other = make_client(ApiConfig(cors_origins="http://other.example"))
    assert "access-control-allow-origin" not in other.post("/tts", headers=asked).headers
