"""Model cards of the micro-models: written from the files, so that they can't contradict them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEAD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# Tiny world: {name}

A Llama-architecture language model of {parameters:,} parameters ({layers} layers of {hidden}, {vocab:,} byte-level BPE
pieces, tied embeddings), pretrained from nothing by `python -m shared.tiny.pretrain {name}` on text that this project
generates. It exists so that parameter-efficient fine-tuning can be seen working on any CPU, without network. It knows
one small world of people, towns, jobs, pets, prices and opinions, and nothing else; use it for teaching only.

It writes the prose of its world and can find in a text what is asked about in prose. It does **not** follow the formats
`### Human: … ### Assistant: …` and `### Instruction: …`: that is what fine-tuning has to teach.

| | |
|---|---|
| weights | `model.safetensors`, float16, {size:.2f} MB; load in float32 |
| SHA-256 | `{sha256}` |
| text | `shared/tiny/corpus.py`, seed {seed}; {tokens:.1f} M tokens; no story of the tasks' splits is among it |
| recipe | {steps} + {late} steps of {batch} × {row} tokens, AdamW, learning rate {rate}, then {late_rate} \
with quizzes in the text; warm-up, cosine decay, weight decay {decay}; \
all of it in `pretraining.json` |
| special tokens | `</s>` (id {eos}) parts documents, begins and ends; `<pad>` (id {pad}) |
| held-out loss | {loss:.3f} nats/token; on words that the context determines\
 {retrieval_loss:.3f} nats, {retrieval:.1%} right |

The two phases were run one after the other (`--late-from`), on one thread: 1,118 s and 696 s, beside other work. Other
machines, thread counts and versions round differently, so a rebuild gives a like model, not an equal hash.

## When retrieval appears

Loss on held-out text and the share of context-determined words that are predicted, in the course of pretraining:

| step | loss | loss on determined words | determined words right |
|---|---|---|---|
{course}

## Gates

{gates}
"""


def write_card(name: str, folder: Path | None = None) -> Path:
    """Write README.md of a micro-model from its weights, pretraining.json and the measured gates.

    Args:
        name: Name of the model.
        folder: Its folder; by default the package's.

    Returns:
        The card.
    """
    folder = folder or HERE / "models" / name
    weights = (folder / "model.safetensors").read_bytes()
    shape = json.loads((folder / "config.json").read_text(encoding="utf8"))
    pretraining = json.loads((folder / "pretraining.json").read_text(encoding="utf8"))
    recipe, log = pretraining["recipe"], pretraining["log"]
    last = log[-1]
    text = HEAD.format(
        name=name, parameters=pretraining["parameters"], layers=shape["num_hidden_layers"],
        hidden=shape["hidden_size"], vocab=shape["vocab_size"], size=len(weights) / 1e6,
        sha256=hashlib.sha256(weights).hexdigest(), tokens=last["step"] * recipe["batch"] * recipe["row"] / 1e6,
        eos=shape["eos_token_id"], pad=shape["pad_token_id"],
        **{key: recipe[key] for key in ("seed", "steps", "batch", "row", "rate", "late", "late_rate", "decay")},
        **{key: last[key] for key in ("loss", "retrieval_loss", "retrieval")},
        course="\n".join(_course(log)), gates=_gates(hashlib.sha256(weights).hexdigest()),
    )  # fmt: skip
    card = folder / "README.md"
    card.write_text(text, encoding="utf8")
    return card


def _course(log: list[dict]) -> list[str]:
    steps = max(1, len(log) // 12)
    chosen = [entry for i, entry in enumerate(log) if (i + 1) % steps == 0 or i == 0 or i + 1 == len(log)]
    return [f"| {e['step']} | {e['loss']:.3f} | {e['retrieval_loss']:.3f} | {e['retrieval']:.1%} |" for e in chosen]


def _gates(sha256: str) -> str:
    from shared.tiny.gates import table

    file = HERE / "gates.json"
    if not file.is_file():
        return "Not measured yet: `python -m shared.tiny.gates`."
    found = json.loads(file.read_text(encoding="utf8"))
    if found["sha256"] != sha256:
        return "Not measured yet for these weights: `python -m shared.tiny.gates`."
    return (
        f"Measured by `{found['command']}` with seeds {found['seeds']} on a {found['machine']}; data "
        f"`{found['data']}`; mean ± standard deviation over the seeds.\n\n{table(found['results'])}"
    )
