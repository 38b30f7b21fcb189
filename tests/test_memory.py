"""Memory arithmetic against the known table for Llama-2-7B, and measuring."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from shared import memory as M
from shared.errors import HardwareError
from shared.parameters import architecture, lora_all_linear, lora_qv

LLAMA = architecture("Llama-2-7b")
BF16_BASE = M.LLAMA_2_7B.params * 2 / M.GB


@pytest.mark.parametrize(
    ("precision", "weights", "gradients", "optimizer", "total"),
    [
        ("mixed-adam", 13.48, 13.48, 80.86, 107.81),
        ("fp32-adam", 26.95, 26.95, 53.91, 107.81),
        ("bf16-adam", 13.48, 13.48, 53.91, 80.86),
    ],
)
def test_full_fine_tuning(precision, weights, gradients, optimizer, total):
    parts = M.full_states(precision=precision)
    assert [round(parts[k], 2) for k in ("weights", "gradients", "optimizer")] == [weights, gradients, optimizer]
    assert round(M.total(parts), 2) == total


@pytest.mark.parametrize(
    ("adapter", "gigabytes"),
    [(lora_qv(LLAMA, 8), 13.54), (lora_all_linear(LLAMA, 16), 14.12), (lora_all_linear(LLAMA, 64), 16.04)],
)
def test_lora_on_a_bf16_base(adapter, gigabytes):
    parts = M.lora_states(BF16_BASE, adapter)
    assert round(M.total(parts), 2) == gigabytes
    assert parts == M.model_states("lora", adapter=adapter)


def test_parts_of_lora_q_v_r8():
    parts = M.lora_states(0.0, lora_qv(LLAMA, 8))
    assert [round(parts[k], 3) for k in ("weights", "gradients", "optimizer")] == [0.017, 0.017, 0.034]


def test_nf4_base_and_qlora():
    assert round(M.nf4_base(), 2) == 3.87
    assert round(M.nf4_base(double_quant=False), 2) == 4.17
    assert pytest.approx(4.127, abs=5e-4) == M.NF4_DOUBLE_QUANT_BITS
    for rank, float32, bfloat16 in ((16, 4.51, 4.35), (64, 6.42, 5.78)):
        sizes = [M.model_states("qlora", adapter=lora_all_linear(LLAMA, rank), precision=one)
                 for one in ("fp32-adam", "bf16-adam")]  # fmt: skip
        assert [round(M.total(parts), 2) for parts in sizes] == [float32, bfloat16]


def test_lora_and_qlora_differ_in_the_base_only():
    lora, qlora = M.model_states("lora"), M.model_states("qlora")
    assert {k: lora[k] for k in ("gradients", "optimizer")} == {k: qlora[k] for k in ("gradients", "optimizer")}
    assert lora["weights"] - qlora["weights"] == pytest.approx(BF16_BASE - M.nf4_base())


def test_linear_parameters_are_those_of_the_model():
    """6,476,005,376: all linear layers but the output layer, which bitsandbytes leaves in 16 bit."""
    from shared.parameters import linear_shapes, reference_model

    shapes = linear_shapes(reference_model("Llama-2-7b")).values()
    assert sum(out * into for out, into in shapes) == M.LLAMA_2_7B.linear
    assert LLAMA.total == M.LLAMA_2_7B.params


@pytest.mark.parametrize(
    ("gpus", "stages"),
    [(1, (107.81, 107.81, 107.81)), (2, (67.38, 60.65, 53.91)), (4, (47.17, 37.06, 26.95)),
     (8, (37.06, 25.27, 13.48)), (64, (28.22, 14.95, 1.68))],
)  # fmt: skip
def test_zero_stages(gpus, stages):
    assert tuple(round(M.total(M.zero_states(stage, gpus)), 2) for stage in (1, 2, 3)) == stages
    assert round(M.total(M.zero_states(0, gpus)), 2) == 107.81


def test_zero_table_of_the_paper():
    found = [round(M.total(M.zero_states(stage, 64, 7_500_000_000)), 1) for stage in (0, 1, 2, 3)]
    assert found == [120.0, 31.4, 16.6, 1.9]


@pytest.mark.parametrize(
    ("length", "eager", "flash", "checkpointing"), [(512, 3.6, 2.3, 0.13), (2048, 30.6, 9.1, 0.54)]
)
def test_activations(length, eager, flash, checkpointing):
    assert round(M.activations(1, length, flash=False), 1) == eager
    assert round(M.activations(1, length), 1) == flash
    assert round(M.activations(1, length, checkpointing=True), 2) == checkpointing
    assert M.activations(3, length) == pytest.approx(3 * M.activations(1, length))


def test_logits():
    assert round(M.logits(1, 2048), 2) == 0.26
    assert M.logits(2, 100, copies=3) == pytest.approx(6 * M.logits(1, 100))


def test_training_and_what_fits():
    setups = {name: M.training(name) for name in ("full", "lora", "qlora")}
    assert list(setups["full"]) == ["weights", "gradients", "optimizer", "activations", "logits"]
    rows = {row["setup"]: row for row in M.fits(setups)}
    assert [rows["full"][f"fits {c} GB"] for c in (8, 16, 24)] == ["no", "no", "no"]
    assert [rows["lora"][f"fits {c} GB"] for c in (8, 16, 24)] == ["no", "yes", "yes"]
    assert [rows["qlora"][f"fits {c} GB"] for c in (8, 16, 24)] == ["yes", "yes", "yes"]
    assert M.fits(setups, cards=(8,), overhead=4)[2]["fits 8 GB"] == "no"


def test_wrong_arguments():
    with pytest.raises(ValueError, match="'loar' is not full, lora or qlora"):
        M.model_states("loar")
    with pytest.raises(ValueError, match="stage 4"):
        M.zero_states(4, 2)


def test_peak_rss_sees_what_is_freed_again():
    with M.peak_rss() as peak:
        block = np.ones(80 * 2**20, dtype=np.uint8)
        time.sleep(0.1)
        del block
        time.sleep(0.05)
    assert 75 < peak.added < 140
    assert peak.seconds > 0.14


def test_peak_rss_is_complete_after_an_exception():
    with pytest.raises(ZeroDivisionError), M.peak_rss() as peak:
        raise ZeroDivisionError
    assert peak.peak >= peak.before > 1 and peak.seconds > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_peak_without_a_gpu_says_so():
    with pytest.raises(HardwareError, match=r"no CUDA device(.|\n)*peak_rss"), M.cuda_peak():
        pytest.fail("must not run")
