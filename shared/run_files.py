"""Files of a run folder: checksums, safe weights, complete checkpoints.

This module handles single files; :mod:`shared.runs` combines them into a stage that is written atomically.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

from shared.errors import RunError

#: Files that can run code when they are loaded (they are pickles). Weights are safetensors here, and nothing else.
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
#: A file that exists in a checkpoint while it is being written: created first, removed last.
UNFINISHED = ".unfinished"
#: Packages whose versions are recorded in the manifest, so that a run can be reproduced.
PACKAGES = (
    "torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers", "safetensors", "bitsandbytes",
    "numpy", "peft-labs",
)  # fmt: skip


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync(path: Path) -> None:
    """Force a file or a folder onto the disk, so that a power failure cannot leave a later rename without it."""
    flags = os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR
    try:
        handle = os.open(path, flags)
    except PermissionError:  # Windows cannot open folders; there a rename is already ordered
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def package_versions() -> dict[str, str]:
    """Installed versions of :data:`PACKAGES`; a package that is not installed is left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def to_json(obj: Any, name: str) -> str:
    """JSON text of an object; numpy and torch scalars and arrays become numbers and lists.

    Raises:
        RunError: If the object holds NaN or infinity, or something that JSON cannot represent.
    """
    try:
        return json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"
    except ValueError as error:
        raise RunError(
            f"{name}: it contains NaN or infinity, which JSON cannot represent",
            fix="look at the loss: training may have diverged (lower the learning rate), or a mean has no values",
        ) from error
    except TypeError as error:
        raise RunError(f"{name}: {error}", fix="convert it to numbers, text, lists and dicts first") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "tolist"):  # numpy and torch
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def safetensors_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file, without its ``__metadata__``: tensor name -> dtype, shape, data_offsets.

    Raises:
        ValueError: If the file is cut short or is not safetensors.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            raise ValueError("not a safetensors file, or cut short")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if 8 + length + end != size:
        raise ValueError(f"{size} bytes, but its header promises {8 + length + end}")
    return header


def check_weights(folder: Path, label: str) -> None:
    """Refuse what must not be in a stage: pickles, empty or damaged safetensors, adapters that change nothing.

    Args:
        folder: The stage to look through.
        label: The name of the folder in messages.

    Raises:
        RunError: Naming the first file that is not allowed.
    """
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        where = f"{label}/{path.relative_to(folder).as_posix()}"
        if path.suffix in PICKLES:
            raise RunError(
                f"{where}: a pickle file can run code when it is loaded, so a run folder holds only safetensors",
                fix="use model.save_pretrained(folder) instead of trainer.save_model(folder) or torch.save",
            )
        if path.suffix == ".safetensors":
            _check_tensors(path, where)
    for config in sorted(folder.rglob("adapter_config.json")):
        weights = config.with_name("adapter_model.safetensors")
        if not weights.is_file():
            raise RunError(
                f"{label}/{config.parent.relative_to(folder).as_posix()}: an adapter_config.json without"
                " adapter_model.safetensors",
                fix="save the adapter with model.save_pretrained(folder) on the PeftModel itself",
            )
        _check_adapter(weights, f"{label}/{weights.relative_to(folder).as_posix()}")


def _check_tensors(path: Path, where: str) -> None:
    try:
        header = safetensors_header(path)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{where}: {error}", fix="save it again") from error
    if not any(all(entry["shape"]) for entry in header.values()):
        raise RunError(
            f"{where}: it contains no weights, so loading it would change nothing",
            fix="save the PeftModel, not the base model in it, and do it after training",
        )


def _check_adapter(path: Path, where: str) -> None:
    """An adapter that is all NaN or whose every ``lora_B`` is still zero was not trained."""
    from safetensors import safe_open

    second = []
    with safe_open(path, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118  (safe_open is no mapping)
            tensor = tensors.get_tensor(name)
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise RunError(f"{where}: {name} holds NaN or infinity", fix="training diverged: lower learning_rate")
            if ".lora_B." in name:
                second.append(bool(tensor.any()))
    if second and not any(second):
        raise RunError(
            f"{where}: every lora_B is zero: this adapter was not trained and changes nothing",
            fix="train before saving, and check that the LoRA parameters have requires_grad=True",
        )


def is_complete(folder: Path) -> bool:
    """Whether a Trainer checkpoint is complete.

    The framework's trainers mark a folder as :data:`UNFINISHED` while they write it. A plain Trainer writes weights,
    optimizer, scheduler and random state first and ``trainer_state.json`` last, so a process killed while saving leaves
    a folder without it; one killed while copying a checkpoint leaves truncated weights.
    """
    if (folder / UNFINISHED).exists():
        return False
    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf8"))
        weights = [path for path in folder.glob("*.safetensors") if safetensors_header(path)]
        pickles = [path for path in (folder / "optimizer.pt", folder / "scheduler.pt") if path.exists()]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    shards = folder / "model.safetensors.index.json"
    if shards.exists():
        wanted = set(json.loads(shards.read_text(encoding="utf8"))["weight_map"].values())
        weights = weights if wanted <= {path.name for path in weights} else []
    return "global_step" in state and bool(weights) and all(zipfile.is_zipfile(path) for path in pickles)


def last_checkpoint(folder: Path) -> Path | None:
    """The latest complete ``checkpoint-<step>`` in a folder, or None."""
    return next((path for path in reversed(_checkpoints(folder)) if is_complete(path)), None)


def broken_checkpoints(folder: Path) -> list[Path]:
    """The ``checkpoint-<step>`` folders that are incomplete, by step."""
    return [path for path in _checkpoints(folder) if not is_complete(path)]


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if path.is_dir() and _step(path).isdigit()]
    return sorted(found, key=lambda path: int(_step(path)))


def _step(checkpoint: Path) -> str:
    return checkpoint.name.removeprefix("checkpoint-")
