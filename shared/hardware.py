"""Pre-flight: what a lab needs, what this machine has, and what was chosen and why, before anything is downloaded."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared import machine, paths
from shared.errors import DataError
from shared.machine import Choice, choose_device, choose_dtype, cpu_bf16, hub_reachable, versions

if TYPE_CHECKING:
    from shared.labs import Lab
from shared.preflight_report import Preflight, Row

__all__ = [
    "Choice", "Preflight", "Row", "choose_device", "choose_dtype", "cpu_bf16", "hub_reachable", "preflight", "versions",
]  # fmt: skip

#: Packages that the report lists by name; all of them are required.
CORE = ("torch", "transformers", "peft", "trl", "accelerate", "datasets")
#: Steps that sizes are rounded down to [GB]: precise enough for the requirement, too coarse to identify a machine.
STEPS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80, 100, 200, 500, 1000)


def preflight(lab: Lab | None = None) -> Preflight:
    """Inspect the machine and, for a lab, compare it with the requirements of the profile; nothing is downloaded.

    Args:
        lab: The lab from :func:`shared.labs.open_lab`; None reports on the machine alone.

    Returns:
        The report. As the last line of a cell it is displayed; ``.require()`` raises where something is missing.
    """
    device = choose_device()
    dtype = choose_dtype(device)
    need = getattr(getattr(lab, "config", None), "lab", None)
    rows = _lab_rows(lab, need) if lab is not None else []
    rows += [Row("device", str(device.value), device.reason), _dtype_row(dtype, lab)]
    rows += [_four_bit_row(device, lab), *_gpu_rows(need), _ram_row(need), _disk_row(need), _cores_row()]
    rows += [_hub_row(lab), _python_row(), *_version_rows()]
    rows += [Row(topic, value, private=True) for topic, value in machine.identity().items()]
    title = f"{lab.name}, profile {lab.profile}" if lab is not None else "This machine"
    return Preflight(rows, device, dtype, title)


# --- what the lab needs ----------------------------------------------------------------------------------------------


def _lab_rows(lab: Lab, need: Any) -> list[Row]:
    rows = [Row("profile", lab.profile, lab.profile_reason)]
    minutes = dict(getattr(need, "minutes", None) or {})
    if minutes:
        parts = ", ".join(f"{name} {value:g}" for name, value in minutes.items())
        rows.append(Row("expected time", f"{sum(minutes.values()):g} min", f"minutes of each notebook: {parts}"))
    for topic, name in (("model", lab.config.model.name_or_path), ("data", lab.config.dataset.name)):
        rows.append(_source_row(topic, name))
    if getattr(need, "gated", False):
        rows.append(_gated_row(lab.config.model.name_or_path, getattr(need, "gated_help", "")))
    return rows


def source(name: str) -> str:
    """Where a model or data set comes from: ``embedded``, ``fetched``, ``local`` or ``hub``."""
    if name.startswith("tiny:"):
        return "embedded"
    if name.startswith("fetched:"):
        return "fetched"
    return "local" if Path(name).expanduser().exists() else "hub"


def _dtype_row(dtype: Choice, lab: Lab | None) -> Row:
    wanted = getattr(lab.config.model, "dtype", None) if lab is not None else None
    if wanted in (None, "auto", dtype.value):
        return Row("dtype", str(dtype.value), dtype.reason)
    reason = f"as configured; the default for this device would be {dtype.value}: {dtype.reason}"
    if wanted == "bfloat16" and dtype.value == "float16":  # a GPU before Ampere
        fix = "set model.dtype (and bnb_4bit_compute_dtype) to float16, and training.fp16 instead of training.bf16"
        return Row("dtype", wanted, reason, ok=None, fix=fix)
    return Row("dtype", wanted, reason)


def _source_row(topic: str, name: str) -> Row:
    kind = source(name)
    if kind == "embedded":
        return Row(topic, name, "part of the package; nothing is downloaded")
    if kind == "local":
        return Row(topic, Path(name).name, "a local file or folder")
    if kind == "fetched":
        return _fetched_row(topic, name)
    if _cached(name, topic):
        return Row(topic, name, "from the Hub; it is already in the cache")
    return Row(topic, name, "from the Hub: it will be downloaded")


def _fetched_row(topic: str, name: str) -> Row:
    from shared.fetch import fetched

    try:
        fetched(name.removeprefix("fetched:"))
    except DataError as error:
        return Row(topic, name, error.message, ok=False, fix=error.fix)
    return Row(topic, name, "already fetched; nothing is downloaded")


def _cached(name: str, topic: str = "model") -> bool:
    """Whether the Hub's cache holds a model's configuration, or a data set's page."""
    from huggingface_hub import try_to_load_from_cache

    file, kind = ("config.json", "model") if topic == "model" else ("README.md", "dataset")
    try:
        return isinstance(try_to_load_from_cache(name, file, repo_type=kind), str)
    except ValueError:  # not a valid repository name
        return False


def _gated_row(model: str, text: str) -> Row:
    from huggingface_hub import get_token

    wording = text or "ask for access on the model's page on the Hub, then log in with `hf auth login`"
    if _cached(model):
        return Row("gated model", model, "gated, but it is already in the cache")
    text = "its owners grant access on request; "
    if get_token():
        return Row("gated model", model, text + "a Hub login is stored", ok=None, fix=wording)
    return Row("gated model", model, text + "no Hub login is stored", ok=False, fix=wording)


