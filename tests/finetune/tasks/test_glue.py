"""GLUE's nine tasks with their true columns, class names and splits, from a prepared cache of the Hub's data sets."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import hub_cache
import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, Value

from shared.errors import DataError
from shared.finetune import train
from shared.finetune.config import load_config
from shared.finetune.data import load_rows
from shared.finetune.evaluation import scoring
from shared.finetune.metrics import compute
from shared.finetune.tasks import TASKS, main_metric, score_names, seq_cls
from shared.finetune.tasks.glue import GLUE
from shared.finetune.validate_config import validate
from shared.paths import repo_root

FULL = repo_root() / "shared/finetune/configs/glue_mrpc.yaml"
# As nyu-mll/glue declares them: columns of the text, names of the classes (none: regression), headline
TRUE = {
    "cola": (["sentence"], ["unacceptable", "acceptable"], "matthews"),
    "sst2": (["sentence"], ["negative", "positive"], "accuracy"),
    "mrpc": (["sentence1", "sentence2"], ["not_equivalent", "equivalent"], "accuracy"),
    "stsb": (["sentence1", "sentence2"], None, "pearson"),
    "qqp": (["question1", "question2"], ["not_duplicate", "duplicate"], "accuracy"),
    "mnli": (["premise", "hypothesis"], ["entailment", "neutral", "contradiction"], "accuracy"),
    "qnli": (["question", "sentence"], ["entailment", "not_entailment"], "accuracy"),
    "rte": (["sentence1", "sentence2"], ["entailment", "not_entailment"], "accuracy"),
    "wnli": (["sentence1", "sentence2"], ["not_entailment", "entailment"], "accuracy"),
}  # fmt: skip
CLASSES = [name for name, (_, names, _) in TRUE.items() if names]


def splits_of(task: str) -> list[str]:
    if task != "mnli":
        return ["train", "validation", "test"]
    return ["train", *(f"{split}_{kind}" for split in ("validation", "test") for kind in ("matched", "mismatched"))]


def rows_of(task: str, split: str) -> Dataset:
    """Twenty rows of a split, ten of MNLI's mismatched one; test splits hide their labels."""
    columns, names, _ = TRUE[task]
    number = 10 if split.endswith("mismatched") else 20
    kinds = {name: Value("string") for name in columns}
    kinds |= {"label": ClassLabel(names=names) if names else Value("float32"), "idx": Value("int32")}
    labels = [n % len(names) if names else n / 4 for n in range(number)]
    labels = [-1] * number if split.startswith("test") else labels
    texts = {column: [f"w{n} w{n + 3} w{place}" for n in range(number)] for place, column in enumerate(columns)}
    return Dataset.from_dict({**texts, "label": labels, "idx": range(number)}, features=Features(kinds))


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """The cache that load_dataset("nyu-mll/glue", task) leaves."""
    cache = tmp_path_factory.mktemp("cache")
    for task in TRUE:
        hub_cache.fill(cache, "nyu-mll/glue", task, {split: rows_of(task, split) for split in splits_of(task)})
    return cache


