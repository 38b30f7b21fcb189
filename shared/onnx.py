"""Exported models beside torch in one process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


def onnx_session(path: Path | str) -> onnxruntime.InferenceSession:
    """Open an exported graph on the CPU so that it can be timed beside torch.

    Left to itself, ONNX Runtime takes every core, and after each call its threads go on spinning for a while, in which
    they slow down whatever runs next. Here it has as many threads as torch, and they rest between calls.

    Args:
        path: The ``.onnx`` file.

    Returns:
        The session.
    """
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
