"""Every command of the command line runs the checks of validate-config, before anything is loaded or trained."""

from __future__ import annotations

import json
import re

import pytest
import random_models as world

from shared.finetune import compare, evaluate, train, validate_config


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checks")
    world.make_model(folder / "model")
    world.make_rows(folder / "rows.jsonl")
    long = [{"question": "w1 " * 70, "answer": "w2"} for _ in range(40)]
    (folder / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in long))
    half = [{"question": "w1 " * (70 if number % 2 else 3), "answer": "w2"} for number in range(40)]
    words = [{"question": "one two", "answer": "three"} for _ in range(40)]
    (folder / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in words))
    (folder / "half.jsonl").write_text("".join(json.dumps(row) + "\n" for row in half))
    return folder


@pytest.fixture
def file(place, tmp_path):
    values = world.config_dict(place / "model", place / "rows.jsonl", tmp_path / "out", max_steps=2)
    return world.write_config(tmp_path / "c.yaml", values)


@pytest.fixture
def no_loading(monkeypatch):
    """Loading weights is an error."""
    import transformers

    def refuse(*args, **more):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", refuse)


WRONG = {  # overrides (F: the folder) -> the key, and a part of what is said
    "peft.target_modules=[q_prj, v_proj]": (
        "peft.target_modules[0]",
        "did you mean q_proj or v_proj? The linear layers",
    ),
    "peft.target_modules=[nonsense]": ("peft.target_modules[0]", "its linear layers are: down_proj, gate_proj, k_proj"),
    "dataset.name=F/none.jsonl": ("dataset.name", "there is no file"),
    "dataset.prompt_template='{questions} {answer}'": ("dataset.prompt_template", "did you mean question?"),
    "dataset.name=F/long.jsonl": ("sft.max_length", "the response of 32 of 32 rows (100%) is cut off entirely"),
    "sft.max_length=4": ("sft.max_length", "write max_length: 16"),
    "evaluation.metric=final_number dataset.name=F/words.jsonl": ("evaluation.metric", "number"),
    "training.report_to=comet_ml": ("training.report_to", "can't be used"),
    "training.max_grad_norm=-1x": ("training.max_grad_norm", "number"),
}


@pytest.mark.parametrize("override", WRONG)
def test_all_commands_refuse_what_validate_config_refuses(place, file, no_loading, capsys, override):
    key, words = WRONG[override]
    overrides = re.findall(r"(?:'[^']*'|\[[^]]*\]|\S)+", override.replace("F/", f"{place}/"))
    said = {}
    assert validate_config.main([str(file), *overrides]) == 1
    said["validate-config"] = capsys.readouterr().out
    for name, verb in (("train", train), ("compare", compare)):
        assert verb.main(["--config", str(file), *overrides]) == 1
        said[name] = capsys.readouterr().err
    for name, text in said.items():
        assert f"{file} (command line): {key}" in text or f"{file}:" in text and key in text, f"{name}: {text}"
        assert words in text and "Traceback" not in text, f"{name}: {text}"


def test_evaluate_refuses_too_and_asks_for_its_own_split_only(place, file, no_loading, capsys, tmp_path):
    assert evaluate.main(["--config", str(file), "peft.target_modules=[q_prj]"]) == 1
    assert "did you mean q_proj" in capsys.readouterr().err
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.jsonl").write_text((place / "rows.jsonl").read_text())
    only = f"dataset.name={tmp_path / 'data'}"
    with pytest.raises(AssertionError, match="weights were loaded"):
        evaluate.main(["--config", str(file), only])
    assert evaluate.main(["--config", str(file), only, "--split", "eval"]) == 1
    assert "no split 'validation'" in capsys.readouterr().err


def test_train_without_scores_needs_no_test_split(place, file, no_loading, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text((place / "rows.jsonl").read_text())
    only = f"dataset.name={tmp_path / 'data'}"
    with pytest.raises(AssertionError, match="weights were loaded"):
        train.main(["--config", str(file), only, "--no_score"])
    assert train.main(["--config", str(file), only]) == 1
    assert "no split 'test'" in capsys.readouterr().err


@pytest.mark.parametrize(("strategy", "refused"), [("wrapped", False), ("bfd_split", False), ("bfd", True)])
def test_packing_is_judged_alike(place, file, capsys, strategy, refused):
    """`wrapped` and `bfd_split` go on in the next sequence: nothing is cut off."""
    words = [f"dataset.name={place / 'long.jsonl'}", "sft.packing=true", f"sft.packing_strategy={strategy}"]
    assert validate_config.main([str(file), *words]) == refused
    assert "cut off" in capsys.readouterr().out or not refused
    assert train.main(["--config", str(file), *words, "--no_score"]) == refused


def test_a_warning_is_the_same_in_both_and_stands_in_the_metrics(place, file, capsys, tmp_path):
    words = [f"dataset.name={place / 'half.jsonl'}", "peft.lora_r=999"]
    assert validate_config.main([str(file), *words]) == 0
    expected = re.findall(r"  warning: (.+)", capsys.readouterr().out)
    assert len(expected) == 2 and "16 of 32 rows (50%)" in expected[0] and "lora_r: 999" in expected[1]
    assert train.main(["--config", str(file), *words, "--no_score"]) == 0
    said, metrics = capsys.readouterr(), json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [line for line in said.err.splitlines() if "warning: " in line] == [f"warning: {one}" for one in expected]
    assert metrics["warnings"][:2] == expected and all(f"warning: {one}" in said.out for one in expected)
    assert metrics["rows_response_cut_off"] == 16 and metrics["rows"] == 32


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused(place, file, tmp_path, capsys):
    import shutil

    from transformers import AutoTokenizer

    shutil.copytree(place / "model", tmp_path / "grown")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "grown")
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    tokenizer.save_pretrained(tmp_path / "grown")
    assert train.main(["--config", str(file), f"model.name_or_path={tmp_path / 'grown'}"]) == 1
    assert "resize_token_embeddings" in capsys.readouterr().err


def test_a_library_call_names_the_layers_too(place, tmp_path):
    """Not only the command line: what a notebook does ends in words as well, not in peft's traceback."""
    from shared.errors import ModelError
    from shared.finetune.config import load_config

    values = world.config_dict(place / "model", place / "rows.jsonl")
    values["peft"]["target_modules"] = ["q_prj"]
    config = load_config(world.write_config(tmp_path / "c.yaml", values))
    with pytest.raises(ModelError, match="did you mean q_proj"):
        train.run(config, tmp_path / "checkpoints", 0, score=False)


def test_rows_that_are_all_cut_off_are_an_error_in_a_library_call(place, tmp_path):
    from shared.errors import DataError
    from shared.finetune.config import load_config

    values = world.config_dict(place / "model", place / "long.jsonl")
    config = load_config(world.write_config(tmp_path / "c.yaml", values))
    with pytest.raises(DataError, match="the longest 74"):
        train.run(config, tmp_path / "checkpoints", 0, score=False)
