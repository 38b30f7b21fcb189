"""ONNX Runtime sessions that can be timed beside torch in one process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


def onnx_session(path: Path | str) -> onnxruntime.InferenceSession:
    """Open an exported graph on the CPU so that it can be timed beside torch.

    By default ONNX Runtime uses every core, and its threads keep spinning for a while after each call, which slows down
    what runs next. Here it uses as many threads as torch, and spinning is disabled.

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
