"""How much of the responses the longest sequence leaves: counted as TRL prepares the rows."""

from __future__ import annotations

import pytest
import random_models as world
from datasets import Dataset

from shared.errors import DataError
from shared.finetune.config import load_config
from shared.finetune.data.lengths import check_lengths, response_lengths
from shared.finetune.models import load_base
from shared.finetune.train import build_trainer, sft_arguments

LIMIT = 16


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lengths")
    world.make_model(folder / "model")
    world.make_rows(folder / "rows.jsonl")

    def config(**sft):
        values = world.config_dict(folder / "model", folder / "rows.jsonl")
        values["sft"] = {"max_length": LIMIT, **sft}
        return load_config(world.write_config(folder / "config.yaml", values))

    return config


def pairs(prompts: list[int]) -> Dataset:
    """Rows with prompts of so many tokens and responses of three."""
    return Dataset.from_dict({"prompt": ["w1 " * (size - 1) + "w2" for size in prompts],
                              "completion": [" w3 w4 w5"] * len(prompts)})  # fmt: skip


def test_rows_are_counted_as_trl_drops_them(made, tmp_path):
    """14 + 3 + the end token lose the end; 16 and 30 lose the response, and TRL drops them without a word."""
    config, rows = made(), pairs([4, 12, 13, 14, 15, 16, 30])
    model, tokenizer = load_base(config)
    found = response_lengths(rows, tokenizer, config.sft)
    assert (found.rows, found.lost, found.ended) == (7, 2, 3)
    assert (found.longest_prompt, found.longest_row, found.limit) == (30, 34, LIMIT)
    trainer = build_trainer(config, model, tokenizer, rows, None, sft_arguments(config, tmp_path))
    assert len(trainer.train_dataset) == found.rows - found.lost
    whole = [row for row in trainer.train_dataset if row["labels"][-1] == tokenizer.eos_token_id]
    assert len(whole) == found.rows - found.lost - found.ended


@pytest.mark.parametrize(("strategy", "lost"), [("bfd", 2), ("bfd_split", 0), ("wrapped", 0)])
def test_packing_that_goes_on_in_the_next_sequence_cuts_nothing_off(made, strategy, lost):
    config = made(packing=True, packing_strategy=strategy)
    _, tokenizer = load_base(config)
    assert response_lengths(pairs([4, 16, 30]), tokenizer, config.sft).lost == lost


def test_a_share_above_a_tenth_is_serious_and_all_of_them_an_error(made):
    config = made()
    _, tokenizer = load_base(config)
    few, some, all_ = (
        response_lengths(pairs(sizes), tokenizer, config.sft)
        for sizes in ([4] * 9 + [20], [4] * 8 + [20] * 2, [20, 40])
    )
    assert not few.is_serious and some.is_serious and all_.is_serious
    for found in (few, some):
        check_lengths(found, config.sft)
    with pytest.raises(DataError, match=r"the response of 2 of 2 rows \(100%\) is cut off entirely.* the longest 40"):
        check_lengths(all_, config.sft)
    assert "write max_length: 64" in all_.fix() and "max_seq_length: 64" in all_.fix("max_seq_length")
