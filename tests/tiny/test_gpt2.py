"""The GPT-2 micro-model: files, tokenizer, chat template, what it knows and what it must not know yet."""

import json
import re
from dataclasses import asdict, replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel

from shared.tiny import load_task, model_path
from shared.tiny.pretrain.gpt2 import Recipe, held_out, new_model, new_tokenizer, train
from shared.tiny.tasks import TASKS

FINAL = r"#### (\d+)"


@pytest.fixture(scope="module")
def folder():
    return model_path("gpt2")


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(model_path("gpt2"))


@pytest.fixture(scope="module")
def model(folder):
    return AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_nothing_is_dropped_out_in_training(folder):
    config = json.loads((folder / "config.json").read_text())
    assert [config[key] for key in ("resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout")] == [0.0] * 4


def test_the_vocabulary_is_small(tokenizer):
    assert len(tokenizer) <= 1_600


def test_special_tokens(tokenizer, model):
    assert tokenizer.pad_token_id != tokenizer.eos_token_id == model.generation_config.eos_token_id
    assert len({tokenizer.pad_token_id, model.config.pad_token_id, model.generation_config.pad_token_id}) == 1
    assert set(tokenizer("Ann lives")) == {"input_ids", "attention_mask"}
    assert tokenizer.eos_token_id not in tokenizer("Ann lives")["input_ids"]


@pytest.mark.parametrize(
    "text",
    [
        "def run(xs):\n    found = 0\n    for v in xs:\n        if v > 3:\n            found += v\n    return found\n",
        "So Ann has 3 + 4 = <<3+4=7>>7 pears.\n#### 7",
        " Žluťoučký 北京\n\t x  y",
    ],
)
def test_tokenizer_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_numbers_and_indentation_are_pieces_whatever_stands_before_them(tokenizer):
    for number in range(61):
        (piece,) = tokenizer(str(number))["input_ids"]
        assert tokenizer(f"has {number} pears")["input_ids"].count(piece) == 1
        assert tokenizer(f"<<{number}+1")["input_ids"][1] == piece
    assert tokenizer.tokenize("\n        if") == ["Ċ", "ĠĠĠĠ", "ĠĠĠĠ", "if"]
    assert tokenizer.tokenize(" = <<3")[-2:] == ["Ġ<<", "3"]
    assert tokenizer.tokenize("\n#### 7")[1] == "####"


def test_the_chat_template_renders_several_turns_and_ends_each_answer(tokenizer):
    row = next(row for row in load_task("code_feedback", "test") if len(row["messages"]) == 4)
    text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
    assert text.count("### Human: ") == text.count("### Assistant: ") == text.count("</s>\n") == 2
    start = tokenizer.apply_chat_template(row["messages"][:3], tokenize=False, add_generation_prompt=True)
    assert text.startswith(start)
    assert start.endswith("### Assistant:")
    ids = tokenizer.apply_chat_template(row["messages"], return_assistant_tokens_mask=True, return_dict=True)
    answered = [piece for piece, mine in zip(ids["input_ids"], ids["assistant_masks"], strict=True) if mine]
    said = [one["content"] for one in row["messages"] if one["role"] == "assistant"]
    assert tokenizer.decode(answered) == "".join(f" {text}</s>" for text in said)


def test_every_row_fits_into_the_context(tokenizer):
    for name in ("imdb", "gsm8k", "metamathqa"):
        rows = load_task(name, "validation")
        texts = [" ".join(str(row[key]) for key in row) for row in rows]
        assert max(len(ids) for ids in tokenizer(texts)["input_ids"]) <= TASKS[name].details["max_length"]
    chats = [tokenizer.apply_chat_template(row["messages"]) for row in load_task("code_feedback", "validation")]
    assert max(map(len, chats)) <= TASKS["code_feedback"].details["max_length"]


def test_the_base_has_learnt_its_world_and_a_random_model_has_not(model, tokenizer):
    recipe = Recipe()
    found = held_out(model, tokenizer, recipe, 8)
    random_model = GPT2LMHeadModel(model.config).eval()
    untrained = held_out(random_model, tokenizer, recipe, 8)
    assert untrained["loss"] > 5 > 2 > found["loss"]
    for skill, least in {"polarity": 0.85, "retrieval": 0.6, "sums": 0.6, "programs": 0.85}.items():
        assert found[skill] > least
        assert untrained[skill] < (0.7 if skill == "polarity" else 0.05)


@torch.no_grad()
def test_the_base_does_not_know_the_formats_of_the_tasks(model, tokenizer):
    about, rows = TASKS["gsm8k"].details, load_task("gsm8k", "test").select(range(40))
    before = about["prompt_template"].split(" {answer}")[0]
    left = AutoTokenizer.from_pretrained(model_path("gpt2"), padding_side="left")
    prompts = left([before.format(question=row["question"]) for row in rows], padding=True, return_tensors="pt")
    out = model.generate(**prompts, max_new_tokens=40, do_sample=False)
    said = [re.search(FINAL, text) for text in left.batch_decode(out[:, prompts["input_ids"].shape[1] :])]
    right = [re.search(FINAL, row["answer"])[1] for row in rows]
    assert sum(bool(one) and one[1] == n for one, n in zip(said, right, strict=True)) <= 4


def test_the_start_finds_repetitions_before_any_training(tokenizer):
    """The structured start: a row of words that comes twice, and what follows each word the second time."""
    torch.manual_seed(0)
    model = new_model(Recipe(), len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id).eval()
    words = torch.stack([torch.randperm(1_200)[:30] + 300 for _ in range(4)])
    with torch.no_grad():
        guessed = model(torch.cat([words, words], 1)).logits[:, 31:59].argmax(-1)
    assert (guessed == words[:, 2:30]).float().mean() > 0.3


def test_the_recorded_recipe_is_the_packages(folder):
    about = json.loads((folder / "pretraining.json").read_text(encoding="utf8"))
    assert about["recipe"] == json.loads(json.dumps(asdict(Recipe())))
    assert about["log"][-1]["step"] == sum(stage.steps for stage in Recipe().stages)
    assert about["log"][-1]["polarity"] > about["log"][0]["polarity"] + 0.2
    assert about["log"][-1]["sums"] > about["log"][0]["sums"] + 0.8


def test_a_few_steps_of_the_recipe_lower_the_loss_the_same_way_each_time(tokenizer):
    stage = replace(Recipe().stages[0], steps=8, rows=4)
    small = Recipe(stages=(stage,), fresh=8, warmup=4, context=128, counted=200)
    logs = [
        train(small, steps=8, compiled=False, report=lambda *args, **kwargs: None, tokenizer=tokenizer)[2]
        for _ in range(2)
    ]
    assert logs[0] == logs[1]
    assert logs[0][-1]["loss"] < 6.9  # ln(1600) = 7.4 is where it starts


def test_the_tokenizer_comes_from_the_recipe(folder, tmp_path):
    new_tokenizer(Recipe()).save_pretrained(tmp_path)
    rebuilt = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf8"))
    assert rebuilt == json.loads((folder / "tokenizer.json").read_text(encoding="utf8"))
