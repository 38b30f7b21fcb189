"""Rows to prompt and completion, and which tokens the loss counts."""

from __future__ import annotations

import json

import pytest
import random_models as world
from datasets import Dataset

from shared.errors import DataError
from shared.finetune import data
from shared.finetune.schema.sections import DatasetSection


def section(**values):
    return DatasetSection(**{"name": "rows.jsonl", **values})


TEMPLATE = section(prompt_template="Q: {question}\nA: {answer}\n")
MARKER = section(response_marker="### Assistant:")


def test_template_splits_before_the_response_and_gives_it_the_blank():
    prompt, completion = data.split_row({"question": "why?", "answer": "so."}, TEMPLATE)
    assert (prompt, completion) == ("Q: why?\nA:", " so.")


def test_marker_splits_at_its_last_occurrence():
    text = "### Human: a### Assistant: b### Human: c### Assistant: d"
    assert data.split_row({"text": text}, MARKER) == (text[: -len(" d")], " d")


def test_template_columns_may_hold_braces():
    prompt, _ = data.split_row({"question": "{x} {answer}", "answer": "y"}, TEMPLATE)
    assert "{x} {answer}" in prompt


def test_max_words_cuts_only_its_column():
    chosen = section(prompt_template="{text} -> {label}", max_words={"text": 2})
    assert data.split_row({"text": "a b  c d", "label": "x y z"}, chosen) == ("a b ->", " x y z")


@pytest.mark.parametrize(
    ("chosen", "row", "word"),
    [
        (TEMPLATE, {"qestion": "a", "answer": "b"}, "qestion"),
        (MARKER, {"text": "no marker here"}, "marker"),
        (MARKER, {"texts": "x"}, "texts"),
        (TEMPLATE, {"question": "a", "answer": ""}, "empty"),
        (MARKER, {"messages": [{"role": "user"}]}, "columns are messages"),
    ],
)
def test_bad_rows_say_what_is_wrong(chosen, row, word):
    with pytest.raises(DataError) as caught:
        data.to_prompt_completion(Dataset.from_list([row]), chosen)
    assert word in str(caught.value) and caught.value.fix


def test_inference_prompts_equal_training_prompts():
    assert data.prompt_of({"question": "why?"}, TEMPLATE) == "Q: why?\nA:"
    assert data.prompt_of_text("why?", TEMPLATE) == "Q: why?\nA:"
    wrapped = section(response_marker="### Assistant:", input_template="### Human: {text}### Assistant:")
    assert data.prompt_of_text("hi", wrapped) == "### Human: hi### Assistant:"
    assert data.prompt_of_text("### Human: hi### Assistant: old answer", wrapped) == "### Human: hi### Assistant:"
    with pytest.raises(DataError, match="marker"):
        data.prompt_of_text("hi", MARKER)


