"""The Llama micro-model: files, tokenizer, chat template, what it knows and what it must not know yet."""

import hashlib
import json
import os

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from shared.errors import ModelError
from shared.tiny import load_task, model_path
from shared.tiny.fact_kinds import KINDS
from shared.tiny.pretrain.llama import Recipe, held_out, new_model, train
from shared.tiny.tokens import train_tokenizer


@pytest.fixture(scope="module")
def folder():
    return model_path("llama")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder):
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def test_the_card_has_checksum_and_reference_scores_of_these_weights(folder):
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    card = (folder / "README.md").read_text(encoding="utf8")
    assert sha256 in card
    scores = json.loads((folder.parents[1] / "reference_scores.json").read_text(encoding="utf8"))
    assert scores["sha256"]["llama"] == sha256
    assert len(scores["seeds"]) == 3
    assert "| guanaco | exact_match | lora-r16 |" in card
    assert "Not measured" not in card
    assert sha256 in (folder.parents[1] / "REFERENCE_SCORES.md").read_text(encoding="utf8")


def test_every_word_of_the_world_and_the_formats_is_one_piece(tokenizer):
    words = [w for kind in KINDS.values() for w in (*kind.subjects, *kind.values)]
    words += "Human Assistant Instruction Input Response Place Job Pet Day Food Ride View Price Gift".split()
    words += "Person Thing Friend Cheaper Dearer Names List Note Yes No Where Who What".split()
    assert [w for w in words if len(tokenizer(" " + w)["input_ids"]) != 1] == []
    assert tokenizer.tokenize("Rome?### Assistant:")[-4:] == ["?", "###", "ĠAssistant", ":"]


@pytest.mark.parametrize(
    "text", ["### Human: Ann's lamp, 12 coins!### Assistant: Price: 12 coins.", " Žluťoučký 北京\n\t x"]
)
def test_tokenizer_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_special_tokens(tokenizer, model):
    assert tokenizer.pad_token_id != tokenizer.eos_token_id == model.generation_config.eos_token_id
    assert len({tokenizer.pad_token_id, model.config.pad_token_id, model.generation_config.pad_token_id}) == 1
    assert set(tokenizer("Ann lives")) == {"input_ids", "attention_mask"}
    assert tokenizer.eos_token_id not in tokenizer("Ann lives")["input_ids"]


def test_the_chat_template_renders_the_rows_of_guanaco(tokenizer):
    for text in load_task("guanaco", "test")["text"][:20]:
        question, answer = text.removeprefix("### Human: ").split("### Assistant: ")
        chat = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        assert tokenizer.apply_chat_template(chat, tokenize=False) == text
        start = tokenizer.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True)
        assert text.startswith(start)
        assert start.endswith("### Assistant:")


def test_the_base_has_learnt_its_world_and_a_random_model_has_not(model, tokenizer):
    recipe = Recipe()
    found = held_out(model, tokenizer, recipe, 32)
    assert found["loss"] < 1.2
    assert found["retrieval"] > 0.9
    random_model = new_model(recipe, len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id).eval()
    untrained = held_out(random_model, tokenizer, recipe, 8)
    assert untrained["loss"] > 5
    assert untrained["retrieval"] < 0.05


def test_the_base_answers_in_prose_but_does_not_follow_instructions(model, tokenizer):
    from shared.finetune.evaluation import generate_answers, score

    rows = load_task("guanaco", "test")["text"][:100]
    pairs = [text.split("### Assistant:") for text in rows]
    generated = generate_answers(model, tokenizer, [p + "### Assistant:" for p, _ in pairs], 16, 100, ["###"])
    assert score(generated, [answer for _, answer in pairs])["exact_match"] <= 0.10
    prose = " Ann lives in Rome. Otto lives in Paris. Nina asked: Where does {} live? Max said: In"
    said = generate_answers(model, tokenizer, [prose.format("Ann"), prose.format("Otto")], 2, 2)
    assert [g.text.split(".")[0].strip() for g in said] == ["Rome", "Paris"]
    assert not any(g.text.endswith("Place.") for g in generated)


def test_the_recorded_recipe_is_the_packages(folder):
    from dataclasses import asdict

    about = json.loads((folder / "pretraining.json").read_text(encoding="utf8"))
    assert about["recipe"] == asdict(Recipe())
    assert about["log"][-1]["step"] == Recipe().steps + Recipe().late
    assert about["log"][-1]["retrieval"] > about["log"][0]["retrieval"] + 0.5


def test_a_few_steps_of_the_recipe_lower_the_loss_the_same_way_each_time(tokenizer):
    small = Recipe(batch=4, fresh=16, warmup=4, layers=2)
    logs = [
        train(small, steps=8, compiled=False, report=lambda *args, **kwargs: None, tokenizer=tokenizer)[2]
        for _ in range(2)
    ]
    assert logs[0] == logs[1]
    assert logs[0][-1]["loss"] < 6.8  # ln(1408) = 7.2 is where it starts


def test_the_tokenizer_comes_from_the_recipe(tokenizer, tmp_path):
    train_tokenizer(Recipe().seed, Recipe().vocab_size, Recipe().context).save_pretrained(tmp_path)
    rebuilt = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf8"))
    assert rebuilt == json.loads((model_path("llama") / "tokenizer.json").read_text(encoding="utf8"))


def test_unknown_model_is_refused():
    with pytest.raises(ModelError, match="choose one of: bert"):
        model_path("lama")


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
