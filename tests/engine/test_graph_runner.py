import numpy as np
import pytest
import torch

from sovits_serve.models.bundle import Models
from sovits_serve.protocol.messages import Message, SamplingParams, SynthesisRequest
from tests.fakes import add, make_engine, make_request, outcomes, run_alone

pytest.importorskip("triton")
MANY_TOKENS = 22


def request(number: int) -> SynthesisRequest:
    """Make a short request; seeds, lengths and voices differ."""
    return make_request(
        number,
        num_segments=1 + number % 2,
        max_tokens=4 + number,
        voice=number % 2,
        is_streaming=number % 2 == 0,
        sampling=SamplingParams(seed=number, top_k=15, max_tokens=4 + number),
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="test_cuda.py does the same on the device")
def test_kernels_make_what_plain_pytorch_makes(
    tiny: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the interpreter, requests that come, go and stream get their tokens and their audio."""
    # The generator's own kernels have their own test; here they would take minutes.
    monkeypatch.setattr("sovits_serve.engine.graph_runner.FusedGenerator", lambda plain: plain)
    requests = [request(number) for number in range(3)]
    engine = make_engine(tiny, kernels="on", max_running=4, max_sequence_length=500)
    accepted = [add(engine, one) for one in requests[:2]]
    messages: list[Message] = []
    messages += engine.step() + engine.step()
    accepted.append(add(engine, requests[2]))
    gone = make_request(9, max_tokens=30, num_segments=2)
    add(engine, gone)
    messages += engine.step() + engine.step() + engine.step()
    engine.abort(gone.request_id)
    engine.check_integrity()
    while engine.has_work():
        messages += engine.step()

    engine.check_integrity()
    mine = [m for m in messages if getattr(m, "request_id", "") != gone.request_id]
    made = outcomes(mine, accepted)
    for one in requests:
        expected = run_alone(tiny, one)
        assert made[one.request_id].tokens == expected.tokens
        difference = made[one.request_id].samples.astype(int) - expected.samples
        assert np.abs(difference).max() <= 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="test_cuda.py does the same on the device")
def test_without_pages_rows_run_again_and_nobody_can_tell(
    tiny: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two segments share two pages, and then need three: all end with the tokens that they have alone."""
    monkeypatch.setattr("sovits_serve.engine.graph_runner.FusedGenerator", lambda plain: plain)
    monkeypatch.setattr("sovits_serve.engine.graph_tokens._USUAL_TOKENS_PER_PHONEME", 0)
    requests = [
        make_request(
            number,
            is_streaming=True,
            voice=number,
            sampling=SamplingParams(seed=number, top_k=15, max_tokens=MANY_TOKENS),
        )
        for number in range(2)
    ]
    engine = make_engine(
        tiny, kernels="on", max_running=3, max_sequence_length=180, kv_cache_tokens=256
    )
    accepted = [add(engine, one) for one in requests]
    messages: list[Message] = []
    num_known: list[int] = []
    while engine.has_work():
        messages += engine.step()
        engine.check_integrity()
        num_known += [one.num_to_redraw for request in accepted for one in request.returned]

    assert any(num_known)
    made = outcomes(messages, accepted)
    for one in requests:
        assert made[one.request_id].tokens == run_alone(tiny, one).tokens
