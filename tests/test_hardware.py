"""Pre-flight: choices with reasons, a verdict per profile, nothing in outputs that tells machines apart."""

from __future__ import annotations

import platform
import re
import socket
import threading
import urllib.error
from types import SimpleNamespace as N

import pytest
import torch

from shared import fetch, hardware, machine, paths
from shared.errors import DataError, HardwareError
from shared.machine import Choice, Gpu, Version

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


def lab(model="tiny:llama", data="tiny:guanaco", quantization=None, profile="tiny", **need):
    config = N(model=N(name_or_path=model, quantization=quantization), dataset=N(name=data), lab=N(**need))
    return N(name="Lab-01-LoRA", profile=profile, profile_reason="the default", config=config)


def row(report, topic):
    return next(row for row in report.rows if row.topic == topic)


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
    with pytest.raises(HardwareError, match="offers cpu"):
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
def test_number_format_and_its_reason(monkeypatch, device, card, dtype, reason):
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
        (set(), False, "does not tell"),
    ],
)
def test_bf16_on_the_cpu(monkeypatch, flags, value, reason):
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    assert machine.cpu_bf16().value is value and reason in machine.cpu_bf16().reason


def test_four_bit_on_apple_is_left_out_with_a_reason():
    assert machine.quantization("mps").value is False and "left out" in machine.quantization("mps").reason


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


# --- versions --------------------------------------------------------------------------------------------------------


def test_versions_against_a_lock(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# comment\n--extra-index-url https://x\n\n"
        f"torch=={torch.__version__.split('+')[0]}  # the base\n"
        "numpy==0.0.1 ; python_version >= '3'\nno-such-thing==1.0\nwindows-only==1 ; sys_platform == 'nowhere'\n"
    )
    found = machine.versions(lock)
    assert [(v.name, v.ok) for v in found] == [("torch", True), ("numpy", False), ("no-such-thing", False)]
    assert machine.versions(tmp_path / "none.lock") is None
    assert Version("x", "1.0", "1.0+cpu").ok and not Version("x", "1.0", "1.1").ok


def test_differences_are_listed_and_a_missing_core_package_stops(monkeypatch):
    locked = [Version("torch", "2", "2"), Version("numpy", "1", "9"), Version("peft", "1", "1")]
    monkeypatch.setattr(hardware, "versions", lambda: locked)
    line = row(hardware.preflight(), "packages")
    assert line.ok is None and "numpy 9 instead of 1" in line.reason and "make setup" in line.fix
    monkeypatch.setattr(hardware, "versions", lambda: [Version("torch", "2", None)])
    assert row(hardware.preflight(), "packages").ok is False
    monkeypatch.setattr(hardware, "versions", lambda: None)
    assert "requirements.lock is missing" in row(hardware.preflight(), "packages").reason


# --- verdicts --------------------------------------------------------------------------------------------------------


