"""Training: the loss, what moves, the same numbers twice, and going on after kill -9."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import random_models as world
import torch
from safetensors.torch import load_file
from training_processes import forked

from shared.finetune import train
from shared.finetune.config import load_config
from shared.finetune.data import load_rows, to_prompt_completion
from shared.finetune.models import load_base, load_tuned


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finetune")
    world.make_model(folder / "model")
    world.make_rows(folder / "rows.jsonl")
    return folder


def configured(place: Path, name: str = "c", **training):
    values = world.config_dict(place / "model", place / "rows.jsonl", place / f"out-{name}", **training)
    return world.write_config(place / f"{name}.yaml", values)


def trainer_for(config, out, batch: int | None = None):
    model, tokenizer = load_base(config)
    rows = to_prompt_completion(load_rows(config.dataset, "train"), config.dataset)
    return train.build_trainer(config, model, tokenizer, rows, None, train.sft_arguments(config, out))


def test_loss_equals_trls_own(place, tmp_path):
    """The cheap loss is the same number with the same gradients as SFTTrainer's."""
    from trl import SFTTrainer

    trainer = trainer_for(load_config(configured(place)), tmp_path)
    assert trainer.answer_loss, trainer.loss_reason
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    found = {}
    for name, loss_of in (
        ("own", trainer.compute_loss),
        ("trl", lambda *a, **k: SFTTrainer.compute_loss(trainer, *a, **k)),
    ):
        trainer.model.zero_grad()
        loss = loss_of(trainer.model, dict(batch), num_items_in_batch=torch.tensor(7))
        loss.backward()
        found[name] = (loss.detach(), [p.grad.clone() for p in trainer.model.parameters() if p.requires_grad])
    torch.testing.assert_close(found["own"], found["trl"], rtol=1e-4, atol=1e-6)
    assert found["own"][0] > 1


def test_only_adapters_train_and_the_base_stays(place, tmp_path):
    config = load_config(configured(place, max_steps=3))
    before = load_file(place / "model" / "model.safetensors")
    result = train.run(config, tmp_path, seed=0, score=False)
    moved = {name for name, parameter in result.trainer.model.named_parameters() if parameter.requires_grad}
    assert moved and all(".lora_A." in name or ".lora_B." in name for name in moved)
    assert any(result.trainer.model.get_parameter(name).any() for name in moved if ".lora_B." in name)
    after = result.trainer.model.get_base_model().state_dict()
    for name, tensor in before.items():
        spot = name if name in after else name.replace(".weight", ".base_layer.weight")
        assert torch.equal(after[spot], tensor), name
    shapes = {
        "q": (64, 64),
        "k": (32, 64),
        "v": (32, 64),
        "o": (64, 64),
        "gate": (96, 64),
        "up": (96, 64),
        "down": (64, 96),
    }
    assert result.metrics["trainable"] == 2 * sum(4 * (rows + columns) for rows, columns in shapes.values())


def test_full_fine_tuning_moves_every_weight(place, tmp_path):
    config = load_config(configured(place, max_steps=2)).changed(peft={"method": "full"})
    result = train.run(config, tmp_path, seed=0, score=False)
    before = load_file(place / "model" / "model.safetensors")
    after = result.trainer.model.state_dict()
    assert result.metrics["trainable"] == result.metrics["total"]
    assert all(not torch.equal(after[name], tensor) for name, tensor in before.items())


def test_same_config_and_seed_give_the_same_numbers(place, tmp_path):
    config = load_config(configured(place)).changed(peft={"lora_dropout": 0.2})
    runs = [train.run(config, tmp_path / str(number), seed=seed, score=False) for number, seed in enumerate((3, 3, 4))]
    losses = [[step["loss"] for step in one.history if "loss" in step] for one in runs]
    assert len(losses[0]) == 4 and losses[0] == losses[1] != losses[2]
    first, second = (one.trainer.model.state_dict() for one in runs[:2])
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_accumulated_batches_equal_one_large_batch(place, tmp_path):
    losses = []
    for batch, accumulation in ((8, 1), (2, 4)):
        config = load_config(
            configured(place, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation)
        )
        losses.append([step["loss"] for step in train.run(config, tmp_path, 0, score=False).history if "loss" in step])
    assert losses[0] == pytest.approx(losses[1], abs=2e-4)


