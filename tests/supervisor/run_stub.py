"""Runs the real supervisor with stub children; its settings are the JSON of the first argument."""

import json
import sys

from sovits_serve.config import ApiConfig, ServerConfig, SupervisorConfig
from sovits_serve.errors import SetupError
from sovits_serve.supervisor import run_supervisor
from sovits_serve.supervisor.plan import Modules, Timing
from sovits_serve.supervisor.restarts import BackOff


def say_ready(url: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"ready {url}\n")
    sys.stdout.flush()


def main() -> int:
    """Run."""
    given = json.loads(sys.argv[1])
    supervisor = {
        "devices": "cpu",
        "engine_module": "tests.supervisor.stub_child",
        **given.get("supervisor", {}),
    }
    config = ServerConfig(
        endpoint=given.get("endpoint", ""),
        api=ApiConfig(**{"port": 0, "workers": 1, **given.get("api", {})}),
        supervisor=SupervisorConfig(**supervisor),
    )
    try:
        return run_supervisor(
            config,
            with_http=given.get("with_http", True),
            on_ready=say_ready,
            modules=Modules("tests.supervisor.stub_dispatcher", "tests.supervisor.stub_worker"),
            timing=Timing(tick_s=0.05, back_off=BackOff(given.get("back_off_s", 0.05), 10.0)),
        )
    except SetupError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
