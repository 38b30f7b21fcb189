"""All steps in one file: train an adapter, use it, merge it into its base, use the merged model.

python examples/quick_start.py                  # a micro-BERT, no network, under a minute on two cores
python examples/quick_start.py my.yaml          # any configuration whose adapter can be merged
python examples/quick_start.py training.learning_rate=1e-3
"""

from __future__ import annotations

import argparse
from pathlib import Path

from shared.errors import PeftLabsError
from shared.finetune.config import load_config
from shared.finetune.data import load_rows
from shared.finetune.evaluation import evaluate_rows, scores_text
from shared.finetune.merge_adapter import merge
from shared.finetune.models import load_tuned
from shared.finetune.training.output_paths import output_for
from shared.finetune.training.saving import save
from shared.finetune.training.training_run import run
from shared.library_notices import hide_library_notices
from shared.paths import repo_root

DEFAULT = repo_root() / "shared/finetune/configs/tiny/glue_mrpc.yaml"
SEED = 0


def main() -> None:
    """Train → inference → merge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="a .yaml file and key=value words")
    words = parser.parse_args().words
    file = Path(words.pop(0)) if words and words[0].endswith(".yaml") else DEFAULT
    hide_library_notices()

    config = load_config(file, words)  # lists all problems, with file, line and fix
    print(f"1. train: {config.peft.method} on {config.model.name_or_path}, {config.dataset.name}")
    output = output_for(file, config)
    key = output.key(config, SEED)
    result = run(config, output.checkpoints(key), seed=SEED, show=True)
    folder = output.write(lambda out: save(result, config, out), [SEED])
    output.clear_checkpoints(key)
    trained, total = result.metrics["trainable"], result.metrics["total"]
    print(f"   {trained:,} of {total:,} parameters; {scores_text(result.metrics)}; written to {folder}")

    print("2. inference: adapter and base loaded from disk")
    model, tokenizer = load_tuned(config, folder)
    for row, one in zip(load_rows(config.dataset, "test"), answers(model, tokenizer, config), strict=False):
        print(f"   {list(row.values())[:2]} -> {one['answer']} (right: {one['reference']})")

    print("3. merge: one model that needs no peft")
    merged = folder.with_name(f"{folder.name}-merged")
    report = merge(config, folder, merged, verify=True)
    print(f"   {report.layers} weights merged, logits equal to {report.relative_error:.0e}; written to {merged}")
    same = answers(*load_tuned(config, merged), config) == answers(model, tokenizer, config)
    print(f"   merged and adapted model give the same answers: {'yes' if same else 'no'}")


def answers(model, tokenizer, config, rows: int = 3) -> list[dict]:
    """The answers to the first rows of the test split."""
    few = config.changed(evaluation={"rows": rows})
    return evaluate_rows(model, tokenizer, few)["answers"]


if __name__ == "__main__":
    try:
        main()
    except PeftLabsError as error:
        raise SystemExit(f"error: {error}") from error