@pytest.fixture
def glue(hub, monkeypatch):
    """A function: task, overrides -> the shipped configuration for that task."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", hub)

    def configured(task: str, *words: str):
        split = ["dataset.test_split=validation_matched"] if task == "mnli" else []
        return load_config(FULL, [f"dataset.config={task}", *split, *words])

    return configured


def test_all_nine_tasks_are_known():
    assert set(GLUE) == set(TRUE)
    for task, (columns, _, metric) in TRUE.items():
        assert GLUE[task].columns == tuple(columns) and GLUE[task].metric == metric


@pytest.mark.parametrize("task", CLASSES)
def test_columns_classes_and_scores_of_a_task(glue, task):
    config, (columns, names, metric) = glue(task), TRUE[task]
    rows = {split: load_rows(config.dataset, split) for split in ("train", "eval", "test")}
    assert [len(part) for part in rows.values()] == [18, 2, 20], "train[:90%], train[90%:], the validation split"
    assert seq_cls.text_columns(rows["train"], config) == columns
    assert TASKS["SEQ_CLS"].labels(config) == names
    scoring.check_references(config)
    assert main_metric(config) == metric and metric in TASKS["SEQ_CLS"].metrics


def test_mnli_has_two_validation_splits(glue):
    other = glue("mnli", "dataset.test_split=validation_mismatched")
    assert len(load_rows(other.dataset, "test")) == 10
    with pytest.raises(DataError, match="validation"):
        load_rows(glue("mnli", "dataset.test_split=validation").dataset, "test")


def test_sts_b_has_one_output_and_correlations(glue):
    config = glue("stsb")
    assert TASKS["SEQ_CLS"].labels(config) == ["value"] and main_metric(config) == "pearson"
    assert score_names(config) == ("pearson", "spearman")
    rows = load_rows(config.dataset, "test")
    assert TASKS["SEQ_CLS"].references(rows, config, [])[:3] == [0.0, 0.25, 0.5]
    with pytest.raises(DataError, match="only the value -1.0") as caught:
        scoring.check_references(glue("stsb", "dataset.test_split=test"))
    assert "test_split: validation" in caught.value.fix


def test_fractions_are_no_classes(glue):
    with pytest.raises(DataError, match="a regression and not a classification") as caught:
        TASKS["SEQ_CLS"].labels(glue("stsb", "dataset.regression=false"))
    assert "dataset.regression: true" in caught.value.fix


def test_hidden_labels_are_told_before_the_training(glue, tmp_path):
    with pytest.raises(DataError, match="-1") as caught:
        train.run(glue("rte", "dataset.test_split=test", "model.name_or_path=tiny:bert"), tmp_path)
    assert "test_split: validation" in caught.value.fix and not list(tmp_path.iterdir())


def test_validate_config_finds_hidden_labels_in_a_local_copy(tmp_path):
    for split in ("train", "test"):
        rows_of("rte", split).to_json(str(tmp_path / f"{split}.jsonl"))
    words = [f"dataset.name={tmp_path}", "dataset.test_split=test", "model.name_or_path=tiny:bert"]
    config, problems = validate(FULL, words)
    assert config is None and [problem.key for problem in problems] == ["dataset.test_split"]
    assert "-1" in problems[0].message


def test_a_single_text_does_not_pass_for_a_pair(glue):
    with pytest.raises(DataError, match="sentence1"):
        seq_cls.input_row({"text": "w1 w2"}, glue("mrpc"))
    assert seq_cls.input_row({"text": "w1 w2"}, glue("sst2")) == {"sentence": "w1 w2"}


def test_matthews_correlation_is_that_of_its_definition():
    found, right = [1, 1, 1, 0, 0, 1], [1, 1, 0, 0, 1, 1]  # 3 true and 1 false positives, 1 and 1 negatives
    scores = compute("classification", found, right)
    assert scores["matthews"] == pytest.approx((3 * 1 - 1 * 1) / (4 * 4 * 2 * 2) ** 0.5)
    assert compute("classification", [1, 1], [1, 0])["matthews"] == 0, "one class for all says nothing"


def test_the_shipped_configuration_runs_on_a_local_copy_with_a_bert_folder(tmp_path, bases):
    """Only the two places are overridden: a model folder, and a folder with MRPC's columns."""
    for split in ("train", "validation"):
        rows_of("mrpc", split).to_json(str(tmp_path / f"{split}.jsonl"))
    out = tmp_path / "out"
    places = [f"model.name_or_path={bases / 'bert'}", f"dataset.name={tmp_path}", f"training.output_dir={out}"]
    assert train.main(["--config", str(FULL), *places, "training.max_steps=2", "dataset.max_length=64"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n"] == 20 and metrics["main_metric"] == "accuracy"
    assert yaml.safe_load((out / "config.yaml").read_text())["dataset"]["config"] == "mrpc"


@pytest.mark.network
def test_the_shipped_configuration_runs_on_minilm(tmp_path):
    """A real model of BERT's architecture, from fetch-models, on generated pairs in MRPC's schema."""
    from shared.fetch import fetch
    from shared.tiny import load_task

    for split in ("train", "validation"):
        load_task("mrpc", split).remove_columns("idx").to_json(str(tmp_path / f"{split}.jsonl"))
    out = tmp_path / "out"
    places = [f"model.name_or_path={fetch('all-minilm-l6-v2')}", f"dataset.name={tmp_path}",
              f"training.output_dir={out}"]  # fmt: skip
    few = ["dataset.max_train_rows=640", "dataset.max_eval_rows=64", "training.num_train_epochs=1"]
    assert train.main(["--config", str(FULL), *places, *few]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["steps"] == 40 and metrics["n"] == 600
    assert metrics["total"] > 20e6 and metrics["trainable"] < 0.01 * metrics["total"]
    assert any("eval_loss" in one for one in json.loads((out / "history.json").read_text()))


def test_slices_of_local_splits_are_those_of_the_hub(tmp_path, glue):
    """datasets reads train[:90%] for the Hub; for folders and generated tasks this framework does."""
    rows_of("mrpc", "train").to_json(str(tmp_path / "train.jsonl"))
    for spec in ("train[:90%]", "train[90%:]", "train[3:7]", "train[:2]+train[18:]", "train"):
        local, hub = (
            load_rows(glue("mrpc", f"dataset.train_split={spec}", *name).dataset, "train")
            for name in ([f"dataset.name={tmp_path}"], [])
        )
        assert local["idx"] == hub["idx"] and len(local), spec
    for spec in ("train[", "train[a:]"):
        with pytest.raises(DataError, match="no part of a split") as caught:
            load_rows(glue("mrpc", f"dataset.train_split={spec}", f"dataset.name={tmp_path}").dataset, "train")
        assert "train[:90%]" in caught.value.fix
    with pytest.raises(DataError, match="no split 'dev'"):
        load_rows(glue("mrpc", "dataset.train_split=dev[:2]", f"dataset.name={tmp_path}").dataset, "train")
