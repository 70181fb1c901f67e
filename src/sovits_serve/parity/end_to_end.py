"""Goldens of whole requests: recordings and texts in, int16 audio out.

Each stage is fed what was recorded of the stage before, so that a failure names its stage. Where
upstream decodes several sentences as one concatenation, so does the check; our engine decodes
each alone (see docs/parity.md). Last, the engine itself finds the tokens.
"""

from collections.abc import Iterator
from functools import partial

from sovits_serve.models.spec import SPECS, ModelVersion
from sovits_serve.parity import limits, request_audio, request_tokens
from sovits_serve.parity.golden import GoldenDirectory, record, records, text
from sovits_serve.parity.limits import Precision
from sovits_serve.parity.recorded_request import RecordedRequest
from sovits_serve.parity.report import Check, Lazy, Report, Step, Task
from sovits_serve.parity.request_models import RequestModels
from sovits_serve.parity.request_tokens import RequestGolden


def find(directory: GoldenDirectory, precision: Precision, report: Report) -> Iterator[Task]:
    """Yield a task per request of each meta file with ``requests``."""
    for stem in directory.stems(".meta.json"):
        requests = records(record(directory.json(f"{stem}.meta.json")).get("requests"))
        request_models = RequestModels(directory, stem, precision)
        for meta in requests:
            name = f"{stem}_{text(meta['name'])}"
            if reason := _missing(directory, request_models, name, meta):
                report.note(f"parity: {name} skipped: {reason}")
            else:
                golden = _golden(directory, request_models, name, meta)
                files = (*directory.files(name), directory.path / f"{stem}.meta.json")
                yield Task(name, files, partial(_steps, golden, report))


def _missing(
    directory: GoldenDirectory, request_models: RequestModels, name: str, meta: dict[str, object]
) -> str | None:
    """Return what keeps a request from being checked."""
    version = ModelVersion(text(meta["version"]))
    if SPECS[version].decoder != "generator":
        return f"no requests of {version} are checked here"
    lacking = request_models.missing(version)
    if name not in directory.arrays:
        lacking.append(f"{name}.npz")
    return f"{', '.join(lacking)} missing" if lacking else None


def _golden(
    directory: GoldenDirectory, request_models: RequestModels, name: str, meta: dict[str, object]
) -> RequestGolden:
    version = ModelVersion(text(meta["version"]))
    symbols = request_models.symbols(version)
    request = RecordedRequest(name, directory.arrays[name], meta, symbols)
    voice = Lazy(partial(request_models.prepare, version, request))
    return RequestGolden(request, voice, request_models.precision)


def _steps(golden: RequestGolden, report: Report) -> Iterator[Step]:
    request = golden.request
    yield Step(f"{request.name}/prompt_semantic", partial(_check_prompt, golden))
    yield Step(f"{request.name}/text", partial(_check_text, request))
    yield Step(f"{request.name}/batches", partial(_check_batches, request))
    if request.is_greedy:
        yield Step(f"{request.name}/tokens", partial(request_tokens.check, golden))
        yield Step(f"{request.name}/engine", partial(request_tokens.check_engine, golden))
    else:
        report.note(f"parity: {request.name}: tokens skipped: drawn without recorded noise")
    yield Step(f"{request.name}/audio", partial(request_audio.check, golden))


def _check_prompt(golden: RequestGolden) -> Iterator[Check]:
    ours = golden.voice().conditioning.prompt_semantic
    recorded = golden.request.arrays.tensor("prompt_semantic").flatten()
    yield limits.equal(f"{golden.request.name}/prompt_semantic", ours, recorded)


def _check_text(request: RecordedRequest) -> Iterator[Check]:
    """Compare what our frontend makes of the request's text, sentence by sentence."""
    if request.spoken:
        recorded = [list(sentence.phone_ids) for group in request.texts for sentence in group]
        ours = [list(sentence.phone_ids) for sentence in request.spoken]
        yield limits.same(f"{request.name}/text", ours, recorded)


def _check_batches(request: RecordedRequest) -> Iterator[Check]:
    """Compare how sentences are grouped, and that every text fits its phonemes."""
    for group, texts in enumerate(request.texts):
        name, recorded = f"{request.name}/batches{group}", request.recorded_batches(group)
        yield limits.same(name, request.batches(group), recorded)
        yield limits.same(f"{name}/sentences", len(texts), sum(len(row) for row in recorded))
