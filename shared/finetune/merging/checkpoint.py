"""A base model's folder: its tensors read one at a time, and the files that belong beside the weights."""

from __future__ import annotations

import ctypes
import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from shared.files import write_json
from shared.finetune.merging.shards import NAMES
from shared.finetune.models import resolve
from shared.finetune.models.gguf import drop_gguf_copy
from shared.finetune.models.hub_errors import hub_errors

if TYPE_CHECKING:
    import torch

    from shared.finetune.config import Config

KEPT = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
)
TOKENIZER = ("tokenizer", "special_tokens_map", "added_tokens", "vocab", "merges", "spiece", "chat_template")
PIECE = 2**24  # values of an unchanged tensor that are in memory at once
M_MMAP_THRESHOLD = -3  # malloc.h
LARGE_BLOCK = 2**22  # [bytes]
DTYPES = {name: dtype for dtype, name in NAMES.items()}


def base_folder(config: Config) -> Path:
    """The base's folder; a Hub id is taken from the Hub's cache or downloaded.

    Raises:
        ModelError: If it can't be obtained, or is not in safetensors.
    """
    place = Path(resolve(config.model.name_or_path))
    if not place.is_dir():
        from huggingface_hub import snapshot_download

        with hub_errors(config.model):
            place = Path(
                snapshot_download(
                    config.model.name_or_path,
                    revision=config.model.revision,
                    token=True if config.model.use_auth_token else None,
                    allow_patterns=["*.safetensors", "*.safetensors.index.json", *KEPT],
                )
            )
    if not any(place.glob("*.safetensors")):
        raise ModelError(
            f"{config.model.name_or_path} holds no .safetensors files",
            fix="save the base with model.save_pretrained(folder) and name that folder",
        )
    return place


def refuse_quantized(base: Path) -> None:
    """Refuse a base whose weights are stored in 8 or 4 bits.

    Raises:
        ModelError: With the reason.
    """
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    if config.get("quantization_config"):
        raise ModelError(
            f"{base} is stored quantised: the update would need its weights dequantised, changed and rounded to the "
            "same few values again, so the merged model would not be the adapted one",
            fix="name the 16-bit base in model.name_or_path (model.quantization may stay: it is not used here), merge "
            "into that, and quantise the merged model",
        )


def free_large_blocks_at_once() -> None:
    """Let glibc give each matrix's memory back to the system as soon as it is freed.

    By itself it keeps freed blocks of up to 32 MiB for later ones, which then rarely fit: the peak grows with the
    number of merged matrices. Other C libraries than glibc have no such setting.
    """
    if sys.platform == "linux":
        change = getattr(ctypes.CDLL(None), "mallopt", None)
        if change is not None:
            change(M_MMAP_THRESHOLD, LARGE_BLOCK)


class Checkpoint:
    """The tensors of a model folder or of one file, by name.

    A file is opened for each read alone: the pages of a mapped file stay in memory until it is closed.

    Attributes:
        files: The weight files, in the index's order.
        where: Tensor name -> its file.
        kinds: Tensor name -> (dtype, shape).
    """

    def __init__(self, place: Path):
        from safetensors import SafetensorError, safe_open

        self.files = [place] if place.is_file() else _weight_files(place)
        self.where: dict[str, Path] = {}
        self.kinds: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
        for file in self.files:
            try:
                with safe_open(file, framework="pt") as opened:
                    for name in opened.keys():  # noqa: SIM118 - safe_open is no dict
                        part = opened.get_slice(name)
                        self.where[name] = file
                        self.kinds[name] = (DTYPES[part.get_dtype()], tuple(part.get_shape()))
            except (SafetensorError, OSError) as error:
                again = "download or save the base again"
                raise ModelError(f"{file} is damaged or missing: {error}", fix=again) from error

    def read(self, name: str) -> torch.Tensor:
        """One tensor, as stored."""
        from safetensors import safe_open

        with safe_open(self.where[name], framework="pt") as opened:
            return opened.get_tensor(name)

    def without_values(self, name: str) -> torch.Tensor:
        """A tensor of the same dtype and shape that takes no memory."""
        import torch

        dtype, shape = self.kinds[name]
        return torch.empty(shape, dtype=dtype, device="meta")

    def pieces(self, name: str, dtype: torch.dtype) -> Iterator[torch.Tensor]:
        """One tensor in parts along its first dimension, since an embedding may be the largest by far."""
        from safetensors import safe_open

        shape = self.kinds[name][1]
        if not shape:
            yield self.read(name).to(dtype)
            return
        rows = max(1, PIECE // max(1, math.prod(shape[1:])))
        for start in range(0, shape[0], rows):
            with safe_open(self.where[name], framework="pt") as opened:
                yield opened.get_slice(name)[start : start + rows].to(dtype)


def _weight_files(base: Path) -> list[Path]:
    index = base / "model.safetensors.index.json"
    if index.is_file():
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [base / name for name in dict.fromkeys(named)]
    single = base / "model.safetensors"
    if not single.is_file():
        raise ModelError(f"{base} holds neither model.safetensors nor its index", fix="save the base again")
    return [single]


def copy_beside(base: Path, adapter: Path, out: Path, changes: dict[str, Any], written: tuple[str, ...] = ()) -> None:
    """Copy configuration, generation settings, tokenizer and chat template.

    The adapter's tokenizer wins: training may have changed it (a padding token, a chat template).

    Args:
        base: The base's folder.
        adapter: The adapter's folder.
        out: The merged model's folder.
        changes: Values that replace those of ``config.json``.
        written: Names of files that are there already.
    """
    own = (adapter / "tokenizer_config.json").is_file()
    for name in (one for one in KEPT if one not in written):
        from_adapter = own and name.startswith(TOKENIZER)
        source = (adapter if from_adapter else base) / name
        if source.is_file():
            shutil.copyfile(source, out / name)
    drop_gguf_copy(out)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    if "dtype" in changes:
        config.pop("torch_dtype", None)
    write_json(out / "config.json", config | changes)
