"""GPT-SoVITS's own server over a random model, for comparisons.

The checkout is one of RVC-Boss/GPT-SoVITS, 48b1a01; the Python is one that has its packages (see
docs/benchmarks.md). By itself this program starts the server and waits for Ctrl-C:

    python bench/upstream_server.py --upstream ../GPT-SoVITS --model random-model --device cpu
"""

import argparse
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from compared_server import ComparedServer, free_port

LAUNCHER = Path(__file__).parent / "upstream_launch.py"


@dataclass(frozen=True)
class Upstream:
    """Where upstream is and how it runs."""

    checkout: Path
    python: str
    model: Path
    device: str
    num_tokens: int
    python_path: str = ""


class UpstreamServer(ComparedServer):
    """``api_v2.py`` with its scratch directory."""

    def __init__(self, upstream: Upstream, port: int | None = None) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="bench-upstream-")
        port = port or free_port()
        command = [upstream.python, str(LAUNCHER.resolve())]
        command += [str(upstream.model.resolve()), self._scratch.name]
        command += ["--device", upstream.device, "--tokens", str(upstream.num_tokens)]
        environment = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": upstream.python_path}
        super().__init__(
            [*command, "--port", str(port)],
            port,
            ready_path="/docs",
            directory=upstream.checkout,
            environment=environment,
        )

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._scratch.cleanup()


def main() -> None:
    """Run the server until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", type=Path, required=True, help="checkout of GPT-SoVITS")
    parser.add_argument("--upstream-python", default=sys.executable)
    parser.add_argument("--upstream-pythonpath", default="")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens", type=int, default=125)
    parser.add_argument("--port", type=int, default=9880)
    args = parser.parse_args()
    upstream = Upstream(
        args.upstream, args.upstream_python, args.model, args.device, args.tokens,
        args.upstream_pythonpath,
    )  # fmt: skip
    with UpstreamServer(upstream, args.port) as server:
        seconds = server.wait_until_ready()
        print(f"{server.url}, ready after {seconds:.1f} s", flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(1)


if __name__ == "__main__":
    main()
