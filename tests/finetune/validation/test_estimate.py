"""The estimate of a run: what can be counted is exact, what is estimated moves as it must."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shared import memory
from shared.finetune.config import Config
from shared.finetune.methods import METHODS
from shared.finetune.models import load_base
from shared.finetune.reference import TEMPLATE
from shared.finetune.validate_config import main, notes, validate
from shared.finetune.validation.estimate import estimate, optimizer_bytes


@pytest.fixture(scope="module")
def config() -> Config:
    from shared.finetune.config import load_config

    return load_config(Path(__file__).parents[3] / TEMPLATE, ["training.use_cpu=true", "training.bf16=false"])


def classifier(method: str, **training: object) -> Config:
    values = {"use_cpu": True, "bf16": False, "max_steps": 10, **training}
    return Config.model_validate(
        {"task_name": "pairs", "task_type": "SEQ_CLS", "model": {"name_or_path": "tiny:bert"},
         "peft": {"method": method}, "dataset": {"name": "tiny:mrpc"}, "training": values}
    )  # fmt: skip


@pytest.mark.parametrize("method", ["lora", "full", "prompt-tuning", "ia3"])
def test_parameters_weights_gradients_and_states_are_exact(config: Config, method: str) -> None:
    made = config.changed(peft={"method": method})
    found = estimate(made)
    model = METHODS[method].apply(load_base(made)[0], made.peft, made.task_type)
    trained = [one for one in model.parameters() if one.requires_grad]
    assert found.trainable == sum(one.numel() for one in trained)
    assert found.total == sum(one.numel() for one in model.parameters())
    assert found.gigabytes["weights"] * 1e9 == pytest.approx(sum(one.nbytes for one in model.parameters()))
    optimizer = torch.optim.AdamW(trained)
    for one in trained:
        one.grad = torch.zeros_like(one)
    optimizer.step()
    states = [state[name].nbytes for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert found.gigabytes["gradients"] * 1e9 == pytest.approx(sum(one.grad.nbytes for one in trained))
    assert found.gigabytes["optimizer"] * 1e9 == pytest.approx(sum(states))


def test_what_trains_the_base_in_place_adds_no_weights() -> None:
    plain = estimate(classifier("full")).gigabytes["weights"]
    assert estimate(classifier("bitfit")).gigabytes["weights"] == pytest.approx(plain)
    assert estimate(classifier("head")).gigabytes["weights"] == pytest.approx(plain)
    assert estimate(classifier("lora")).gigabytes["weights"] > plain


def passing(config: Config, **sections: dict) -> float:
    return estimate(config.changed(**sections)).gigabytes["activations"]


def test_activations_grow_with_batch_and_length_and_fall_with_checkpointing(config: Config) -> None:
    one = passing(config, training={"per_device_train_batch_size": 1})
    assert passing(config, training={"per_device_train_batch_size": 8}) == pytest.approx(8 * one)
    assert passing(config, sft={"max_length": 80}) == pytest.approx(passing(config) / 2)
    assert passing(config, training={"gradient_checkpointing": True}) < passing(config)
    assert passing(config, training={"bf16": True}) < passing(config)
    assert passing(config, model={"attn_implementation": "eager"}) > passing(config)
    assert passing(config, peft={"method": "prompt-tuning"}) < passing(config, peft={"method": "full"})


def test_a_head_on_a_frozen_base_keeps_nothing_below_it() -> None:
    assert estimate(classifier("head")).gigabytes["activations"] == 0 < passing(classifier("bitfit"))


def test_the_estimate_is_near_what_autograd_keeps(config: Config) -> None:
    made = config.changed(peft={"method": "full"}, training={"per_device_train_batch_size": 4})
    model, _ = load_base(made)
    weights, kept = {one.untyped_storage().data_ptr() for one in model.parameters()}, {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model.model(input_ids=torch.ones(4, 160, dtype=torch.long)).last_hidden_state.sum()
    found = estimate(made).gigabytes["activations"] * 1e9
    assert out.requires_grad and found / 2 < sum(kept.values()) < found * 2, (found, sum(kept.values()))


def test_the_formula_is_the_papers_where_its_model_is() -> None:
    s, b, h, a, layers = 512, 2, 768, 12, 12
    assert memory.activations(b, s, layers, h, a, flash=False) == s * b * h * (34 + 5 * a * s / h) * layers / 1e9
    assert memory.activations(b, s, layers, h, a, checkpointing=True) == 2 * s * b * h * layers / 1e9


@pytest.mark.parametrize(
    ("name", "bytes_"),
    [("adamw_torch", 8), ("adamw_bnb_8bit", 2), ("paged_adamw_32bit", 8), ("lion_8bit", 1), ("sgd", 0)],
)
def test_optimizers_keep_what_they_keep(name: str, bytes_: int) -> None:
    assert optimizer_bytes(name, 4) == bytes_
    assert optimizer_bytes("adamw_torch", 2) == 4, "torch's states have the weight's format"


def test_steps_are_those_of_the_trainer(config: Config, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text\n" + "\n".join(f"w ### Assistant: {number}" for number in range(103)), encoding="utf8")
    made = config.changed(dataset={"name": str(rows), "max_train_rows": None})
    for batch, every, epochs, steps in ((8, 1, 1, 11), (8, 2, 3, 18), (4, 3, 0.5, 4)):
        settings = {"gradient_accumulation_steps": every, "num_train_epochs": epochs}
        found = estimate(made.changed(training={"per_device_train_batch_size": batch, **settings}))
        assert (found.steps, found.bound) == (steps, ""), "83 rows are left when 2 x 10 are held out"
    assert estimate(made.changed(sft={"packing": True})).bound == "at most"
    assert estimate(made.changed(training={"max_steps": 7})).steps == 7


def test_steps_are_unknown_where_the_rows_are_not_at_hand(config: Config) -> None:
    away = config.changed(dataset={"name": "someone/words", "max_train_rows": None})
    assert estimate(away).steps is None and "by the number of rows" in str(estimate(away))
    assert estimate(config.changed(model={"name_or_path": "someone/else"})) is None


def test_the_report_tells_all_parts(root: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(root / TEMPLATE)]) == 0
    out = capsys.readouterr().out
    for word in (
        "trains 81,920",
        "weights",
        "gradients",
        "optimizer",
        "activations",
        "logits",
        "16 x 160 tokens",
        "steps",
    ):
        assert word in out, word


def test_some_long_prompts_and_emulated_numbers_are_notes_and_no_problems(root: Path, monkeypatch) -> None:
    from shared.finetune.training import precision
    from shared.finetune.validation.local_inputs import LocalInputs

    overrides = ["training.use_cpu=true", "training.bf16=true", "sft.max_length=40"]
    monkeypatch.setattr(precision, "_bf16", lambda device: (False, "this CPU has no bfloat16 instructions"))
    made, problems = validate(root / TEMPLATE, overrides)
    assert made is not None, problems
    assert any("emulated" in note for note in notes(LocalInputs(made)))
