"""A machine without network and GPU, whatever this one has."""

from __future__ import annotations

import urllib.error

import pytest
import torch

from shared import machine
from shared.machine import Gpu

CARD = Gpu("Test GPU", 24.0, 20.0, (8, 0), True)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No network and no GPU, whatever this machine has; each test adds what it needs."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "PEFT_LABS_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine.urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(machine, "ram", lambda: (16.0, 12.3456))
    monkeypatch.setattr(machine, "disk_free", lambda folder: 77.7)


def refuse(*args, **kwargs):
    raise urllib.error.URLError("no network in tests")