def _other_profile() -> str:
    return "choose another profile: PROFILE = 'laptop' or 'tiny', or PEFT_LABS_PROFILE"


def _gpu_rows(need: Any) -> list[Row]:
    wanted = getattr(need, "gpu_gb", None) or 0
    card = machine.gpu()
    if card is None:
        if not wanted:
            return []
        reason = f"this profile needs an NVIDIA GPU with at least {wanted:g} GB"
        return [Row("GPU", "none that torch can use", reason, ok=False, fix=_other_profile())]
    capability = ".".join(map(str, card.capability or ()))
    rows = [Row("GPU", card.name, f"compute capability {capability}, bfloat16: {'yes' if card.bf16 else 'no'}")]
    enough = card.free >= wanted
    reason = f"needs {wanted:g} GB" if wanted else "no GPU is needed"
    fix = "" if enough else f"end other programs on the GPU, or {_other_profile()}"
    return [*rows, Row("GPU memory", _coarse(card.free, "free", wanted), reason, ok=enough, fix=fix)]


def _ram_row(need: Any) -> Row:
    wanted = getattr(need, "ram_gb", None) or 0
    _, available = machine.ram()
    reason = f"needs {wanted:g} GB" if wanted else ""
    enough = available >= wanted
    fix = "" if enough else f"close other programs, or {_other_profile()}"
    return Row("RAM", _coarse(available, "available", wanted), reason, ok=enough, fix=fix)


def _disk_row(need: Any) -> Row:
    wanted = getattr(need, "disk_gb", None) or 0
    free = min(machine.disk_free(paths.cache_root()), machine.disk_free(paths.runs_root()))
    reason = f"needs {wanted:g} GB for models, data and results" if wanted else ""
    fix = "" if free >= wanted else "free some space, or point PEFT_LABS_CACHE and PEFT_LABS_RUNS to another disk"
    return Row("disk", _coarse(free, "free", wanted), reason, ok=free >= wanted, fix=fix)


def _coarse(size: float, word: str, wanted: float) -> str:
    """A size rounded down to a step; exact where it is below the requirement, because then it matters."""
    if size < wanted or size < STEPS[0]:
        return f"{size:.1f} GB {word}"
    return f"more than {max(step for step in STEPS if step <= size)} GB {word}"


def _cores_row() -> Row:
    cores = machine.cpu_cores()
    return Row("CPU cores", str(cores), "available to this process", ok=True if cores > 1 else None)


def _four_bit_row(device: Choice, lab: Lab | None) -> Row:
    can = machine.quantization(device)
    if lab is not None and not can.value and getattr(lab.config.model, "quantization", None) is not None:
        return Row("4-bit weights", "no", can.reason, ok=False, fix="remove model.quantization from the configuration")
    return Row("4-bit weights", "yes" if can.value else "no", can.reason, ok=True if can.value else None)


# --- network and versions --------------------------------------------------------------------------------------------


def _hub_row(lab: Lab | None) -> Row:
    names = {} if lab is None else {"model": lab.config.model.name_or_path, "data": lab.config.dataset.name}
    missing = [name for topic, name in names.items() if source(name) == "hub" and not _cached(name, topic)]
    if lab is not None and not missing and not machine.hub_offline():
        return Row("Hugging Face Hub", "not asked", "nothing has to be downloaded")
    answer = hub_reachable()
    value = {True: "reachable", False: "out of reach", None: "not asked"}[answer.value]
    if missing and answer.value is not True:
        fix = (
            "unset HF_HUB_OFFLINE and check the connection (HTTPS_PROXY, HF_ENDPOINT for a mirror); without the Hub:"
            " `peft-labs fetch-models` and PROFILE = 'laptop', or PROFILE = 'tiny'"
        )
        return Row("Hugging Face Hub", value, f"{answer.reason}; needed for {', '.join(missing)}", ok=False, fix=fix)
    return Row("Hugging Face Hub", value, answer.reason, ok=None if answer.value is False else True)


def _python_row() -> Row:
    return Row("Python", ".".join(platform.python_version_tuple()[:2]), "3.11 or newer is needed")


def _version_rows() -> list[Row]:
    found = versions()
    if found is None:
        fix = "restore it with `git checkout -- requirements.lock`"
        return [Row("packages", "not compared", "requirements.lock is missing", ok=None, fix=fix)]
    core = sorted((v for v in found if v.name in CORE), key=lambda v: CORE.index(v.name))
    absent = [v.name for v in core if v.installed is None]
    other = [f"{v.name} {v.installed or 'missing'} instead of {v.locked}" for v in found if not v.ok]
    value = ", ".join(f"{v.name} {(v.installed or 'missing').split('+')[0]}" for v in core)
    if not other:
        return [Row("packages", value, "these and all others are as in requirements.lock")]
    listed = "; ".join(other[:6]) + (f"; and {len(other) - 6} more" if len(other) > 6 else "")
    return [Row("packages", value, listed, ok=False if absent else None, fix="run `make setup`, and use its .venv")]
