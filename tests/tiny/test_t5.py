"""The T5 micro-model: files, tokenizer, span corruption, what it knows and what it must not know yet."""

import json
import random
from dataclasses import asdict, replace

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5ForConditionalGeneration

from shared.tiny import load_task, model_path
from shared.tiny.clause_kinds import KINDS
from shared.tiny.pretrain.t5 import Recipe, held_out, new_model, new_optimizer, train
from shared.tiny.pretrain.t5_text import IGNORED, continuations, corrupt, noise_spans, text_at
from shared.tiny.retellings import BILLS
from shared.tiny.unigram import SENTINELS, train_tokenizer


@pytest.fixture(scope="module")
def folder():
    return model_path("t5")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """The recipe's tokenizer, saved and loaded as users do; the kept one equals it, see below."""
    made = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(Recipe().seed, Recipe().vocab_size, Recipe().context).save_pretrained(made)
    return AutoTokenizer.from_pretrained(made)


@pytest.fixture(scope="module")
def model(folder):
    return AutoModelForSeq2SeqLM.from_pretrained(folder).eval()


def test_it_is_built_as_the_first_t5(model):
    assert model.config.feed_forward_proj == "relu"
    assert model.lm_head.weight is model.shared.weight


def test_the_card_lists_the_phases(folder):
    assert "span corruption to step" in (folder / "README.md").read_text(encoding="utf8")


def test_special_tokens_are_those_of_t5(tokenizer):
    assert type(tokenizer).__name__ == "T5TokenizerFast"
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer("Ann lives")["input_ids"][-1] == 1  # as T5's tokenizer does
    assert set(tokenizer("Ann lives")) == {"input_ids", "attention_mask"}
    sentinels = tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(SENTINELS)])
    assert sentinels == list(range(len(tokenizer) - 1, len(tokenizer) - 1 - SENTINELS, -1))
    assert set(sentinels) <= set(tokenizer.all_special_ids)
    model = new_model(Recipe(), len(tokenizer))
    assert len(tokenizer) == model.config.vocab_size <= 1_500
    assert model.config.decoder_start_token_id == 0 == model.generation_config.pad_token_id
    assert model.generation_config.eos_token_id == 1


def test_a_sentinel_in_a_text_is_one_token(tokenizer):
    tokens = tokenizer("The <extra_id_0> shall pay <extra_id_1> coins.")["input_ids"]
    sentinels = tokenizer.convert_tokens_to_ids(["<extra_id_0>", "<extra_id_1>"])
    assert [t for t in tokens if t in sentinels] == sentinels
    assert len(tokens) == 8


@pytest.mark.parametrize("text", ['The "Safe Roads" Act of 1912; Ann: 12 coins?', "Zebra xylophones cost $5 (net)."])
def test_tokenizer_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_every_word_of_the_bills_is_one_piece(tokenizer):
    words = {w for kind in KINDS.values() for pool in kind.pools.values() for entry in pool for w in entry.split()}
    words |= {w.strip(".") for kind in KINDS.values() for w in kind.summary.split() if "{" not in w}
    assert sorted(w for w in words if len(tokenizer(w)["input_ids"]) != 2) == []


def test_the_tokenizer_comes_from_the_recipe(folder, tmp_path):
    train_tokenizer(Recipe().seed, Recipe().vocab_size, Recipe().context).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert json.loads((tmp_path / name).read_text()) == json.loads((folder / name).read_text())


def test_span_corruption_takes_out_the_share_it_should_and_loses_nothing():
    recipe, rng = Recipe(), random.Random(0)
    for length in (4, 20, 80):
        for _ in range(50):
            spans = noise_spans(length, recipe, rng)
            assert sum(b - a for a, b in spans) == max(1, round(0.15 * length))
            assert all(a > 0 for a, _ in spans)
            assert all(behind < first for (_, behind), (first, _) in zip(spans, spans[1:], strict=False))
    ids, sentinels = list(range(100, 180)), list(range(1000, 1020))
    source, target = corrupt(ids, sentinels, recipe, rng)
    filled, gaps = [], {}
    for token in target[:-1]:
        if token in sentinels:
            key = token
        else:
            gaps.setdefault(key, []).append(token)
    for token in source[:-1]:
        filled += gaps[token] if token in sentinels else [token]
    assert filled == ids
    assert source[-1] == target[-1] == 1
    assert list(gaps) == sentinels[: len(gaps)]


def test_marks_of_a_batch_stand_on_the_words_that_the_bill_determines(tokenizer):
    recipe = Recipe()
    sources, labels, marks = continuations(tokenizer, recipe, 50, 3, {"bills": 1})
    assert sources.shape == (50, recipe.source)
    assert labels.shape == marks.shape == (50, recipe.target)
    assert not (marks & (labels == IGNORED)).any()
    assert 0.15 < marks.sum() / (labels != IGNORED).sum() < 0.4
    in_source = [(labels[i, j] == sources[i]).any() for i, j in marks.nonzero().tolist()]
    assert sum(in_source) / len(in_source) > 0.8  # the others are forms: a plural, a participle


