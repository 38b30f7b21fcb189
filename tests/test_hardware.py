"""Pre-flight: choices with reasons, a verdict per profile, nothing in outputs that tells machines apart."""

from __future__ import annotations

import platform
import re
import socket
from types import SimpleNamespace as N

import pytest
import torch
from no_hardware import CARD, quiet, refuse  # noqa: F401 (an autouse fixture)

from shared import fetch, hardware, machine, paths
from shared.errors import DataError, HardwareError
from shared.machine import Choice, Version


def lab(model="tiny:llama", data="tiny:guanaco", quantization=None, profile="tiny", **need):
    config = N(model=N(name_or_path=model, quantization=quantization), dataset=N(name=data), lab=N(**need))
    return N(name="Lab-01-LoRA", profile=profile, profile_reason="the default", config=config)


def row(report, topic):
    return next(row for row in report.rows if row.topic == topic)


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
    assert report.ok and "already in the cache" in row(report, "model").reason


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


def test_configured_dtype_against_the_gpus(monkeypatch):
    wanted = lab()
    wanted.config.model.dtype = "bfloat16"
    monkeypatch.setattr(hardware, "choose_dtype", lambda device: Choice("float16", "an old GPU"))
    line = row(hardware.preflight(wanted), "dtype")
    assert (line.value, line.ok) == ("bfloat16", None) and "model.dtype" in line.fix
    monkeypatch.setattr(hardware, "choose_dtype", lambda device: Choice("bfloat16", "a new GPU"))
    assert row(hardware.preflight(wanted), "dtype").ok is True


def test_four_bit_config_on_a_machine_without_it_stops(monkeypatch):
    monkeypatch.setattr(machine, "quantization", lambda device: Choice(False, "not made for this platform"))
    assert row(hardware.preflight(lab()), "4-bit weights").ok is None
    assert row(hardware.preflight(lab(quantization=N(load_in_4bit=True))), "4-bit weights").ok is False


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_notebook_views_do_not_identify_the_machine(monkeypatch):
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
