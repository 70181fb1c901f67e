"""Several models in one engine: each speaks as alone, comes while others speak, and goes wholly."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

from sovits_serve.checkpoints.locate import ModelFiles, locate_model
from sovits_serve.checkpoints.random_model import write_random_sovits, write_random_t2s
from sovits_serve.engine.model_pool import ModelPool, _in_dtype, give_memory_back
from sovits_serve.engine.model_runner import ModelRunner
from sovits_serve.errors import CheckpointError, InvalidRequest, QueueFull, UnknownModel
from sovits_serve.models.spec import ModelVersion
from sovits_serve.protocol.messages import (
    Aborted,
    AudioChunk,
    Finished,
    Message,
    SynthesisRequest,
)
from tests.fakes import CPU_CONFIG, make_request


@pytest.fixture(scope="module")
def files(tiny_directory: Path) -> ModelFiles:
    """Return the files of the first model."""
    return locate_model(tiny_directory)


@pytest.fixture(scope="module")
def other_files(files: ModelFiles, tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """Return the files of another pair of weights."""
    directory = tmp_path_factory.mktemp("other")
    t2s, sovits = directory / "gpt.ckpt", directory / "sovits.pth"
    write_random_t2s(t2s, version=ModelVersion.V2, size="tiny", seed=70)
    write_random_sovits(sovits, version=ModelVersion.V2, size="tiny", seed=71)
    return replace(files, t2s=t2s, sovits=sovits)


@pytest.fixture(scope="module")
def featureless_t2s(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a T2S file that says that it reads no text features."""
    path = tmp_path_factory.mktemp("featureless") / "gpt.ckpt"
    write_random_t2s(path, version=ModelVersion.V2, size="tiny", seed=72, reads_text_features=False)
    return path


@pytest.fixture
def make_pool(files: ModelFiles, other_files: ModelFiles) -> Callable[..., ModelPool]:
    """Return a function that makes a pool of the models of these names: first, other."""

    def make(*names: str, **changes: object) -> ModelPool:
        pool = ModelPool(replace(CPU_CONFIG, **changes), max_models=2)  # type: ignore[arg-type]
        known = {"first": files, "other": other_files}
        for name in names:
            pool.put(pool.load(name, known[name]))
        return pool

    return make


def request(
    number: int, model: str = "", *, num_segments: int = 1, max_tokens: int = 24
) -> SynthesisRequest:
    """Make a request for a model."""
    made = make_request(number, num_segments=num_segments, max_tokens=max_tokens)
    return msgspec.structs.replace(made, model=model)


def run(pool: ModelPool, *requests: SynthesisRequest) -> dict[str, bytes]:
    """Run requests together and return the audio of each."""
    for one in requests:
        pool.add(one)
    return audio_of(drain(pool))


def drain(pool: ModelPool) -> list[Message]:
    """Step until nothing is left."""
    messages: list[Message] = []
    while pool.has_work():
        messages += pool.step()
        pool.check_integrity()
    return messages


def audio_of(messages: list[Message]) -> dict[str, bytes]:
    """Join the audio of each request; each must have finished."""
    audio: dict[str, bytes] = {}
    for message in messages:
        if isinstance(message, AudioChunk):
            audio[message.request_id] = audio.get(message.request_id, b"") + message.pcm
    finished = {message.request_id for message in messages if isinstance(message, Finished)}
    assert finished == audio.keys()
    return audio


def test_models_in_one_engine_speak_as_each_alone(make_pool: Callable[..., ModelPool]) -> None:
    """Two models with requests of both at once give what each gives in an engine of its own."""
    both = run(
        make_pool("first", "other"), request(1), request(2, "other"), request(3, "other"),
        request(4, "first"),
    )  # fmt: skip

    # The other model alone is the first of its pool, so that it is reached by "".
    first = run(make_pool("first"), request(1), request(4))
    other = run(make_pool("other"), request(2), request(3))
    assert both == first | other
    assert run(make_pool("other"), request(1)) != {"request-1": both["request-1"]}


