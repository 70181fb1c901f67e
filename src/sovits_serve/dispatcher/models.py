"""Which models there are, which is the default, who uses them, and what joining engines lack.

All engines are to have the same models. A model is known by the files it was loaded from and what
they held then, so that files which were overwritten are loaded again, under another name.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from sovits_serve.dispatcher.peers import Engine
from sovits_serve.errors import UnknownModel
from sovits_serve.protocol.messages import LoadModel, ModelInfo, UnloadModel


@dataclass(frozen=True)
class ModelFiles:
    """A pair of weights: absolute paths, and sizes and times of change when they were named."""

    t2s: str
    sovits: str
    state: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Return a name that no other pair has."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        return f"{Path(self.t2s).stem}+{Path(self.sovits).stem}@{digest}"


def look_at(t2s: str, sovits: str) -> ModelFiles:
    """Return what a pair of weights is now.

    Raises:
        UnknownModel: a file is not there.
    """
    state: list[int] = []
    for path in (t2s, sovits):
        try:
            found = Path(path).stat()
        except (OSError, ValueError) as error:
            raise UnknownModel(f"weights {path!r} cannot be read: {error}") from error
        state += [found.st_size, found.st_mtime_ns]
    return ModelFiles(t2s, sovits, tuple(state))


class ModelRegistry:
    """The models that requests can name."""

    def __init__(self) -> None:
        self.default = ""
        self.infos: OrderedDict[str, ModelInfo] = OrderedDict()  # least recently used first
        self.files: dict[str, ModelFiles] = {}
        self._num_users: dict[str, int] = {}
        # Once a default was switched, a request without a model must be told which one it means.
        self.was_switched = False

    def welcome(self, engine: Engine, *, t2s: str, sovits: str) -> list[LoadModel]:
        """Take in what a new engine has; return what it is to load, the default first."""
        for index, info in enumerate(engine.models.values()):
            self.infos.setdefault(info.name, info)
            if index == 0 and t2s and sovits and info.name not in self.files:
                self.files[info.name] = _files_of(t2s, sovits)
                self._recognise(info.name)
            if not self.default:
                self.default = info.name
        return self.missing(engine)

    def _recognise(self, model: str) -> None:
        """Know a restored default again when it is the model that engines begin with."""
        is_same = self.files.get(self.default) == self.files[model]
        if is_same and self.default != model and self.default not in self.infos:
            del self.files[self.default]
            self.default = model

    def missing(self, engine: Engine) -> list[LoadModel]:
        """Return what an engine lacks of that which others have, the default first."""
        wanted = [self.default, *(name for name in self.infos if name != self.default)]
        return [
            LoadModel(name, self.files[name].t2s, self.files[name].sovits)
            for name in wanted
            if name in self.files and name not in engine.models and name not in engine.loading
        ]

    def resolve(self, model: str) -> str:
        """Return the name of the model a request means.

        Raises:
            UnknownModel: there is none of that name.
        """
        if not model:
            return self.default
        if model not in self.infos:
            raise UnknownModel(
                f"no model {model!r}; there are {', '.join(self.infos) or 'none yet'}"
            )
        return model

    def name_of(self, files: ModelFiles) -> str:
        """Return the name under which a pair of weights is, or is to be, loaded."""
        known = (name for name, other in self.files.items() if other == files)
        return next(known, files.name)

    def add(self, info: ModelInfo, files: ModelFiles) -> None:
        """Let requests name a model that all engines have loaded."""
        self.infos[info.name] = info
        self.files[info.name] = files

    def set_default(self, model: str) -> None:
        """Make a model what requests get that name none."""
        self.default = model
        self.was_switched = True
        self.infos.move_to_end(model)

    def restore(self, files: ModelFiles) -> None:
        """Make the default what it was before this dispatcher began; engines have it still."""
        self.files[files.name] = files
        self.default = files.name
        self.was_switched = True

    def use(self, model: str) -> None:
        """Count a request in."""
        self._num_users[model] = self._num_users.get(model, 0) + 1
        if model in self.infos:
            self.infos.move_to_end(model)

    def release(self, model: str) -> None:
        """Count a request out."""
        self._num_users[model] -= 1
        if not self._num_users[model]:
            del self._num_users[model]

    def make_room(self, engines: list[Engine], num_needed: int) -> bool:
        """Unload the least used until ``num_needed`` more fit; return whether anything went.

        What a request uses stays, and so does the default: then there are more for a while.
        """
        ready = [engine for engine in engines if engine.is_ready]
        if not ready or any(engine.loading for engine in ready):
            return False
        limit = max(min(engine.max_models for engine in ready) - num_needed, 1)
        idle = [n for n in self.infos if n != self.default and n not in self._num_users]
        goers = idle[: max(len(self.infos) - limit, 0)]
        for name in goers:
            del self.infos[name]
            self.files.pop(name, None)
            for engine in ready:
                if engine.models.pop(name, None) is not None:
                    engine.peer.send(UnloadModel(name))
        return bool(goers)


def _files_of(t2s: str, sovits: str) -> ModelFiles:
    try:
        return look_at(t2s, sovits)
    except UnknownModel:  # moved since the engine read them; its paths still name the model
        return ModelFiles(t2s, sovits)