def test_after_mixed_precision_the_logits_are_those_of_a_reload(place, tmp_path):
    config = load_config(configured(place, max_steps=3, bf16=True))
    result = train.run(config, tmp_path / "checkpoints", 0, score=False)
    train.save_weights(result.trainer.model, tmp_path / "adapter")
    reloaded, _ = load_tuned(config, tmp_path / "adapter")
    ids = torch.arange(7, 19)[None]
    with torch.no_grad():
        assert torch.equal(result.trainer.model.eval()(ids).logits, reloaded(ids).logits)


def test_a_training_in_bf16_leaves_the_next_one_in_float32(place, tmp_path):
    """transformers keeps the number format in the environment, where the next TrainingArguments takes it from."""
    plain = load_config(configured(place, max_steps=2))
    half = load_config(configured(place, "half", max_steps=2, bf16=True))
    first, _, again = (
        train.run(config, tmp_path / str(number), 0, score=False) for number, config in enumerate((plain, half, plain))
    )
    assert again.trainer.accelerator.mixed_precision == "no"
    assert [step.get("loss") for step in first.history] == [step.get("loss") for step in again.history]


def test_it_learns(place, tmp_path):
    config = load_config(configured(place, max_steps=40, logging_steps=10, learning_rate=5e-3))
    config = config.changed(peft={"method": "full"})
    losses = [step["loss"] for step in train.run(config, tmp_path, 0, score=False).history if "loss" in step]
    assert losses[-1] < 0.8 * losses[0]


def test_quantised_base_trains_and_stays(place, tmp_path):
    pytest.importorskip("bitsandbytes")
    from shared.parameters import count

    section = {"load_in_4bit": True, "bnb_4bit_compute_dtype": "float32"}
    config = load_config(configured(place, max_steps=4, eval_strategy="steps", eval_steps=2))
    config = config.changed(model={"quantization": section})
    before, _ = load_base(config)
    packed = {name: p.detach().clone() for name, p in before.named_parameters() if p.dtype == torch.uint8}
    result = train.run(config, tmp_path, 0, score=False)
    base = result.trainer.model.get_base_model()
    after = {name.replace(".base_layer", ""): p for name, p in base.named_parameters() if p.dtype == torch.uint8}
    assert len(packed) == 14 and all(torch.equal(after[name], packed[name]) for name in packed)
    layer = base.model.layers[0].mlp.down_proj.base_layer.weight
    assert layer.quant_state.nested, "evaluation in between dropped the double quantisation"
    adapters = [p for p in result.trainer.model.parameters() if p.requires_grad]
    assert all(p.dtype == torch.float32 for p in adapters) and count(result.trainer.model).total > 70_000


