"""A device without memory: as few requests as needed fail, the others are what they would be."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sovits_serve.engine import model_runner
from sovits_serve.engine.audio_decoding import AudioDecoder
from sovits_serve.engine.conditioning import Conditioner
from sovits_serve.engine.core import EngineCore
from sovits_serve.engine.model_runner import ModelRunner
from sovits_serve.models.bundle import Models
from sovits_serve.models.t2s.model import T2SModel
from sovits_serve.protocol.messages import Failed, Finished, Message
from tests.fakes import Outcome, add, make_engine, make_request, outcomes, run_alone

NUMBERS = (1, 2, 3)


def run(engine: EngineCore, *numbers: int) -> dict[int, Outcome]:
    """Run requests together, with every invariant checked after each step."""
    accepted = [add(engine, make_request(number)) for number in numbers]
    messages: list[Message] = []
    while engine.has_work():
        messages += engine.step()
        engine.check_integrity()
    ended = outcomes(messages, accepted)
    return {number: ended[f"request-{number}"] for number in numbers}


def assert_as_alone(models: Models, number: int, outcome: Outcome) -> None:
    """Check that a request came out as in an engine of its own."""
    alone = run_alone(models, make_request(number))
    assert isinstance(outcome.end, Finished)
    assert outcome.tokens == alone.tokens
    np.testing.assert_allclose(outcome.samples, alone.samples, atol=2)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes a method run out of memory when ``when`` says so."""

    def patch(owner: object, name: str, when: Callable[..., bool]) -> None:
        real = getattr(owner, name)

        def method(*args: object, **kwargs: object) -> object:
            if when(*args):
                raise torch.OutOfMemoryError("planted")
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, method)

    return patch


def once(number: int) -> Callable[..., bool]:
    """Return a condition that holds at the call of that number alone."""
    calls = iter(range(1, 1_000_000))
    return lambda *_: next(calls) == number


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (Conditioner, "prepare", 2),
        (ModelRunner, "_prefill", 1),
        (ModelRunner, "_decode", 5),
        (T2SModel, "_predict", 1),  # the prompt is in the cache already
        (T2SModel, "_predict", 9),  # the token is in the cache already
        (model_runner, "sample", 4),
        (AudioDecoder, "begin", 1),
        (AudioDecoder, "decode", 1),
    ],
)
def test_once_out_of_memory_harms_nobody(
    tiny: Models, plant: Callable[..., None], owner: object, name: str, call: int
) -> None:
    """What the allocator gives back may suffice: a stage is tried again, with the same result."""
    engine = make_engine(tiny)
    plant(owner, name, once(call))
    ended = run(engine, *NUMBERS)
    plant(owner, name, lambda *_: False)

    for number in NUMBERS:
        assert_as_alone(tiny, number, ended[number])


@pytest.mark.parametrize(
    ("owner", "name"),
    [(ModelRunner, "_prefill"), (AudioDecoder, "begin"), (AudioDecoder, "decode")],
)
def test_a_batch_that_can_be_split_is_split(
    tiny: Models, plant: Callable[..., None], owner: object, name: str
) -> None:
    """Where rows are independent a smaller batch does it, and nobody fails."""
    plant(owner, name, lambda _self, rows, *_: len(rows) > 1)
    ended = run(make_engine(tiny), *NUMBERS)

    for number in NUMBERS:
        assert_as_alone(tiny, number, ended[number])


@pytest.mark.parametrize("is_invariant", ["on", "off"])
def test_a_step_too_large_fails_the_youngest_only(
    tiny: Models, plant: Callable[..., None], is_invariant: str
) -> None:
    """Of three that decode, with room for two, the one that began last fails."""
    plant(ModelRunner, "_decode", lambda _self, rows: len(rows) > 2)
    ended = run(make_engine(tiny, batch_invariant=is_invariant), *NUMBERS)

    end = ended[3].end
    assert isinstance(end, Failed)
    assert end.code == "out_of_memory"
    for number in (1, 2):
        assert_as_alone(tiny, number, ended[number])


def test_the_engine_lives_when_nothing_fits(tiny: Models, plant: Callable[..., None]) -> None:
    """All of a batch can fail; a request afterwards is served."""
    engine = make_engine(tiny)
    is_full = [True]
    plant(ModelRunner, "_decode", lambda *_: is_full[0])
    failed = run(engine, *NUMBERS)
    is_full[0] = False

    assert {outcome.end.code for outcome in failed.values()} == {"out_of_memory"}  # type: ignore[attr-defined]
    assert_as_alone(tiny, 4, run(engine, 4)[4])
