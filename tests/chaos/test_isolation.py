"""Sixteen at a time sound as each alone: with the fake engine to the bit, with a model as stated."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sovits_serve.checkpoints.random_model import write_random_model
from sovits_serve.models.spec import ModelVersion
from tests.chaos.clients import Ask, Outcome, assert_right, speak
from tests.server_process import VOICES, ServerProcess

pytestmark = pytest.mark.e2e

NUM_CLIENTS = 16
# float32 on the CPU: matrix products of other shapes round otherwise. Of int16 samples. Measured
# over 20 rounds; tokens are equal, as lengths are.
TOLERANCE = 2


def rounds(server: ServerProcess, asks: list[Ask], num_rounds: int, seed: int) -> list[Outcome]:
    """Make all requests at once, each at a random moment, so many times."""
    rng = random.Random(seed)
    found = []
    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        for _ in range(num_rounds):
            offsets = [rng.uniform(0.0, 0.15) for _ in asks]

            def ask_later(ask: Ask, offset_s: float) -> Outcome:
                time.sleep(offset_s)  # the offset is what is drawn
                return speak(server, ask)

            found += list(pool.map(ask_later, asks, offsets))
    return found


@pytest.mark.timeout(240)
def test_sixteen_at_a_time_are_as_each_alone(tmp_path: Path) -> None:
    """16 clients, 4 voices, random offsets, 20 rounds, two engines: audio equal to the bit."""
    switches = {"SLOW_STEP_MS": 5, "CHUNK_S": 0.02, "MAX_RUNNING": 6}
    texts = ("Good morning.", "How are you today?", "Fine, thank you, and you?", "So am I.")
    asks = [
        Ask(texts[n // 4], seed=n, voice=VOICES[n % 4], is_streaming=n % 2 == 0)
        for n in range(NUM_CLIENTS)
    ]
    with ServerProcess(tmp_path, num_engines=2, num_workers=2, switches=switches) as server:
        server.wait_ready(num_engines=2)
        assert_right(server, rounds(server, asks, 20, seed=1))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Start a server with the tiny random model, float32 on the CPU."""
    directory = tmp_path_factory.mktemp("real")
    model = write_random_model(directory / "model", version=ModelVersion.V2, size="tiny", seed=0)
    options = ("--model", str(model), "--dtype", "float32", "--num-threads", "1")
    with ServerProcess(directory, *options, has_fake_engines=False) as server:
        server.wait_ready(120)
        yield server


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sixteen_at_a_time_are_as_each_alone_with_a_model(real: ServerProcess) -> None:
    """The same with a real engine: as many samples as alone, and the samples equal as stated."""
    texts = ("Hi.", "Good day.", "Well, well.", "Oh no.")
    asks = [
        Ask(texts[n // 4], seed=n, voice=VOICES[n % 4], max_tokens=20) for n in range(NUM_CLIENTS)
    ]
    alone = {ask: _samples(speak(real, ask)) for ask in asks}
    differences = []
    for outcome in rounds(real, asks, 20, seed=2):
        samples, reference = _samples(outcome), alone[outcome.ask]
        assert samples.shape == reference.shape, str(outcome)
        differences.append(int(np.abs(samples - reference).max()))

    print(f"largest difference {max(differences)}, unequal {sum(map(bool, differences))}")  # noqa: T201 -- shown by pytest -s
    assert max(differences) <= TOLERANCE


def _samples(outcome: Outcome) -> np.ndarray:
    assert outcome.kind == "complete", str(outcome)
    samples = np.frombuffer(outcome.body, dtype="<i2").astype(np.int32)
    assert np.abs(samples).max() > 0
    return samples