def test_models_take_turns(make_pool: Callable[..., ModelPool]) -> None:
    """A long request of one model does not hold back another's short one."""
    pool = make_pool("first", "other")
    pool.add(request(1, num_segments=4, max_tokens=100))
    pool.add(request(2, "other", max_tokens=16))
    ended: list[str] = [
        message.request_id for message in drain(pool) if isinstance(message, Finished)
    ]

    assert ended == ["request-2", "request-1"]


def test_a_model_that_is_not_there_is_named(make_pool: Callable[..., ModelPool]) -> None:
    """The message names the model and those that there are."""
    pool = make_pool("first")

    with pytest.raises(UnknownModel, match="'other' is not loaded; there is first"):
        pool.add(request(1, "other"))


def test_an_id_is_in_use_across_models(make_pool: Callable[..., ModelPool]) -> None:
    """Two models cannot run requests of one id, and bounds count them together."""
    pool = make_pool("first", "other", max_waiting=2)
    pool.add(request(1))

    with pytest.raises(InvalidRequest, match="in use"):
        pool.add(request(1, "other"))
    pool.add(request(2, "other"))
    with pytest.raises(QueueFull):
        pool.add(request(3))


def test_unloading_waits_for_the_last_request_and_frees(
    make_pool: Callable[..., ModelPool],
) -> None:
    """A model that leaves ends what it has, takes nothing more, and then is really gone."""
    pool = make_pool("first", "other")
    loaded = pool.keep("other")
    assert loaded is not None
    t2s, core = weakref.ref(loaded.models.t2s), weakref.ref(loaded.core)
    encoder = loaded.models.hubert
    del loaded
    pool.add(request(1, "other"))
    pool.remove("other")
    with pytest.raises(UnknownModel):
        pool.add(request(2, "other"))
    messages = drain(pool)
    gc.collect()

    assert any(isinstance(message, Finished) for message in messages)
    assert t2s() is None
    assert core() is None
    first = pool.keep("first")
    assert first is not None
    assert first.models.hubert is encoder


def test_a_model_that_leaves_can_be_kept(make_pool: Callable[..., ModelPool]) -> None:
    """Asked for again while its last request runs, a model stays."""
    pool = make_pool("first", "other")
    pool.add(request(1, "other"))
    pool.remove("other")
    pool.keep("other")
    drain(pool)

    assert [info.name for info in pool.infos()] == ["first", "other"]


def test_shared_files_are_loaded_once(
    make_pool: Callable[..., ModelPool], files: ModelFiles, other_files: ModelFiles
) -> None:
    """A pair that differs in its T2S only shares decoder and encoders with the first one."""
    pool = make_pool("first")
    mixed = pool.load("mixed", replace(files, t2s=other_files.t2s))
    first = pool.keep("first")
    assert first is not None

    assert mixed.models.sovits is first.models.sovits
    assert mixed.models.bert is first.models.bert
    assert mixed.models.t2s is not first.models.t2s


def test_a_bad_file_changes_nothing(
    make_pool: Callable[..., ModelPool], files: ModelFiles, tmp_path: Path
) -> None:
    """A model that cannot be loaded leaves the pool as it was."""
    (tmp_path / "bad.ckpt").write_bytes(b"no checkpoint")
    pool = make_pool("first")
    with pytest.raises(CheckpointError, match=r"bad\.ckpt"):
        pool.load("bad", replace(files, t2s=tmp_path / "bad.ckpt"))

    assert run(pool, request(1)).keys() == {"request-1"}


def test_abort_finds_the_core(make_pool: Callable[..., ModelPool]) -> None:
    """A request is aborted whatever model it is on; its id can then be used again."""
    pool = make_pool("first", "other")
    pool.add(request(1, "other"))
    pool.abort("request-1")
    pool.abort("unknown")

    assert pool.step() == [Aborted("request-1")]
    pool.add(request(1))
    assert pool.num_waiting == 1


def test_abort_all_says_nothing(make_pool: Callable[..., ModelPool]) -> None:
    """Once the dispatcher is gone nobody is to be told; everything is free again."""
    pool = make_pool("first", "other")
    pool.add(request(1))
    pool.add(request(2, "other"))
    pool.step()
    pool.abort_all()
    pool.check_integrity()

    assert not pool.has_work()
    assert run(pool, request(1)).keys() == {"request-1"}