def test_local_file_is_split_into_disjoint_parts(tmp_path):
    file = world.make_rows(tmp_path / "rows.jsonl", 50)
    chosen = section(name=str(file), prompt_template="{question} {answer}", max_train_rows=20)
    parts = {split: data.load_rows(chosen, split) for split in ("train", "eval", "test")}
    assert [len(parts[split]) for split in parts] == [20, 5, 5]
    seen = [row["question"] for rows in parts.values() for row in rows]
    assert len(set(seen)) == len(seen)
    assert data.load_rows(chosen, "train")["question"] == parts["train"]["question"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_folder_with_a_file_per_split(tmp_path, suffix):
    rows = Dataset.from_list([{"text": "a, b", "label": "x"}, {"text": "c", "label": "y"}])
    for split in ("train", "test"):
        getattr(rows, f"to_{suffix.replace('jsonl', 'json')}")(str(tmp_path / f"{split}.{suffix}"))
    chosen = section(name=str(tmp_path), prompt_template="{text}{label}")
    assert data.load_rows(chosen, "train").to_list() == rows.to_list()
    with pytest.raises(DataError, match="no split 'validation'; it has: test, train"):
        data.load_rows(chosen, "eval")


def test_damaged_file_names_its_line(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(DataError, match="line 2"):
        data.load_rows(section(name=str(tmp_path / "rows.jsonl"), prompt_template="{a}"), "train")


def test_hub_data_set_with_its_true_column(tmp_path, monkeypatch):
    """openassistant-guanaco from a prepared cache: one column, text; no network."""
    import datasets

    rows = Dataset.from_list([{"text": "### Human: hi### Assistant: hello"}])
    asked = []

    def from_cache(name, config, *, split, revision):
        asked.append((name, config, split, revision))
        return rows

    monkeypatch.setattr(datasets, "load_dataset", from_cache)
    chosen = section(name="timdettmers/openassistant-guanaco", eval_split="test", response_marker="### Assistant:")
    pairs = data.to_prompt_completion(data.load_rows(chosen, "eval"), chosen)
    assert asked == [("timdettmers/openassistant-guanaco", None, "test", None)]
    assert pairs[0] == {"prompt": "### Human: hi### Assistant:", "completion": " hello"}


def test_unreachable_hub_says_what_to_do_instead():
    chosen = section(name="nobody/no-such-set", response_marker="### Assistant:")
    with pytest.raises(DataError) as caught:
        data.load_rows(chosen, "train")
    assert "nobody/no-such-set" in str(caught.value) and "fetch-models" in caught.value.fix


def test_loss_counts_the_answer_and_the_end_token_only(tmp_path):
    """Token by token, through SFTTrainer's own preparation and collator."""
    from shared.finetune.config import load_config
    from shared.finetune.models import load_base
    from shared.finetune.train import sft_arguments
    from shared.finetune.training.trainers import build_trainer

    model = world.make_model(tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"question": "w1 w2 w3", "answer": "w4 w5"}) + "\n" for _ in range(10)))
    config = load_config(world.write_config(tmp_path / "c.yaml", world.config_dict(model, rows)))
    base, tokenizer = load_base(config)
    pairs = data.to_prompt_completion(data.load_rows(config.dataset, "train"), config.dataset)
    trainer = build_trainer(config, base, tokenizer, pairs, None, sft_arguments(config, tmp_path / "out"))
    batch = next(iter(trainer.get_train_dataloader()))
    ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    words = tokenizer.convert_ids_to_tokens(ids)
    assert words == ["Question", ":", "w1", "w2", "w3", "Answer", ":", "w4", "w5", "<eos>"]
    assert labels == [-100] * 7 + ids[7:]


def test_tiny_task_is_split_and_disjoint():
    pytest.importorskip("shared.tiny")
    chosen = section(name="tiny:guanaco", response_marker="### Assistant:", max_train_rows=64)
    train, test = (data.to_prompt_completion(data.load_rows(chosen, split), chosen) for split in ("train", "test"))
    assert len(train) == 64 and not set(train["prompt"]) & set(test["prompt"])
    assert all(prompt.endswith("### Assistant:") for prompt in test["prompt"])


def test_the_tokenizer_gives_only_what_the_model_accepts(tmp_path):
    """SmolLM2's tokenizer also gives token_type_ids, which a Llama's generate refuses."""
    import json
    import shutil

    from shared.finetune.config import load_config
    from shared.finetune.models import load_base
    from shared.paths import lab_folder
    from shared.tiny import model_path

    shutil.copytree(model_path("llama"), tmp_path / "model")
    file = tmp_path / "model" / "tokenizer_config.json"
    settings = json.loads(file.read_text()) | {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    file.write_text(json.dumps(settings))
    config = load_config(lab_folder("Lab-01-LoRA") / "configs" / "tiny.yaml")
    model, tokenizer = load_base(config.changed(model={"name_or_path": str(tmp_path / "model")}))
    batch = tokenizer("Ann lives in Rome.", return_tensors="pt")
    assert set(batch) == {"input_ids", "attention_mask"}
    model.generate(**batch, max_new_tokens=1)
