"""Write a .safetensors file tensor by tensor: the library's own writer wants all of them in memory at once.

The format (https://huggingface.co/docs/safetensors): eight bytes with the header's length, the header as JSON (for each
tensor its dtype, shape and offsets), the tensors' bytes one after another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
Kind = tuple[torch.dtype, tuple[int, ...]]


def write_shard(file: Path, kinds: Mapping[str, Kind], make: Callable[[str], Iterable[torch.Tensor]]) -> int:
    """Write tensors that are made one at a time.

    Args:
        file: The file.
        kinds: Name -> (dtype, shape) of each tensor.
        make: Name -> the tensor, in pieces along its first dimension (or in one); called once for each, in the file's
            order.

    Returns:
        Their size [bytes].

    Raises:
        ValueError: If a tensor has another dtype or shape than announced.
    """
    # as the library does: wide formats first, so that each tensor starts at a multiple of its element's size
    order = sorted(kinds, key=lambda name: (-kinds[name][0].itemsize, name))
    header, start = {"__metadata__": {"format": "pt"}}, 0
    for name in order:
        dtype, shape = kinds[name]
        end = start + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            dtype, shape = kinds[name]
            rows = 0
            for piece in make(name):
                if piece.dtype != dtype or piece.shape[1:] != shape[1:]:
                    raise ValueError(f"{name} is {piece.dtype} {tuple(piece.shape)}, announced was {kinds[name]}")
                out.write(piece.contiguous().flatten().view(torch.uint8).numpy())
                rows += piece.shape[0] if shape else 1
                del piece
            if rows != (shape[0] if shape else 1):
                raise ValueError(f"{name} has {rows} rows, announced was {kinds[name]}")
    return start
