"""Pretrain a micro-model from nothing: ``python -m shared.tiny.pretrain llama``."""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from shared.tiny.corpus import HELD_OUT, rows
from shared.tiny.tokens import train_tokenizer


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a pretrained model."""

    seed: int = 20
    vocab_size: int = 1408
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    inner: int = 384
    context: int = 512
    row: int = 128
    batch: int = 32
    early: int = 1000  # steps at first on text that is mostly registers and games
    early_dense: float = 0.9
    dense: float = 0.4
    steps: int = 3000
    horizon: int = 4500  # steps after which the first phase's rate would reach its end
    late: int = 2000  # steps of the second phase: quizzes join, fresh optimizer, rate falls to its end
    late_rate: float = 2e-3
    quizzes: float = 0.5
    rate: float = 3e-3
    warmup: int = 100
    decay: float = 0.05
    spread: float = 0.05  # standard deviation of the initial weights
    fresh: int = 250  # steps for which text is generated at a time


def new_model(recipe: Recipe, vocab_size: int, end: int, pad: int) -> LlamaForCausalLM:
    """Return a randomly initialised model of the recipe's shape."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size, hidden_size=recipe.hidden, intermediate_size=recipe.inner,
            num_hidden_layers=recipe.layers, num_attention_heads=recipe.heads,
            max_position_embeddings=recipe.context, tie_word_embeddings=True, initializer_range=recipe.spread,
            bos_token_id=end, eos_token_id=end, pad_token_id=pad,
        )
    )  # fmt: skip


@torch.no_grad()
def held_out(model, tokenizer, recipe: Recipe, count: int = 128) -> dict[str, float]:
    """Measure the model on text that pretraining never sees.

    Returns:
        ``loss`` over all tokens [nats], ``retrieval_loss`` [nats] and ``retrieval`` (share right) over the first
        tokens of the words that the context determines.
    """
    ids, marks = rows(tokenizer, count, recipe.row, recipe.seed + HELD_OUT)
    loss = torch.cat([_losses(model, part.long()) for part in ids.split(32)])
    marks = marks[:, 1:]
    hit = loss[..., 1][marks]
    return {
        "loss": loss[..., 0].mean().item(),
        "retrieval_loss": loss[..., 0][marks].mean().item(),
        "retrieval": hit.mean().item(),
    }


def _losses(model, ids: torch.Tensor) -> torch.Tensor:
    logits, target = model(input_ids=ids).logits[:, :-1].float(), ids[:, 1:]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
    return torch.stack([loss.view_as(target), (logits.argmax(-1) == target).float()], -1)


def text_at(recipe: Recipe, step: int) -> dict[str, float]:
    """Mixture of the text from which step ``step`` learns, for ``rows``."""
    if step < recipe.steps:
        return {"dense": recipe.early_dense if step < recipe.early else recipe.dense}
    return {"dense": recipe.dense, "quizzes": recipe.quizzes}


def rate_at(recipe: Recipe, step: int) -> float:
    """Learning rate of a step: warm-up, then cosine down to 2 %, in each of the two phases."""
    peak, end = (recipe.rate, recipe.horizon) if step < recipe.steps else (recipe.late_rate, recipe.late)
    local = step if step < recipe.steps else step - recipe.steps
    return peak * min(1.0, (local + 1) / recipe.warmup) * (0.02 + 0.98 * (1 + math.cos(math.pi * local / end)) / 2)


def new_optimizer(model, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with weight decay on the matrices only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": recipe.decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98), fused=True)


def train(
    recipe: Recipe,
    steps: int | None = None,
    compiled: bool = True,
    report=print,
    keep=None,
    late_from=None,
    tokenizer=None,
):
    """Run the recipe.

    Args:
        recipe: The recipe.
        steps: Stop after so many steps (the schedule stays the recipe's).
        compiled: Compile the forward pass (needs a C++ compiler; about 2.5 times as fast).
        keep: Called with model, tokenizer and log every 500 steps, to keep what there is.
        report: Called with one line of progress now and then.
        tokenizer: A ready tokenizer instead of a new one.
        late_from: Folder kept at the end of the first phase, to run the second one only.

    Returns:
        Model, tokenizer and the log, a list of dicts.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = tokenizer or train_tokenizer(recipe.seed, recipe.vocab_size, recipe.context)
    model, log, begin = new_model(recipe, len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id), [], 0
    if late_from:
        model = LlamaForCausalLM.from_pretrained(late_from)
        log, begin = json.loads((late_from / "pretraining.json").read_text())["log"], recipe.steps
    optimizer = new_optimizer(model, recipe)
    forward = torch.compile(model.forward) if compiled else model.forward
    began, total = time.perf_counter(), steps or recipe.steps + recipe.late
    for step in range(begin, total):
        if step % recipe.fresh == 0:
            ids, _ = rows(tokenizer, recipe.fresh * recipe.batch, recipe.row, recipe.seed + 1 + step,
                          **text_at(recipe, step))  # fmt: skip
        if step == recipe.steps:  # the second phase starts from the weights as they are kept: in 16 bit
            for parameter in model.parameters():
                parameter.data = parameter.data.half().float()
            optimizer = new_optimizer(model, recipe)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(recipe, step)
        at = step % recipe.fresh * recipe.batch
        batch = ids[at : at + recipe.batch].long()
        loss = forward(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 100 == 0 or step + 1 == total:
            log.append({"step": step + 1, "train_loss": loss.item(), **held_out(model, tokenizer, recipe, 64)})
            if keep and (step + 1) % 500 == 0:
                keep(model, tokenizer, log)
            line = " ".join(f"{k} {v:.3f}" for k, v in list(log[-1].items())[1:])
            report(f"step {step + 1:5d}/{total} {line} {time.perf_counter() - began:5.0f} s", flush=True)
    return model, tokenizer, log


def save(model, tokenizer, recipe: Recipe, log: list[dict], folder: Path) -> None:
    """Write the model in 16 bit, its tokenizer, generation settings, recipe and log."""
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, max_new_tokens=40,
    )  # fmt: skip
    copy.deepcopy(model).to(torch.float16).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors makes its file private; in a package others have to read it
    about = {"recipe": asdict(recipe), "parameters": model.num_parameters(), "log": log}
    (folder / "pretraining.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf8")
    from shared.tiny.card import write_card

    write_card("llama", folder)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=["llama"])
    parser.add_argument("--out", type=Path, default=None, help="folder to write (default: the package's own)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="where there is no C++ compiler")
    parser.add_argument("--late-from", type=Path, help="folder kept at the end of the first phase: run the second only")
    args = parser.parse_args()
    recipe = Recipe()
    folder = args.out or Path(__file__).parent / "models" / args.name

    def keep(model, tokenizer, log):
        save(model, tokenizer, recipe, log, folder)

    torch.set_num_threads(args.threads)
    keep(*train(recipe, compiled=not args.no_compile, keep=keep, late_from=args.late_from))


if __name__ == "__main__":
    main()
