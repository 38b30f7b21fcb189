"""What holds for every method: what trains, what stays, and that a reload gives the same outputs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import random_models as world
import torch
from method_cases import answer, batch_for, configured
from safetensors.torch import save_file
from transformers import TrainerCallback

from shared.finetune import train
from shared.finetune.methods import METHODS
from shared.finetune.models import load_base, load_tuned, storage
from shared.finetune.tasks import TASKS

# What the parameters of the methods are called that do not go through peft
OWN = {
    "adapter": (".adapters.task.", "LayerNorm", "ln_", "layernorm", "layer_norm", "model.norm"),
    "bitfit": (".bias",),
    "head": (),
    "full": ("",),
}


class Start(TrainerCallback):
    """Keeps what is trained as it was before the first step."""

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.trained = {name: one.detach().clone() for name, one in model.named_parameters() if one.requires_grad}


def parameter_names(method: str, model: Any) -> tuple[str, ...]:
    """What a method's own parameters are called: peft names them by a prefix."""
    if METHODS[method].peft_config is None:
        return OWN[method]
    return ("prompt_encoder",) if model.active_peft_config.is_prompt_learning else (model.base_model.prefix,)


def check_method(bases: Path, folder: Path, method: str, task: str, kind: str, scored: bool = False) -> str:
    """Train two steps, check what moved and what did not, store, reload, compare.

    Args:
        bases: The folder of the fixture ``bases``.
        folder: Where to write: ``config.yaml``, ``out`` and ``stored.safetensors`` (a batch and the outputs for it).
        method: The method.
        task: The task type.
        kind: The architecture.
        scored: Whether the test split is answered at the end.

    Returns:
        The folder, as text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = configured(bases, method, task, kind)
    base, _ = load_base(config)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    heads = ("classifier", "score", "qa_outputs", "pooler") if TASKS[task].has_head else ()
    start = Start()
    result = train.run(config, folder / "checkpoints", seed=0, callbacks=[start], score=scored)
    _check_what_moved(result.trainer.model, start.trained, before, heads, method)
    _check_metrics(result, task, scored)
    _check_reload(result, config, base, folder, task)
    return str(folder)


def _check_what_moved(model: Any, at_start: dict, before: dict, heads: tuple[str, ...], method: str) -> None:
    trained = {name for name, one in model.named_parameters() if one.requires_grad}
    expected = (*parameter_names(method, model), *heads)
    assert trained and all(any(part in name for part in expected) for name in trained), sorted(trained)
    moved = [name for name, one in at_start.items() if not torch.equal(model.get_parameter(name), one)]
    assert len(moved) > 0.6 * len(trained), f"did not move: {sorted(trained - set(moved))}"
    for head in heads:
        if any(f"{head}." in name for name in before):
            assert any(f"{head}." in name for name in moved), f"{head} is not trained"
    if method != "full":
        frozen = {name: one for name, one in model.state_dict().items() if name not in trained}
        for name, tensor in before.items():
            spots = [spot for spot in frozen if spot.replace(".base_layer", "").endswith(name)]
            if not any(head in name for head in heads) and spots:
                assert torch.equal(frozen[spots[0]], tensor), f"{name} of the base has moved"


def _check_metrics(result: Any, task: str, scored: bool) -> None:
    assert all(math.isfinite(step["loss"]) for step in result.history if "loss" in step)
    assert {"seconds", "steps", "trainable", "total", "method", "seed"} <= result.metrics.keys()
    if scored:
        scores = {name: result.metrics[name] for name in TASKS[task].metrics}
        correlation = scores.pop("matthews", 0)  # of a model that learnt nothing it may be below zero
        assert -1 <= correlation <= 1 and all(0 <= one <= 1 for one in scores.values())
        assert result.metrics["main_metric"] in TASKS[task].metrics


def _check_reload(result: Any, config: Any, base: Any, folder: Path, task: str) -> None:
    model = result.trainer.model
    storage.store(model, folder / "out", config)
    result.trainer.processing_class.save_pretrained(folder / "out")
    assert not [file for file in (folder / "out").iterdir() if file.suffix in (".bin", ".pt")]
    torch.manual_seed(99)  # another random head than at the start
    again, tokenizer = load_tuned(config, folder / "out")
    batch = batch_for(config, base, tokenizer)
    torch.testing.assert_close(answer(again, batch), answer(model, batch), rtol=1e-4, atol=1e-5)
    plain = answer(base, batch)
    assert plain.shape == answer(again, batch).shape or task == "CAUSAL_LM"
    if plain.shape == answer(again, batch).shape:
        assert (plain - answer(again, batch)).abs().max() > 1e-4, "two steps have changed nothing"
    world.write_config(folder / "config.yaml", config.given())
    save_file({**batch, "answer": answer(model, batch)}, folder / "stored.safetensors")
