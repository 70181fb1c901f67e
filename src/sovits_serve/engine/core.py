"""The engine as a plain object: add requests, step, take messages. START READING HERE.

Anyone can drive it in a test without a process. It knows no sockets; ``process.py`` (the server)
and ``synthesizer.py`` (offline use) wrap it.
"""

from typing import Protocol

from sovits_serve.engine.batch import Batch, StepResults
from sovits_serve.engine.request import ModelLimits, Request, Sequence, check_request, check_types
from sovits_serve.engine.scheduler import Scheduler
from sovits_serve.errors import Draining, ServingError, SynthesisError
from sovits_serve.protocol.messages import Abort, Drain, Failed, Message, SynthesisRequest


class Runner(Protocol):
    """What computes a step: the model runner, or a fake in tests."""

    def execute(self, batch: Batch) -> StepResults:
        """Compute a step; a request that fails goes into ``failures``, others go on."""

    def release(self, sequences: list[Sequence]) -> None:
        """Free the slots of sequences that left the T2S batch."""

    def close(self, requests: list[Request]) -> None:
        """Forget everything held for requests that ended."""

    def check_integrity(self, running: list[Sequence]) -> None:
        """Assert that what is held matches what runs."""


class Inbox(Protocol):
    """Where messages for the engine come from."""

    def take(self, *, block: bool) -> list[Message]:
        """Return what has come; with ``block`` wait until something has."""


class Outbox(Protocol):
    """Where the engine's messages go."""

    def put(self, messages: list[Message]) -> None:
        """Take messages over, in order."""


class EngineCore:
    """Batches everybody's requests on one device.

    Every request that ``add`` accepts ends in exactly one Finished, Failed or Aborted.
    """

    def __init__(self, scheduler: Scheduler, runner: Runner, limits: ModelLimits) -> None:
        self.scheduler = scheduler
        self.runner = runner
        self.limits = limits
        self.num_steps = 0
        self.is_draining = False

    def add(self, request: SynthesisRequest) -> None:
        """Check and accept a request.

        Raises:
            RequestError: something about it is wrong; it was not accepted.
            QueueFull: too many are unfinished.
            Draining: the engine was told to finish what it has.
        """
        if self.is_draining:
            raise Draining("the engine takes no more requests: it is draining")
        request = check_types(request)
        check_request(request, self.limits)
        self.scheduler.add(request)

    def abort(self, request_id: str) -> None:
        """End a request on demand and free its slots now; unknown ids are left alone."""
        self.scheduler.abort(request_id)
        self._free()

    def has_work(self) -> bool:
        """Return whether ``step`` would do or say anything."""
        return self.scheduler.has_work()

    def step(self) -> list[Message]:
        """Compute one step for whoever is in the batch; return the messages it led to."""
        batch = self.scheduler.schedule()
        self._free()  # the slots of what has just expired are the batch's
        try:
            results = self.runner.execute(batch)
        except BaseException:
            # Interrupted, or a bug: what was computed of the batch cannot be told, so nobody of
            # it may go on as if nothing had happened.
            self.scheduler.fail(batch, SynthesisError("the engine's step was interrupted"))
            self._free()
            raise
        messages = self.scheduler.update(batch, results)
        self.num_steps += 1
        self._free()
        return messages

    def run(self, inbox: Inbox, outbox: Outbox) -> None:
        """Serve until drained. One turn: take messages, step, publish."""
        while not (self.is_draining and not self.has_work()):
            for message in inbox.take(block=not self.has_work()):
                outbox.put(self._apply(message))
            if self.has_work():
                outbox.put(self.step())

    def check_integrity(self) -> None:
        """Assert that scheduler and runner agree on who holds what."""
        self.scheduler.check_integrity()
        self.runner.check_integrity(self.scheduler.running)

    def _apply(self, message: Message) -> list[Message]:
        match message:
            case SynthesisRequest():
                return self._accept(message)
            case Abort():
                self.abort(message.request_id)
            case Drain():
                self.is_draining = True
            case _:
                raise AssertionError(f"not a message for an engine: {type(message).__name__}")
        return []

    def _accept(self, request: SynthesisRequest) -> list[Message]:
        try:
            self.add(request)
        except ServingError as error:
            return [Failed(request.request_id, error.code, error.message, error.retry_after_s)]
        return []

    def _free(self) -> None:
        self.runner.release(self.scheduler.take_released())
        self.runner.close(self.scheduler.take_closed())