def test_command_writes_a_whole_folder_that_a_fresh_process_loads(place, tmp_path):
    file = configured(place, "cli", max_steps=5, save_strategy="steps", save_steps=2)
    assert train.main(["--config", str(file)]) == 0
    out = place / "out-cli"
    wanted = {"adapter", "config.yaml", "metrics.json", "history.json", "run.json", "answers.jsonl"}
    assert {path.name for path in out.iterdir()} == wanted
    assert not list(out.rglob("*.bin")) and not any((place / "out-cli-checkpoints").iterdir())
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["steps"] == 5 and 0 <= metrics["exact_match"] <= 1
    config = load_config(out / "config.yaml")
    model, _ = load_tuned(config, out)
    ids = torch.arange(7, 19)[None]
    with torch.no_grad():
        tuned = model(ids).logits
        with model.disable_adapter():
            assert (model(ids).logits - tuned).abs().max() > 1e-3
    code = (
        "import sys, torch\nfrom safetensors.torch import save_file\n"
        "from shared.finetune.config import load_config\nfrom shared.finetune.models import load_tuned\n"
        "model, _ = load_tuned(load_config(sys.argv[1] + '/config.yaml'), sys.argv[1])\n"
        "save_file({'logits': model(torch.arange(7, 19)[None]).logits.detach()}, sys.argv[2])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(out), str(tmp_path / "l.safetensors")], check=True)
    assert torch.equal(load_file(tmp_path / "l.safetensors")["logits"], tuned)


KILLED = """
import os, signal, sys
from transformers import TrainerCallback
import torch
from shared.finetune import train
from shared.finetune.config import load_config

moment = sys.argv[2]

class Killer(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if moment == "step" and state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)

if moment == "save":
    kept = torch.save
    def half(obj, f, *args, **kwargs):
        if "checkpoint-4" in str(f) and "optimizer" in str(f):
            open(f, "wb").write(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        return kept(obj, f, *args, **kwargs)
    torch.save = half
config = load_config(sys.argv[1])
from shared.finetune.training.output_paths import output_for
output = output_for(sys.argv[1], config)
train.run(config, output.checkpoints(output.key(config, 0)), 0, callbacks=[Killer()], score=False)
"""


@pytest.mark.parametrize(("moment", "last"), [("step", 4), ("save", 2)])
def test_resume_after_kill_gives_the_uninterrupted_weights(place, tmp_path, moment, last, capsys):
    training = {"max_steps": 8, "save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "cosine"}
    whole, broken = configured(place, f"whole-{moment}", **training), configured(place, f"broken-{moment}", **training)
    dropout = ["peft.lora_dropout=0.1"]
    assert train.main(["--config", str(whole), "--no_score", *dropout]) == 0
    text = broken.read_text().replace("lora_alpha: 8", "lora_alpha: 8\n  lora_dropout: 0.1")
    broken.write_text(text)
    number, said = forked(KILLED, tmp_path, str(broken), moment)
    assert number == -signal.SIGKILL, said[-2000:]
    assert not (place / f"out-broken-{moment}").exists()
    capsys.readouterr()
    assert train.main(["--config", str(broken), "--no_score", "--resume"]) == 0
    assert f"resuming from checkpoint-{last}" in capsys.readouterr().out
    first, second = (
        load_file(place / f"out-{name}-{moment}" / "adapter" / "adapter_model.safetensors")
        for name in ("whole", "broken")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_training_that_had_ended_is_taken_as_it_is(place, tmp_path):
    """A notebook that is started again after its training: no step is done, and it finds the metrics that it reads."""
    config = load_config(configured(place, "ended", max_steps=4, save_strategy="steps", save_steps=2))
    first = trainer_for(config, tmp_path)
    whole = first.train()
    again = trainer_for(config, tmp_path)
    taken = again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert taken.global_step == whole.global_step == 4 and whole.metrics.keys() >= taken.metrics.keys() > set()
    assert taken.metrics["train_runtime"] == 0 and [e["loss"] for e in again.state.log_history if "loss" in e]
    for name, one in first.model.named_parameters():
        assert torch.equal(again.model.get_parameter(name), one), name


def test_another_configuration_does_not_resume_it(place):
    from shared.finetune.training.output_paths import checkpoint_key

    config = load_config(configured(place))
    same = config.changed(evaluation={"rows": 3})
    assert checkpoint_key(config, 0) == checkpoint_key(same, 0)
    assert checkpoint_key(config, 0) != checkpoint_key(config, 1)
    assert checkpoint_key(config, 0) != checkpoint_key(config.changed(peft={"lora_r": 2}), 0)


def test_errors_come_with_their_fix(place, tmp_path, capsys):
    file = configured(place, "bad")
    assert train.main(["--config", str(file), "model.name_or_path=nobody/no-such-model"]) == 1
    assert "nobody/no-such-model" in capsys.readouterr().err
    assert train.main(["--config", str(file), "training.fp16=true", "training.use_cpu=true"]) == 1
    assert "fp16" in capsys.readouterr().err
    assert train.main(["--config", str(tmp_path / "none.yaml")]) == 1
