"""What the machine has: device, data type, memory, disk and network, each with the reason."""

from __future__ import annotations

import threading
import urllib.error

import pytest
import torch
from no_hardware import CARD, quiet, refuse  # noqa: F401 (an autouse fixture)

from shared import machine
from shared.errors import HardwareError
from shared.machine import Choice, Gpu

# --- choices ---------------------------------------------------------------------------------------------------------


def test_device_and_its_reason(monkeypatch):
    assert machine.choose_device().value == "cpu" and "CUDA" in machine.choose_device().reason
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert machine.choose_device().value == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.choose_device() == Choice("cuda", "torch sees a CUDA GPU")
    monkeypatch.setenv("PEFT_LABS_DEVICE", "CPU")
    assert machine.choose_device() == Choice("cpu", "the environment variable PEFT_LABS_DEVICE says so")


def test_wanted_device_that_is_not_there(monkeypatch):
    monkeypatch.setenv("PEFT_LABS_DEVICE", "cuda")
    with pytest.raises(HardwareError, match="has cpu"):
        machine.choose_device()


@pytest.mark.parametrize(
    ("device", "card", "dtype", "reason"),
    [
        ("cuda", CARD, "bfloat16", "the GPU computes bfloat16"),
        ("cuda", Gpu("Old", 16.0, 15.0, (7, 5), False), "float16", "8.0"),
        ("mps", None, "float32", "Apple"),
        ("cpu", None, "float32", "bfloat16"),
    ],
)
def test_dtype_and_its_reason(monkeypatch, device, card, dtype, reason):
    monkeypatch.setattr(machine, "gpu", lambda: card)
    choice = machine.choose_dtype(Choice(device, ""))
    assert choice == machine.choose_dtype(device)
    assert choice.value == dtype and reason in choice.reason
    assert isinstance(getattr(torch, choice.value), torch.dtype)


@pytest.mark.parametrize(
    ("flags", "value", "reason"),
    [
        ({"avx512_bf16", "amx_bf16"}, True, "(amx_bf16, avx512_bf16)"),
        ({"avx2"}, False, "emulated"),
        (set(), False, "does not report"),
    ],
)
def test_bf16_on_the_cpu(monkeypatch, flags, value, reason):
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    assert machine.cpu_bf16().value is value and reason in machine.cpu_bf16().reason


def test_four_bit_on_apple_is_left_out_with_a_reason():
    assert machine.quantization("mps").value is False and "skipped" in machine.quantization("mps").reason


# --- memory and network ----------------------------------------------------------------------------------------------


def test_a_containers_limit_counts(monkeypatch):
    monkeypatch.undo()
    files = {"memory.max": str(2 * 10**9), "memory.current": str(15 * 10**8), "memory.stat": "inactive_file 500000000"}
    monkeypatch.setattr(machine, "_cgroup_text", lambda name: files.get(name, ""))
    assert machine.ram() == (2.0, 1.0)
    monkeypatch.setattr(machine, "_cgroup_text", lambda name: {"cpu.max": "100000 100000"}.get(name, ""))
    assert machine.cpu_cores() == 1


def test_cgroup_files_are_found_upwards(monkeypatch):
    texts = {
        "/proc/self/cgroup": "0::/a/b", "/sys/fs/cgroup/a/b/memory.max": "max", "/sys/fs/cgroup/a/memory.max": "123",
    }  # fmt: skip
    monkeypatch.setattr(machine, "_text", lambda path: texts.get(str(path), ""))
    assert machine._cgroup_text("memory.max") == "123"
    assert machine._cgroup_text("cpu.max") == ""


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path, monkeypatch):
    monkeypatch.undo()
    assert machine.disk_free(tmp_path / "a" / "b") > 0


def test_hub_is_not_asked_when_offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(machine.urllib.request, "urlopen", lambda *a, **k: pytest.fail("asked"))
    assert machine.hub_reachable() == Choice(None, "not asked, because HF_HUB_OFFLINE=1")


def test_hub_answers(monkeypatch):
    import contextlib

    assert machine.hub_reachable().value is False
    monkeypatch.setattr(machine.urllib.request, "urlopen", lambda *a, **k: contextlib.nullcontext())
    assert machine.hub_reachable() == Choice(True, "it answered")
    for code, there in ((404, True), (407, False), (503, False)):
        monkeypatch.setattr(machine.urllib.request, "urlopen", status(code))
        assert machine.hub_reachable().value is there


def status(code):
    def urlopen(*args, **kwargs):
        raise urllib.error.HTTPError("x", code, "y", None, None)

    return urlopen


def test_a_silent_network_costs_only_the_time_limit(monkeypatch):
    import time

    ended = threading.Event()
    monkeypatch.setattr(machine.urllib.request, "urlopen", lambda *a, **k: ended.wait(10) and refuse())
    start = time.monotonic()
    assert machine.hub_reachable(0.2) == Choice(False, "no answer within 0.2 s")
    assert time.monotonic() - start < 5
    ended.set()
