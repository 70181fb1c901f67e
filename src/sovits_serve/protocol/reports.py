"""What a supervisor and its children say to each other over the child's own pipes.

Lines of JSON. A child's first line on standard input is ``Setup``; later ones are orders. The end
of standard input means that the supervisor is gone: the child ends at once. Reports go out on what
was standard output when the child began (``children.py`` moves it, so that a library that prints
cannot break a line); standard error is the log.
"""

import msgspec

from sovits_serve.protocol.messages import ModelInfo


class Report(msgspec.Struct, frozen=True, tag=True):
    """Base of lines on a child's pipes."""


# Supervisor -> child.


class Setup(Report, frozen=True, tag=True):
    """Everything the child is to know. ``config`` is the JSON of its own config type."""

    name: str
    endpoint: str
    token: str
    config: msgspec.Raw


class DrainChild(Report, frozen=True, tag=True):
    """Finish what was accepted, then end with exit code 0."""


# Child -> supervisor.


class Loading(Report, frozen=True, tag=True):
    """Something is being loaded; each one extends the loading deadline."""

    what: str
    progress: float  # 0 to 1


class Warming(Report, frozen=True, tag=True):
    """The models are loaded; first syntheses run."""

    what: str
    progress: float


class ChildReady(Report, frozen=True, tag=True):
    """The child does its work from now on."""

    device: str = ""
    models: tuple[ModelInfo, ...] = ()


class Heartbeat(Report, frozen=True, tag=True):
    """Sent by the child's own loop as it turns, at least twice a second while idle."""

    num_steps: int = 0
    has_work: bool = False
    num_running: int = 0
    num_waiting: int = 0
    device_bytes: int = 0  # what the child itself knows of its device memory
    device_limit_bytes: int = 0


class Dying(Report, frozen=True, tag=True):
    """The last words of a child that ends for a reason it knows."""

    code: str
    message: str
    is_permanent: bool  # starting it again would end the same way


Orders = DrainChild
Reports = Loading | Warming | ChildReady | Heartbeat | Dying
