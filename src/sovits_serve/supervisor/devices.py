"""Which devices there are, by the driver's own library and without torch."""

import os
import re
from collections import Counter
from importlib import import_module
from typing import Any

from sovits_serve.errors import ConfigError

_DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?", re.ASCII)


def open_nvml() -> Any | None:
    """Return NVIDIA's management library, ready to be asked; None where there is none."""
    try:
        pynvml: Any = import_module("pynvml")  # it has no types
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def visible_gpus(nvml: Any | None, visible: str | None) -> list[Any]:
    """Return the driver's handles of cuda:0, cuda:1, ... as a process of ours sees them.

    Args:
        nvml: the library.
        visible: CUDA_VISIBLE_DEVICES, CUDA's own variable: indices or the beginnings of UUIDs; the
            first that is neither ends the list.
    """
    if nvml is None:
        return []
    handles = [nvml.nvmlDeviceGetHandleByIndex(k) for k in range(nvml.nvmlDeviceGetCount())]
    if visible is None:
        return handles
    uuids = [str(nvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    found = []
    for entry in (part.strip() for part in visible.split(",")):
        index = int(entry) if entry.isdecimal() else -1
        named = [k for k, uuid in enumerate(uuids) if entry and uuid.startswith(entry)]
        chosen = index if 0 <= index < len(handles) else named[0] if named else None
        if chosen is None:
            break
        found.append(handles[chosen])
    return found


def resolve_devices(devices: str, num_gpus: int | None = None) -> list[str]:
    """Return one device per engine.

    Args:
        devices: as ``SupervisorConfig.devices`` says it: "auto" or a list.
        num_gpus: GPUs there are; None: look.

    Raises:
        ConfigError: an entry is no device.
    """
    if devices.strip() == "auto":
        if num_gpus is None:
            num_gpus = len(visible_gpus(open_nvml(), os.environ.get("CUDA_VISIBLE_DEVICES")))
        return [f"cuda:{index}" for index in range(num_gpus)] or ["cpu"]
    entries = [entry.strip() for entry in devices.split(",")]
    for entry in entries:
        if not _DEVICE.fullmatch(entry):
            raise ConfigError(f"supervisor.devices: {entry!r} is not auto, cpu, cuda or cuda:N")
    return ["cuda:0" if entry == "cuda" else entry for entry in entries]


def place_names(devices: list[str]) -> list[str]:
    """Return a name for the engine on each device: the device, numbered where it has several."""
    totals, seen = Counter(devices), Counter[str]()
    names = []
    for device in devices:
        names.append(device if totals[device] == 1 else f"{device}:{seen[device]}")
        seen[device] += 1
    return names