def test_precisions_do_not_share(make_pool: Callable[..., ModelPool], files: ModelFiles) -> None:
    """A model that was loaded in another precision has parts of its own."""
    pool = make_pool("first")
    half = pool.load("half", files, dtype="bfloat16")
    first = pool.keep("first")
    assert first is not None

    assert half.models.t2s is not first.models.t2s
    assert half.models.dtype == torch.bfloat16


class _Cycle:
    def __init__(self) -> None:
        self.me = self


def test_memory_is_given_back_though_the_collector_was_told_not_to_look() -> None:
    """An engine's loop freezes what it began with; a model among it that leaves is freed all the same."""
    was_frozen = gc.get_freeze_count() > 0
    cycle = _Cycle()
    gone = weakref.ref(cycle)
    gc.freeze()
    try:
        del cycle
        give_memory_back()

        assert gone() is None
        assert gc.get_freeze_count() > 0
    finally:
        if not was_frozen:
            gc.unfreeze()


def test_a_model_that_reads_no_text_features_speaks_chinese_without_bert(
    files: ModelFiles, featureless_t2s: Path
) -> None:
    """Zeros are what it was trained with; a model that reads BERT refuses Chinese without it."""
    pool = ModelPool(CPU_CONFIG, max_models=2)
    no_bert = replace(files, bert=None)
    pool.put(pool.load("zeros", replace(no_bert, t2s=featureless_t2s)))
    pool.put(pool.load("bert", no_bert))

    assert [info.can_read_chinese for info in pool.infos()] == [True, False]
    assert run(pool, request(2, "zeros"))
    with pytest.raises(InvalidRequest, match="no BERT model is loaded"):
        pool.add(request(2, "bert"))


def test_bert_comes_with_the_first_model_that_reads_it(
    files: ModelFiles, featureless_t2s: Path
) -> None:
    """Encoders are shared, and one that the first model does not need is loaded for the second."""
    pool = ModelPool(CPU_CONFIG, max_models=3)
    models = [replace(files, t2s=featureless_t2s), files, replace(files, t2s=featureless_t2s)]
    loaded = []
    for name, one in zip("abc", models, strict=True):
        loaded.append(pool.load(name, one))
        pool.put(loaded[-1])

    assert [one.models.bert is not None for one in loaded] == [False, True, False]
    assert len({id(one.models.hubert) for one in loaded}) == 1
    reused = pool.load("d", files)
    assert reused.models.bert is loaded[1].models.bert


def test_a_model_without_kernels_makes_no_room_smaller_for_others(
    make_pool: Callable[..., ModelPool],
    files: ModelFiles,
    other_files: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where kernels fail for one model, it alone runs fewer segments at once."""
    pytest.importorskip("triton")
    sizes = {"max_running": 6, "max_sequence_length": 700, "kv_cache_tokens": 1500}
    pool = make_pool(kernels="auto", **sizes)

    def fail(*_: object) -> None:
        raise RuntimeError("no kernels")

    class Roomy(ModelRunner):
        """Stands for the runner with kernels."""

    monkeypatch.setattr("sovits_serve.engine.graph_runner.GraphRunner", Roomy)
    pool.put(pool.load("first", files))
    monkeypatch.setattr("sovits_serve.engine.graph_runner.GraphRunner", fail)
    other = pool.load("other", other_files)
    pool.put(other)

    assert other.core.scheduler.limits.max_running == 2
    assert (pool.config.max_running, pool.max_running) == (6, 6)


def test_a_model_in_float32_takes_no_more_memory(make_pool: Callable[..., ModelPool]) -> None:
    """Its tokens are twice as large, so that it gets half as many, but the longest segment's."""
    pool = make_pool(dtype="float16", kernels="auto", max_sequence_length=700)
    config = replace(pool.config, kv_cache_tokens=3000)

    assert _in_dtype(config, "float32").kv_cache_tokens == 1500
    assert _in_dtype(config, "float16") == config
    assert _in_dtype(replace(config, kv_cache_tokens=900), "float32").kv_cache_tokens == 700
