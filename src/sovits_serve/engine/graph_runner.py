"""The runner of a CUDA device: T2S and audio on streams of their own, both ahead of the host.

T2S has the higher priority: the generator's kernels fill what it leaves free. Results come with a
later step than the one that asked for them. ``ModelRunner`` computes the same in plain PyTorch.
"""

import logging
from collections import deque
from collections.abc import Sequence as Rows
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from sovits_serve.config import EngineConfig
from sovits_serve.engine.attempts import attempt
from sovits_serve.engine.audio_decoding import AudioDecoder, FastParts, PendingAudio
from sovits_serve.engine.audio_graphs import GeneratorGraphs, LatentGraphs
from sovits_serve.engine.batch import AudioWindow, Batch, StepResults
from sovits_serve.engine.conditioning import Conditioner, Conditioning, check_length
from sovits_serve.engine.graph_tokens import GraphTokens
from sovits_serve.engine.random_stream import Domain
from sovits_serve.engine.request import Request, Sequence
from sovits_serve.errors import ServingError
from sovits_serve.models.bundle import Models
from sovits_serve.models.cuda.generator import FusedGenerator
from sovits_serve.models.cuda.noise import LatentNoise
from sovits_serve.models.cuda.staging import Download

_log = logging.getLogger(__name__)

_HIGH_PRIORITY = -1


@dataclass(frozen=True)
class _AudioRound:
    """Windows that were launched together."""

    audio: PendingAudio
    pcm: Download
    is_finite: Download


class GraphRunner:
    """Owns slots, latents and conditionings of one engine on a CUDA device."""

    def __init__(self, models: Models, conditioner: Conditioner, config: EngineConfig) -> None:
        self.conditioner = conditioner
        self._max_length = config.max_sequence_length
        self._device = models.device
        self._conditionings: dict[str, Conditioning] = {}
        self._token_stream = _stream(models.device, _HIGH_PRIORITY)
        self._audio_stream = _stream(models.device, 0)
        self._pending: deque[_AudioRound] = deque()
        dims = models.sovits.dims
        noise = LatentNoise(
            dims.inter_channels, config.max_audio_rows, int(Domain.LATENT), models.device
        )
        _tell_memory(models.device, "weights")
        with self._on_audio():
            fast = _capture_audio(models, noise, config)
        _tell_memory(models.device, "graphs of the audio")
        self._audio = AudioDecoder(models.sovits, models.device, fast)
        with self._on_tokens():
            self._tokens = GraphTokens(models, conditioner, self._conditionings, config)
        _wait(models.device)
        _tell_memory(models.device, "keys, values and graphs of T2S")

    @torch.inference_mode()
    def execute(self, batch: Batch) -> StepResults:
        """Launch a step, and return what has come of those before."""
        results = StepResults()
        with self._on_tokens():
            self._prepare(batch.prepare, results)
            has_tokens = self._tokens.launch(batch.prefill, batch.decode, results)
        with self._on_audio():
            self._launch_windows(batch.windows, results)
        self._tokens.collect(results, leave=1 if has_tokens else 0)
        has_nothing_else = not has_tokens and not results.tokens and not batch.prepare
        self._collect_audio(results, must_wait=has_nothing_else)
        return results

    def release(self, sequences: list[Sequence]) -> None:
        """Free the slots of sequences that left the T2S batch."""
        if sequences:
            with self._on_tokens():
                self._tokens.release(sequences)

    def close(self, requests: list[Request]) -> None:
        """Forget everything held for requests that ended."""
        for request in requests:
            self._conditionings.pop(request.request_id, None)
            for sequence in request.sequences:
                self._audio.drop(sequence)

    def check_integrity(self, running: list[Sequence]) -> None:
        """Assert that exactly the running sequences hold slots (waits for the device)."""
        _wait(self._device)
        self._tokens.check_integrity(running)

    def _on_tokens(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._token_stream) if self._token_stream else nullcontext()

    def _on_audio(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._audio_stream) if self._audio_stream else nullcontext()

    def _prepare(self, requests: Rows[Request], results: StepResults) -> None:
        def prepare(rows: Rows[Request]) -> None:
            for request in rows:
                conditioning = self.conditioner.prepare(request)
                check_length(request, conditioning, self._max_length)
                self._conditionings[request.request_id] = conditioning

        num_encoded = self.conditioner.num_encoded
        attempt([[request] for request in requests], prepare, _request_of, results)
        if self._audio_stream is not None and self.conditioner.num_encoded > num_encoded:
            # The audio stream reads styles; other requests' it has seen already.
            self._audio_stream.wait_stream(torch.cuda.current_stream(self._device))

    def _launch_windows(self, windows: Rows[AudioWindow], results: StepResults) -> None:
        def begin(rows: Rows[AudioWindow]) -> None:
            styles = [self._conditionings[w.sequence.key[0]].style for w in rows]
            self._audio.begin(rows, styles)

        def decode(rows: Rows[AudioWindow]) -> None:
            audio = self._audio.launch(rows)
            self._pending.append(_AudioRound(audio, Download(audio.pcm), Download(audio.is_finite)))

        fresh = [window for window in windows if not self._audio.has_latent(window)]
        attempt([fresh], begin, _owner_of, results)
        live = [w for w in windows if w.sequence.key[0] not in results.failures]
        attempt([live], decode, _owner_of, results)

    def _collect_audio(self, results: StepResults, *, must_wait: bool) -> None:
        while self._pending and (must_wait or self._pending[0].is_finite.is_done()):
            must_wait = False
            launched = self._pending.popleft()
            pcm, is_finite = launched.pcm.wait(), launched.is_finite.wait()
            audio = self._audio.finish(launched.audio, pcm, is_finite)
            for window, result in zip(launched.audio.windows, audio, strict=True):
                if window.sequence.request.is_closed:
                    continue
                if isinstance(result, ServingError):
                    results.failures[window.sequence.key[0]] = result
                else:
                    results.pcm[window.sequence.key] = result


@torch.inference_mode()
def _capture_audio(models: Models, noise: LatentNoise, config: EngineConfig) -> FastParts:
    generator = FusedGenerator(models.sovits.generator)
    if models.device.type != "cuda":
        return FastParts(generator, noise)
    pool = torch.cuda.graph_pool_handle()
    latents = LatentGraphs(models.sovits, pool)
    latents.capture()
    graphs = GeneratorGraphs(generator, models.sovits, pool)
    graphs.capture()
    longest = config.max_window_frames + 2 * models.sovits.generator_context_frames
    graphs.reserve(config.max_audio_rows, longest)
    return FastParts(graphs, noise, latents)


def _stream(device: torch.device, priority: int) -> torch.cuda.Stream | None:
    return torch.cuda.Stream(device, priority=priority) if device.type == "cuda" else None


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _tell_memory(device: torch.device, what: str) -> None:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        reserved = torch.cuda.memory_reserved(device)
        _log.info(
            "device memory with %s: %.2f GiB of ours, %.2f GiB in use",
            *(what, reserved / 2**30, (total - free) / 2**30),
        )


def _request_of(request: Request) -> str:
    return request.request_id


def _owner_of(window: AudioWindow) -> str:
    return window.sequence.key[0]
