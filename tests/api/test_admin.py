import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator

import pytest
from starlette.routing import BaseRoute, Route

from sovits_serve.api import security
from sovits_serve.config import ApiConfig
from sovits_serve.protocol.messages import EngineStatus, ServerState, Status
from tests.api.app_server import Running, serving
from tests.api.fake_dispatcher import MODEL, hold, until

LOADING = EngineStatus(
    "cuda:0", "loading", progress=0.25, detail="T2S from /models/private", last_lines=("secret",)
)
KEY = {"authorization": "Bearer k1"}


def run(job: Callable[[Running], Awaitable[None]], config: ApiConfig | None = None) -> None:
    """Run a job against a server of its own."""

    async def main() -> None:
        async with serving(config) as running:
            await job(running)

    asyncio.run(main())


async def become(server: Running, state: ServerState, reason: str = "") -> None:
    """Let the worker know of a new state."""
    status = Status(
        server.dispatcher.status.serial + 1,
        state,
        reason,
        engines=(LOADING,),
        models=(MODEL,),
        retry_after_s=2.5,
    )
    server.dispatcher.set_status(status)
    await until(lambda: server.context.client.status.serial == status.serial, state)


@pytest.mark.parametrize(
    ("state", "alive", "ready"),
    [
        ("starting", 200, 503),
        ("ready", 200, 200),
        ("draining", 200, 503),
        ("failed", 503, 503),
    ],
)
def test_alive_and_ready_are_two_questions(state: ServerState, alive: int, ready: int) -> None:
    """Only giving up ends liveness; only ``ready`` is ready."""

    async def job(server: Running) -> None:
        await become(server, state, "because")
        livez, readyz = await server.client.get("/livez"), await server.client.get("/readyz")

        assert (livez.status_code, readyz.status_code) == (alive, ready)
        assert (await server.client.head("/readyz")).status_code == ready
        assert readyz.json()["state"] == state
        assert readyz.headers.get("retry-after") == ("3" if ready == 503 else None)

    run(job)


def test_readiness_tells_how_far_the_load_is() -> None:
    """Progress, state and detail of each engine."""

    async def job(server: Running) -> None:
        await become(server, "starting", "cuda:0 is loading")
        body = (await server.client.get("/readyz")).json()

        assert body["reason"] == "cuda:0 is loading"
        assert body["engines"] == [
            {"name": "cuda:0", "state": "loading", "progress": 0.25, "detail": LOADING.detail}
        ]

    run(job)


def test_readiness_flips_when_the_status_does() -> None:
    """No copy of an old state is served."""

    async def job(server: Running) -> None:
        await become(server, "ready")
        assert (await server.client.get("/readyz")).status_code == 200
        await become(server, "starting")
        assert (await server.client.get("/readyz")).status_code == 503

    run(job)


def test_a_lost_dispatcher_is_no_death() -> None:
    """Without a dispatcher the worker lives, is not ready, and says why."""

    async def job(server: Running) -> None:
        await server.dispatcher.stop()
        await until(lambda: not server.context.client.is_connected, "the loss")
        livez, readyz = await server.client.get("/livez"), await server.client.get("/readyz")
        metrics = await server.client.get("/metrics")

        assert (livez.status_code, readyz.status_code) == (200, 503)
        assert "dispatcher" in readyz.json()["reason"]
        assert metrics.status_code == 200
        assert "sovits_serve_dispatcher_up 0" in metrics.text

    run(job)


def test_started_stays_started() -> None:
    """/startupz is for the first time only."""

    async def job(server: Running) -> None:
        await become(server, "starting")
        assert (await server.client.get("/startupz")).status_code == 503
        await become(server, "ready")
        assert (await server.client.get("/startupz")).status_code == 200
        await become(server, "starting")
        assert (await server.client.get("/startupz")).status_code == 200

    run(job)


def test_health_is_the_whole_status() -> None:
    """Everything the dispatcher tells, as JSON."""

    async def job(server: Running) -> None:
        await become(server, "draining")
        body = (await server.client.get("/health")).json()

        assert body["state"] == "draining"
        assert body["engines"][0]["last_lines"] == ["secret"]
        assert body["queue"]["max_waiting"] == 0

    run(job)


def test_metrics_are_the_dispatchers() -> None:
    """In the format of Prometheus; an answer that does not come is not waited for."""

    async def job(server: Running) -> None:
        good = await server.client.get("/metrics")
        server.dispatcher.metrics = None
        late = await server.client.get("/metrics")

        assert good.text == "sovits_serve_dispatcher_up 1\n"
        assert good.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "sovits_serve_dispatcher_up 0" in late.text

    run(job)


def test_strangers_learn_no_paths() -> None:
    """Where keys are set, probes without one get states and numbers only."""

    async def job(server: Running) -> None:
        await become(server, "failed", "cannot read /models/private")
        for path in ("/livez", "/readyz", "/startupz"):
            assert "/models/private" not in (await server.client.get(path)).text
        assert "/models/private" in (await server.client.get("/readyz", headers=KEY)).text
        for path in ("/health", "/metrics"):
            assert (await server.client.get(path)).status_code == 401
            assert (await server.client.get(path, headers=KEY)).status_code == 200

    run(job, ApiConfig(api_key="k1"))


def test_every_route_needs_a_key_unless_it_is_on_the_list() -> None:
    """A new route is closed until somebody puts it on the list, and there by name only."""

    async def job(server: Running) -> None:
        seen = set()
        for route in all_routes(server.app.routes):
            path = route.path.replace("{model}", "x")
            for method in (route.methods or {"GET"}) - {"OPTIONS"}:
                is_public = method in {"GET", "HEAD"} and path in security.PUBLIC
                answer = await server.client.request(method, path)
                assert (answer.status_code != 401) is is_public, (method, path)
                seen.add(path)
        assert seen >= security.PUBLIC | security.ADMIN | {"/tts", "/v1/speech", "/metrics"}

    run(job, ApiConfig(api_key="k1", admin_key="k2"))


def all_routes(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """Yield an app's routes; newer FastAPI keeps those of routers in there."""
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is not None:
            yield from all_routes(router.routes)
        else:
            assert isinstance(route, Route), f"what is {route}?"
            yield route


def test_responses_are_counted_by_route() -> None:
    """The dispatcher hears of each response under its template, never under a raw path."""

    async def job(server: Running) -> None:
        await server.client.get("/livez")
        await server.client.get("/no/such/path")
        await server.client.get("/v1/models/nobody")
        await until(lambda: len(server.dispatcher.samples) >= 3, "the samples")
        seen = {(one.route, one.status, one.outcome) for one in server.dispatcher.samples}

        assert seen >= {
            ("/livez", 200, "complete"),
            ("(none)", 404, "complete"),
            ("/v1/models/{model}", 404, "complete"),
        }

    run(job)


def test_a_client_that_leaves_is_counted_as_such() -> None:
    """A response nobody waited for is no success."""

    async def job(server: Running) -> None:
        server.dispatcher.answer = hold
        async with server.connected(b'{"input": "Hi.", "voice": "default"}'):
            await server.dispatcher.wait_for_submit()
        await until(
            lambda: any(one.outcome == "disconnected" for one in server.dispatcher.samples),
            "the sample",
        )

    run(job)
