"""Properties of this machine. :mod:`shared.hardware` compares them with the requirements of a lab."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from shared.errors import HardwareError

GB = 1e9
#: How long the Hub may take to answer [s].
HUB_SECONDS = 4.0


@dataclass(frozen=True)
class Choice:
    """A value that was chosen automatically, and why."""

    value: str | bool | None
    reason: str

    def __str__(self) -> str:
        return f"{self.value} ({self.reason})"


@dataclass(frozen=True)
class Gpu:
    """The first GPU: name, total and free memory [GB], compute capability (CUDA), bf16 in hardware."""

    name: str
    total: float
    free: float
    capability: tuple[int, int] | None
    bf16: bool


def gpu() -> Gpu | None:
    """The first CUDA device, or None; Apple's GPU shares the RAM and is not one of these."""
    import torch

    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info(0)
    capability = torch.cuda.get_device_capability(0)
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Gpu(torch.cuda.get_device_name(0), total / GB, free / GB, capability, bf16)


def has_mps() -> bool:
    """Whether this is a Mac whose GPU torch can use."""
    import torch

    return torch.backends.mps.is_available()


def choose_device() -> Choice:
    """``cuda``, ``mps`` or ``cpu``, and why; ``PEFT_LABS_DEVICE`` overrides it.

    Raises:
        HardwareError: If ``PEFT_LABS_DEVICE`` names a device that this machine does not have.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": has_mps(), "cpu": True}
    wanted = os.environ.get("PEFT_LABS_DEVICE", "").strip().lower()
    if wanted:
        if not there.get(wanted, False):
            raise HardwareError(
                f"PEFT_LABS_DEVICE is {wanted!r}, but this machine has {', '.join(d for d in there if there[d])}",
                fix="unset PEFT_LABS_DEVICE, or set it to one of these",
            )
        return Choice(wanted, "the environment variable PEFT_LABS_DEVICE says so")
    if there["cuda"]:
        return Choice("cuda", "torch sees a CUDA GPU")
    if there["mps"]:
        return Choice("mps", "torch sees Apple's GPU, and no CUDA GPU")
    build = "this torch is built without CUDA" if torch.version.cuda is None else "torch sees no CUDA GPU"
    return Choice("cpu", f"{build}, and there is no Apple GPU")


def choose_dtype(device: str | Choice) -> Choice:
    """The dtype to compute in on a device, and why.

    Args:
        device: ``cuda``, ``mps`` or ``cpu``, or the :class:`Choice` of one.

    Returns:
        ``bfloat16``, ``float16`` or ``float32``: also the name of the torch dtype.
    """
    device = device.value if isinstance(device, Choice) else device
    if device == "cuda":
        card = gpu()
        if card is not None and card.bf16:
            return Choice("bfloat16", "the GPU computes bfloat16: range of float32 at half the memory")
        return Choice("float16", "the GPU has no bfloat16 (it needs compute capability 8.0); watch for overflow")
    if device == "mps":
        return Choice("float32", "all operations of the labs exist in float32 on Apple's GPU")
    fast = cpu_bf16()
    return Choice("float32", "exact, and supported by every CPU; " + fast.reason)


def cpu_flags() -> frozenset[str]:
    """The CPU's instruction sets as Linux names them; empty where the system does not report them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf8", errors="replace")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.lower().startswith(("flags", "features"))), "")
    return frozenset(line.partition(":")[2].split())


def cpu_bf16() -> Choice:
    """Whether the CPU has instructions for bfloat16, and which."""
    flags = cpu_flags()
    found = [flag for flag in ("amx_bf16", "avx512_bf16", "bf16") if flag in flags]
    if found:
        return Choice(True, f"it also has bfloat16 instructions ({', '.join(found)})")
    if not flags:
        return Choice(False, "this system does not report whether it has bfloat16 instructions")
    return Choice(False, "it has no bfloat16 instructions, so bfloat16 would be emulated")


