"""Answers: order, padding, stopping, scores; files in and out with bad rows among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import random_models as world
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from shared.finetune import evaluate, inference
from shared.finetune.config import load_config
from shared.finetune.evaluation import Generation, generate_answers
from shared.finetune.evaluation.scoring import majority, score
from shared.finetune.prediction.inputs import read_inputs
from shared.finetune.prediction.output_file import OutputFile, digest_of


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inference")
    world.make_model(folder / "model")
    world.make_rows(folder / "rows.jsonl")
    world.write_config(folder / "c.yaml", world.config_dict(folder / "model", folder / "rows.jsonl"))
    return folder


@pytest.fixture(scope="module")
def loaded(place):
    model = AutoModelForCausalLM.from_pretrained(place / "model")
    with torch.no_grad():  # larger weights: else a random model repeats one token and order would not show
        for parameter in model.model.layers.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return model, AutoTokenizer.from_pretrained(place / "model")


def test_batches_of_unlike_length_answer_as_one_by_one(loaded):
    prompts = ["w1", "w2 w3 w4 w5 w6 w7", "w8 w9", "w1 w2 w3", "w39 w38 w37 w36", "w5"]
    alone = [generate_answers(*loaded, [prompt], 6)[0] for prompt in prompts]
    together = generate_answers(*loaded, prompts, 6, batch_size=4)
    assert together == alone and len({one.text for one in alone}) > 3


def test_stops_at_end_token_and_at_stop_texts(loaded):
    model, tokenizer = loaded
    whole = generate_answers(model, tokenizer, ["w1 w2"], 8)[0]
    words = whole.text.split()
    assert len(words) >= 4
    cut = generate_answers(model, tokenizer, ["w1 w2"], 8, stop=[words[2] + " "])[0]
    assert cut.reason == "stop" and not cut.ended and cut.text.split() == words[:2]
    third = tokenizer.convert_tokens_to_ids(words[2])
    model.generation_config.eos_token_id = third
    ended = generate_answers(model, tokenizer, ["w1 w2"], 8)[0]
    model.generation_config.eos_token_id = 1
    assert ended == Generation(" ".join(words[:2]), True, "eos")
    assert generate_answers(model, tokenizer, ["w1 w2"], 2)[0].reason == "length"


def test_model_and_tokenizer_are_left_as_they_were(loaded):
    model, tokenizer = loaded
    model.train()
    before = tokenizer.padding_side
    generate_answers(model, tokenizer, ["w1"], 2)
    assert model.training and tokenizer.padding_side == before
    model.eval()


def test_scores():
    found = [Generation(" yes", True), Generation("yes", False), Generation("yes no", True), Generation("no", True)]
    assert score(found, ["yes", "yes", "yes", "no "], "yes|no") == {"exact_match": 0.75, "format": 0.5, "n": 4}
    assert score(found, ["yes"] * 4)["format"] == 0.75
    with pytest.raises(ValueError):
        score(found, ["yes"])
    assert majority(["a", "b", " a"]) == {"answer": "a", "exact_match": 2 / 3, "n": 3}


def test_rows_are_scored_by_the_configuration(place, loaded):
    found = evaluate.evaluate_rows(*loaded, load_config(place / "c.yaml"))
    assert found["n"] == 4 == len(found["answers"])
    right = sum(row["answer"] == row["reference"] for row in found["answers"])
    assert found["exact_match"] == right / 4
    assert evaluate.main(["--config", str(place / "c.yaml"), "--output_file", str(place / "e.json")]) == 0
    assert json.loads((place / "e.json").read_text())["n"] == 4


@pytest.mark.parametrize(
    ("name", "content", "lines", "errors"),
    [
        ("a.txt", b"w1 w2\n\nw3\n\xff\xfe\nw4\n", [1, 3, 4, 5], {4: "not UTF-8"}),
        (
            "a.jsonl",
            b'{"question": "w1"}\n{"question": \n"w2"\n[1]\n{"qestion": "w3"}\n',
            [1, 2, 3, 4, 5],
            {2: "not JSON", 4: "not a JSON object", 5: "question"},
        ),
        (
            "a.csv",
            b'question,x\nw1,1\nw2\n"a, b",2\n\xff,3\nw4,4,5\n',
            [2, 3, 4, 5, 6],
            {3: "1 columns", 5: "not UTF-8", 6: "3 columns"},
        ),
        ("bom.csv", b"\xef\xbb\xbfquestion\nw1\n", [2], {}),
    ],
)
def test_bad_rows_are_reported_and_lose_no_others(place, tmp_path, name, content, lines, errors):
    (tmp_path / name).write_bytes(content)
    template = {"name": "rows", "prompt_template": "Q {question} A {answer}"}
    items = list(read_inputs(tmp_path / name, load_config(place / "c.yaml").changed(dataset=template)))
    assert [item.line for item in items] == lines
    found = {item.line: item.error for item in items if item.error}
    assert found.keys() == errors.keys() and all(errors[line] in found[line] for line in errors)
    assert all(item.prompt.startswith("Q ") for item in items if not item.error)


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_file_in_file_out_keeps_order(place, tmp_path, suffix, capsys):
    questions = ["w1 w2 w3 w4", "w5", None, "w6 w7"]
    lines = ["broken" if q is None else json.dumps({"question": q}) for q in questions]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    out = tmp_path / f"out.{suffix}"
    call = ["--config", str(place / "c.yaml"), "--input_file", str(tmp_path / "in.jsonl"), "--output_file", str(out)]
    assert inference.main(call) == 0
    text = out.read_text()
    rows = json.loads(text) if suffix == "json" else [json.loads(line) for line in text.splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3, 4]
    assert [row.get("prompt") for row in rows] == [q and f"Question : {q}\nAnswer :" for q in questions]
    assert "in.jsonl:3: not JSON" in capsys.readouterr().err


def questions(file: Path, number: int) -> Path:
    """A file of so many inputs of unlike length, each with its own number."""
    rows = [
        {"id": row, "question": " ".join(f"w{1 + (row * 7 + k) % 30}" for k in range(1 + row % 5))}
        for row in range(number)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def call_for(place: Path, inputs: Path, output: Path, *more: str) -> list[str]:
    files = ["--input_file", str(inputs), "--output_file", str(output)]
    return ["--config", str(place / "c.yaml"), *files, "evaluation.batch_size=2", "evaluation.max_new_tokens=3", *more]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_an_interrupted_file_is_resumed_and_not_answered_twice(place, tmp_path, monkeypatch, capsys, suffix):
    """Killed within its third window and within a line: the same output as of an uninterrupted run, bit by bit."""
    inputs = questions(tmp_path / "in.jsonl", 40)  # three windows of 16 rows
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    assert inference.main(call_for(place, inputs, whole)) == 0
    real, seen = inference.answer_items, []

    def counted(model, tokenizer, items, *rest):
        seen.append(len(items))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(model, tokenizer, items, *rest)

    monkeypatch.setattr(inference, "answer_items", counted)
    assert inference.main(call_for(place, inputs, out)) == 130
    assert "--resume" in capsys.readouterr().err and not out.exists()
    (part,) = tmp_path.glob(".out.*.part")
    with part.open("ab") as file:
        file.write(b'{"id": 32, "li')  # a line that a kill cut off
    assert inference.main(call_for(place, inputs, out, "evaluation.batch_size=1", "--resume")) == 0
    assert seen == [16, 16, 8, 8] and "32 answers kept" in capsys.readouterr().out
    assert out.read_text() == whole.read_text() and not list(tmp_path.glob(".*part"))


def test_other_inputs_are_never_continued(place, tmp_path, capsys):
    config, out = load_config(place / "c.yaml"), tmp_path / "out.jsonl"
    inputs = questions(tmp_path / "in.jsonl", 4)
    OutputFile(out, digest_of(inputs, config, None)).append([{"line": 1, "answer": "old"}])
    questions(inputs, 5)
    assert inference.main(call_for(place, inputs, out, "--resume")) == 1
    assert "other inputs, another model or other settings" in capsys.readouterr().err
    assert inference.main(call_for(place, inputs, out)) == 0
    assert "1 answers of an interrupted run are deleted" in capsys.readouterr().out
    assert len(out.read_text().splitlines()) == 5 and "old" not in out.read_text()
    assert not list(tmp_path.glob(".*part"))
    assert inference.main(call_for(place, inputs, out, "--resume")) == 0
    assert "starting from the beginning" in capsys.readouterr().out


def test_one_text_is_never_answered_by_another_ones_answer(place, tmp_path):
    config, out = load_config(place / "c.yaml"), tmp_path / "out.jsonl"
    OutputFile(out, digest_of("w1 w2", config, None)).append([{"line": 1, "answer": "old"}])
    call = ["--config", str(place / "c.yaml"), "--output_file", str(out), "--resume", "--input_text"]
    assert inference.main([*call, "w3"]) == 1 and not out.exists()
    assert inference.main([*call, "w1 w2"]) == 0 and json.loads(out.read_text())["answer"] == "old"


def test_columns_of_the_inputs_stand_beside_the_answers(place, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"id": 7, "question": "w1", "answer": "reference"}\n')
    assert inference.main(call_for(place, tmp_path / "in.jsonl", tmp_path / "o.jsonl")) == 0
    row = json.loads((tmp_path / "o.jsonl").read_text())
    assert row["id"] == 7 and row["question"] == "w1" and row["input_answer"] == "reference"
    assert set(row) == {"id", "question", "input_answer", "line", "prompt", "answer", "ended"}


def test_nothing_to_answer_and_many_bad_rows(place, tmp_path, capsys):
    (tmp_path / "in.jsonl").write_text("no\n" * 30)
    assert inference.main(call_for(place, tmp_path / "in.jsonl", tmp_path / "o.jsonl")) == 1
    told = capsys.readouterr().err
    assert told.count("not JSON") == 20 and "and 10 more invalid rows" in told and "none of the 30 rows" in told
    (tmp_path / "in.txt").write_text("\n\n")
    assert inference.main(call_for(place, tmp_path / "in.txt", tmp_path / "o.jsonl")) == 1
    assert not list(tmp_path.glob("*o.jsonl*"))


def test_one_text_and_errors(place, tmp_path, capsys):
    call = ["--config", str(place / "c.yaml")]
    assert inference.main([*call, "--input_text", "w1 w2"]) == 0
    assert inference.main([*call, "--input_file", str(tmp_path / "none.txt")]) == 1
    assert "none.txt" in capsys.readouterr().err
    assert inference.main([*call, "--input_text", "w1", "--output_file", "x.xml"]) == 1
    assert inference.main([*call, "--input_text", "w1", "--model_path", str(tmp_path)]) == 1
    assert "adapter_config.json" in capsys.readouterr().err


def test_hub_model_from_a_prepared_cache(place, tmp_path, monkeypatch):
    """A Hub id loads from the Hub's own cache layout, without network."""
    import shutil

    import huggingface_hub.constants

    from shared.finetune.models import load_base

    repo = tmp_path / "models--someone--small-llama"
    shutil.copytree(place / "model", repo / "snapshots" / ("0" * 40))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path))
    config = load_config(place / "c.yaml", ["model.name_or_path=someone/small-llama"])
    model, tokenizer = load_base(config)
    assert sum(p.numel() for p in model.parameters()) > 60_000 and tokenizer("w1")["input_ids"] == [8]