def test_the_base_has_learnt_its_world_and_a_random_model_has_not(model, tokenizer):
    recipe = Recipe()
    found = held_out(model, tokenizer, recipe, 64)
    assert found["loss"] < 1.6
    assert found["copy"] > 0.9
    untrained = held_out(T5ForConditionalGeneration(model.config).eval(), tokenizer, recipe, 16)
    assert untrained["loss"] > 5
    assert untrained["copy"] < 0.05


def test_the_base_copies_but_does_not_write_the_house_style(model, tokenizer):
    rows = load_task("billsum", "test").select(range(40))
    batch = tokenizer(list(rows["text"]), padding=True, return_tensors="pt")
    said = tokenizer.batch_decode(model.generate(**batch, max_new_tokens=40), skip_special_tokens=True)
    assert not any(text.split()[0] in {summary.split()[0] for summary in rows["summary"]} for text in said)
    asked = "The Salt Act of 1912 is repealed. Each baker in Oslo shall be paid 7 coins by the Port Board. The index:"
    batch = tokenizer(asked, return_tensors="pt")
    told = tokenizer.decode(model.generate(**batch, max_new_tokens=40)[0], skip_special_tokens=True)
    assert all(word in told for word in ("Salt", "1912", "bakers", "Oslo", "7", "Port Board"))


def test_the_recorded_recipe_is_the_packages(folder):
    about = json.loads((folder / "pretraining.json").read_text(encoding="utf8"))
    assert about["recipe"] == asdict(Recipe())
    assert about["log"][-1]["step"] == Recipe().lists + Recipe().spans + Recipe().steps
    assert about["log"][-1]["copy"] > about["log"][0]["copy"] + 0.2


def test_some_heads_start_on_neighbours(tokenizer):
    recipe = Recipe()
    model = new_model(recipe, len(tokenizer))
    encoder = model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    decoder = model.decoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    assert encoder[:, 0].argmax() == 1  # one to the left
    assert encoder[:, 1].argmax() == 17  # one to the right
    assert decoder[:, 0].argmax() == 1
    assert encoder[:, 2].argmax() == 2  # two to the left
    assert decoder[:, 3].abs().max() < 1 < recipe.sharp


def test_the_start_finds_words_again_before_any_training(tokenizer):
    """The structured start: which word comes next in a row that the input holds, the last word itself set aside."""
    recipe = Recipe()
    torch.manual_seed(0)
    model = new_model(recipe, len(tokenizer)).eval()
    sources, labels, marks = continuations(tokenizer, recipe, 32, 3, {"echo": 1})
    before = model.prepare_decoder_input_ids_from_labels(labels)
    with torch.no_grad():
        logits = model(input_ids=sources, attention_mask=sources != 0, decoder_input_ids=before).logits
    guessed = logits.scatter(2, before[..., None], -torch.inf).argmax(-1)
    assert (guessed == labels)[marks].float().mean() > 0.5


def test_queries_learn_slower():
    model = new_model(replace(Recipe(), layers=1), 100)
    groups = new_optimizer(model, 1e-3, 0.05).param_groups
    shares = {id(p): group.get("share", 1.0) for group in groups for p in group["params"]}
    assert len(shares) == len(list(model.parameters()))
    slow = {name for name, p in model.named_parameters() if shares[id(p)] < 1}
    assert slow == {name for name, _ in model.named_parameters() if name.endswith(".q.weight")} != set()


def test_what_the_text_asks_for_changes_with_the_phases():
    recipe = Recipe()
    assert set(text_at(recipe, 0)) == set(text_at(recipe, recipe.lists - 1)) == {"echo", "pairs", "index", "bills"}
    assert text_at(recipe, recipe.lists) == text_at(recipe, recipe.lists + recipe.spans) == BILLS
    for boundary in (recipe.lists, recipe.spans):
        assert boundary % recipe.fresh == 0  # text is generated for so many steps at a time


def test_a_few_steps_of_the_recipe_lower_the_loss_the_same_way_each_time(tokenizer):
    small = replace(Recipe(), batch=4, fresh=4, warmup=4, layers=1, lists=4, spans=4, steps=8, source=48, target=32)
    logs = [train(small, compiled=False, report=lambda *args, **kwargs: None, tokenizer=tokenizer)[2] for _ in range(2)]
    assert logs[0] == logs[1]
    untrained = held_out(new_model(small, len(tokenizer)).eval(), tokenizer, small, 64)
    assert logs[0][-1]["loss"] < untrained["loss"] - 0.5


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