def cpu_cores() -> int:
    """CPU cores that this process may use (affinity and the container's quota counted)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_text("cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        allowed = min(allowed, max(1, int(quota[0]) // int(quota[1])))
    return allowed


def ram() -> tuple[float, float]:
    """Total and available RAM [GB]; in a container its limit counts, not the RAM of the host."""
    import psutil

    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    limit = _cgroup_text("memory.max") or _text(Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    if limit.isdigit() and int(limit) < total:
        total = int(limit)
        used = _cgroup_text("memory.current") or _text(Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"))
        stat = _cgroup_text("memory.stat") or _text(Path("/sys/fs/cgroup/memory/memory.stat"))
        cache = {line.split()[0]: int(line.split()[1]) for line in stat.splitlines() if line}
        # Cached file pages are given back when memory gets short, so they do not count as used.
        taken = int(used or 0) - cache.get("inactive_file", cache.get("total_inactive_file", 0))
        available = min(available, max(0, total - taken))
    return total / GB, available / GB


def _cgroup_text(name: str) -> str:
    """A control file of this process's cgroup (version 2), the nearest one upwards that sets a limit."""
    line = _text(Path("/proc/self/cgroup")).splitlines()[-1:] or [""]
    folder = Path("/sys/fs/cgroup") / line[0].rpartition("::")[2].lstrip("/")
    for place in (folder, *folder.parents):
        text = _text(place / name)
        if text and not text.startswith("max"):
            return text
        if place == Path("/sys/fs/cgroup"):
            break
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf8").strip()
    except OSError:
        return ""


def disk_free(folder: Path) -> float:
    """Free disk space [GB] at a folder that exists or will be created."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / GB


def hub_offline() -> bool:
    """Whether the user or the profile has switched the Hub off."""
    values = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value.upper() in ("1", "ON", "YES", "TRUE") for value in values)


def hub_reachable(seconds: float = HUB_SECONDS) -> Choice:
    """Whether the Hugging Face Hub answers; None where it was not asked because ``HF_HUB_OFFLINE`` is set.

    Args:
        seconds: How long to wait in total, name resolution included [s].
    """
    if hub_offline():
        return Choice(None, "not asked, because HF_HUB_OFFLINE=1")
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    outcome = [Choice(False, f"no answer within {seconds:g} s")]

    def ask() -> None:
        try:
            request = urllib.request.Request(address + "/api/models/gpt2", method="HEAD")
            with urllib.request.urlopen(request, timeout=seconds):
                outcome[0] = Choice(True, "it answered")
        except urllib.error.HTTPError as error:
            # A 4xx from the Hub itself means that it is reachable; a refusal by a proxy (403, 407) does not.
            there = error.code not in (403, 407) and error.code < 500
            outcome[0] = Choice(there, f"it answered with status {error.code}")
        except (OSError, ValueError) as error:
            outcome[0] = Choice(False, f"no connection ({getattr(error, 'reason', error)})")

    # A thread, because name resolution has no timeout and can take half a minute without a network.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0]


@dataclass(frozen=True)
class Version:
    """A package, the version the lock names and the one that is installed (None: it is not)."""

    name: str
    locked: str
    installed: str | None

    @property
    def ok(self) -> bool:
        """Whether they are equal; a build's suffix such as ``+cpu`` does not count."""
        return self.installed is not None and self.installed.split("+")[0] == self.locked.split("+")[0]


def versions(lock: Path | None = None) -> list[Version] | None:
    """Installed versions against ``requirements.lock``; None if there is no lock.

    Args:
        lock: The lock file; default that of this checkout. Lines whose marker excludes this platform are left out.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    from shared.paths import repo_root

    path = lock if lock is not None else repo_root() / "requirements.lock"
    if not path.is_file():
        return None
    found = []
    for line in path.read_text(encoding="utf8").splitlines():
        text = line.partition(" #")[0].strip().rstrip("\\").strip()
        if not text or text.startswith(("#", "-")):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        pins = [spec.version for spec in requirement.specifier if spec.operator == "=="]
        if pins and (requirement.marker is None or requirement.marker.evaluate()):
            found.append(Version(requirement.name, pins[0], _installed(requirement.name)))
    return found


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def quantization(device: str | Choice) -> Choice:
    """Whether a device supports 4-bit weights (bitsandbytes), and why not."""
    device = device.value if isinstance(device, Choice) else device
    if importlib.util.find_spec("bitsandbytes") is None:
        return Choice(False, "bitsandbytes is not installed: it does not support this platform")
    if device == "mps":
        return Choice(False, "bitsandbytes does not support Apple's GPU: the QLoRA parts are skipped")
    return Choice(True, f"bitsandbytes {_installed('bitsandbytes')}")


def identity() -> dict[str, str]:
    """What identifies this machine; for ``peft-labs doctor``, never for a notebook's output."""
    lines = _text(Path("/proc/cpuinfo")).splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"system": platform.platform(), "CPU": (models or [platform.processor() or platform.machine()])[0]}