def test_tiny_is_ready_and_says_what_it_costs(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    report = hardware.preflight(lab(minutes={"01-Setup": 0.5, "02-Train": 1.5}, ram_gb=4, disk_gb=1))
    assert report.ok and report.require() is report
    assert row(report, "expected time").value == "2 min"
    assert "nothing is downloaded" in row(report, "model").reason
    assert row(report, "Hugging Face Hub").reason == "not asked, because HF_HUB_OFFLINE=1"
    assert row(report, "RAM").value == "more than 12 GB available" and row(report, "RAM").reason == "needs 4 GB"
    assert report.verdict.startswith("Ready")


def test_full_without_gpu_and_hub_lists_everything_that_is_missing(monkeypatch):
    wanted = lab("meta-llama/Llama-2-7b-hf", "timdettmers/openassistant-guanaco", profile="full", gpu_gb=16, ram_gb=64,
                 disk_gb=500, gated=True, gated_help="ask on its page; or take an open model")  # fmt: skip
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    report = hardware.preflight(wanted)
    assert not report.ok
    assert {r.topic for r in report.rows if r.ok is False} == {"GPU", "RAM", "disk", "Hugging Face Hub", "gated model"}
    assert row(report, "gated model").fix == "ask on its page; or take an open model"
    with pytest.raises(HardwareError) as caught:
        report.require()
    for part in ("GPU: none", "at least 16 GB", "12.3 GB available; needs 64 GB", "PROFILE = 'laptop'", "fetch-models"):
        assert part in str(caught.value)


def test_a_gpu_that_is_too_full(monkeypatch):
    monkeypatch.setattr(machine, "gpu", lambda: CARD)
    report = hardware.preflight(lab(gpu_gb=16))
    assert row(report, "GPU").reason == "compute capability 8.0, bfloat16: yes"
    assert report.ok
    report = hardware.preflight(lab(gpu_gb=22))
    assert row(report, "GPU memory").ok is False and "end other programs" in row(report, "GPU memory").fix


def test_fetched_models_say_how_to_get_them(monkeypatch):
    def absent(name):
        raise DataError(f"{name} has not been fetched", fix="run `peft-labs fetch-models`")

    monkeypatch.setattr(fetch, "fetched", absent)
    line = row(hardware.preflight(lab("fetched:smollm2-135m-instruct")), "model")
    assert line.ok is False and "fetch-models" in line.fix
    monkeypatch.setattr(fetch, "fetched", lambda name: paths.repo_root())
    report = hardware.preflight(lab("fetched:smollm2-135m-instruct"))
    assert row(report, "model").ok is True
    assert row(report, "Hugging Face Hub").value == "not asked"


def test_a_hub_model_needs_the_hub_only_if_it_is_not_cached(monkeypatch):
    wanted = lab("some/model", "tiny:guanaco", profile="laptop")
    assert row(hardware.preflight(wanted), "Hugging Face Hub").ok is False
    monkeypatch.setattr(hardware, "_cached", lambda name, topic: True)
    report = hardware.preflight(wanted)
    assert report.ok and "in the cache already" in row(report, "model").reason


def test_a_stored_login_is_enough_to_try_a_gated_model(monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "some token")
    line = row(hardware.preflight(lab("some/model", gated=True)), "gated model")
    assert line.ok is None and "some token" not in str(line)


def test_data_sets_are_looked_up_as_data_sets(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "datasets--some--data" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "README.md").write_text("x")
    (tmp_path / "datasets--some--data" / "refs").mkdir()
    (tmp_path / "datasets--some--data" / "refs" / "main").write_text("abc")
    assert hardware._cached("some/data", "data") and not hardware._cached("some/data", "model")
    assert not hardware._cached("no such name!!", "model")


def test_configured_number_format_against_the_gpus(monkeypatch):
    wanted = lab()
    wanted.config.model.dtype = "bfloat16"
    monkeypatch.setattr(hardware, "choose_dtype", lambda device: Choice("float16", "an old GPU"))
    line = row(hardware.preflight(wanted), "number format")
    assert (line.value, line.ok) == ("bfloat16", None) and "model.dtype" in line.fix
    monkeypatch.setattr(hardware, "choose_dtype", lambda device: Choice("bfloat16", "a new GPU"))
    assert row(hardware.preflight(wanted), "number format").ok is True


def test_four_bit_config_on_a_machine_without_it_stops(monkeypatch):
    monkeypatch.setattr(machine, "quantization", lambda device: Choice(False, "not made for this platform"))
    assert row(hardware.preflight(lab()), "4-bit weights").ok is None
    assert row(hardware.preflight(lab(quantization=N(load_in_4bit=True))), "4-bit weights").ok is False


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_notebook_views_do_not_tell_machines_apart(monkeypatch):
    monkeypatch.setattr(machine, "identity", lambda: {"system": "System-9.9", "CPU": "Secret CPU 9000"})
    report = hardware.preflight(lab())
    views = [str(report), report._repr_html_(), repr(report), str(report.record())]
    names = (socket.gethostname(), platform.platform(), str(paths.repo_root()))
    for secret in ("System-9.9", "Secret CPU", "12.3", *names):
        assert not any(secret in view for view in views), secret
    assert not any(re.search(r"(^|[\s'\"(>])/\w+/", view) for view in views), "an absolute path"
    assert "Secret CPU 9000" in report.text(private=True)


def test_html_is_escaped_and_has_headings():
    wanted = lab()
    wanted.profile_reason = "<b> & {x}"
    page = hardware.preflight(wanted)._repr_html_()
    assert "&lt;b&gt; &amp; {x}" in page and 'scope="row"' in page and "<caption" in page
    assert ">ok<" in page, "the verdict stands there as a word, not as a colour only"


def test_identity_of_this_machine_is_for_the_doctor():
    assert set(machine.identity()) == {"system", "CPU"} and all(machine.identity().values())
