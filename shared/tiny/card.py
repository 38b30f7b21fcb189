"""Model cards of the micro-models: written from the model's files, so that they agree with them."""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path

from shared.tiny.tasks import TASKS

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class About:
    """The texts of a model card; each module of ``shared.tiny.pretrain`` has one, called ``ABOUT``.

    Attributes:
        kind: For example "A Llama-architecture language model".
        pieces: Its tokenizer, for example "byte-level BPE pieces".
        tag: The Hub's pipeline tag.
        text: Source of its training text, and what it has not seen.
        knows: What it has learnt, and what is left for fine-tuning.
        course: Key of the log -> heading, for the table of pretraining metrics.
        trained: How the stored weights were made: commands, time, machine.
    """

    kind: str
    pieces: str
    tag: str
    text: str
    knows: str
    course: dict[str, str]
    trained: str


HEAD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: {about.tag}
---

# Micro-model: {name}

{about.kind} of {parameters:,} parameters ({layers} layers of {hidden}, {vocab:,} {about.pieces}), pretrained from
random weights by `python -m shared.tiny.pretrain {name}` on text that this project generates. With it the labs show
parameter-efficient fine-tuning on any CPU and without network. Its vocabulary and knowledge are limited to the
generated texts; use it for teaching only.

{about.knows}

| | |
|---|---|
| weights | `model.safetensors`, float16, {size:.2f} MB; load in float32 |
| SHA-256 | `{sha256}` |
| text | {about.text} |
| recipe | {phases}; AdamW, warm-up, cosine decay; seed {seed}; all of it in `pretraining.json` |
| held out | {figures} |

{about.trained} Rounding differs between machines, thread counts and versions, so a rebuilt model is similar but has
another checksum.

## Pretraining metrics

{course}

## Reference scores

{reference_scores}
"""


def write_card(name: str, folder: Path | None = None) -> Path:
    """Write README.md of a micro-model from its weights, pretraining.json and the measured reference scores.

    Args:
        name: Name of the model.
        folder: Its folder; by default the package's.

    Returns:
        The card.
    """
    folder = folder or HERE / "models" / name
    about = importlib.import_module(f"shared.tiny.pretrain.{name}").ABOUT
    weights = (folder / "model.safetensors").read_bytes()
    shape = json.loads((folder / "config.json").read_text(encoding="utf8"))
    pretraining = json.loads((folder / "pretraining.json").read_text(encoding="utf8"))
    log, sha256 = pretraining["log"], hashlib.sha256(weights).hexdigest()
    text = HEAD.format(
        name=name, about=about, parameters=pretraining["parameters"], vocab=shape["vocab_size"],
        layers=_first(shape, "num_hidden_layers", "n_layer", "num_layers"),
        hidden=_first(shape, "hidden_size", "n_embd", "d_model"), size=len(weights) / 1e6, sha256=sha256,
        phases=_phases(log), seed=pretraining["recipe"]["seed"],
        figures=", ".join(f"{title} {_figure(log[-1][key])}" for key, title in about.course.items()),
        course=_course(log, about.course), reference_scores=_reference_scores(name, sha256),
    )  # fmt: skip
    card = folder / "README.md"
    card.write_text(text, encoding="utf8")
    return card


def _first(shape: dict, *keys: str) -> int:
    return next(shape[key] for key in keys if key in shape)


def _phases(log: list[dict]) -> str:
    last = {entry["phase"]: entry["step"] for entry in log}
    return ", then ".join(f"{name} to step {step:,}" for name, step in last.items())


def _figure(value: float) -> str:
    return f"{value:.3f}"


def _course(log: list[dict], columns: dict[str, str]) -> str:
    steps = max(1, len(log) // 12)
    chosen = [entry for i, entry in enumerate(log) if (i + 1) % steps == 0 or i == 0 or i + 1 == len(log)]
    lines = ["| step | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {e['step']:,} | " + " | ".join(_figure(e[key]) for key in columns) + " |" for e in chosen]
    return "\n".join(lines)


def _reference_scores(name: str, sha256: str) -> str:
    from shared.tiny.reference_scores_report import table

    file = HERE / "reference_scores.json"
    if not file.is_file():
        return "Not measured yet: `python -m shared.tiny.reference_scores`."
    found = json.loads(file.read_text(encoding="utf8"))
    if found["sha256"].get(name) != sha256:
        return "Not measured yet for these weights: `python -m shared.tiny.reference_scores`."
    return (
        f"Measured by `{found['command']}` with seeds {found['seeds']} on a {found['machine']}; data "
        f"`{found['data']}`; mean ± standard deviation over the seeds.\n\n"
        + table([r for r in found["results"] if TASKS[r["task"]].model == name])
    )
