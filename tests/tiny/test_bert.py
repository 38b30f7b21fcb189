"""The BERT micro-model: files, tokenizer, what pretraining taught it, and that the recipe works."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, BertForPreTraining

from shared.tiny import load_task, model_path
from shared.tiny.corpus import HELD_OUT
from shared.tiny.event_kinds import EVENT_KINDS
from shared.tiny.fact_kinds import KINDS
from shared.tiny.masking import IGNORED, batches
from shared.tiny.news import FIRMS, NATIONS, OLD_FAMILY
from shared.tiny.opinions import BAD, GOOD
from shared.tiny.pairs import Mix
from shared.tiny.pretrain.bert import Pretraining, Recipe, held_out, new_model, text, train, vectors
from shared.tiny.pretrain.cooccurrence import word_vectors
from shared.tiny.word_pools import PEOPLE
from shared.tiny.wordpiece import train_wordpiece


@pytest.fixture(scope="module")
def folder():
    return model_path("bert")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder):
    return AutoModelForMaskedLM.from_pretrained(folder).eval()


def test_a_classifier_takes_all_but_its_head_from_the_files(folder):
    _, about = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert {key.split(".")[0] for key in about["missing_keys"]} == {"classifier"}


def test_words_of_the_world_are_one_piece_and_no_text_of_the_tasks_is_unknown(tokenizer):
    words = [w for kind in KINDS.values() for w in (*kind.subjects, *kind.values)] + GOOD + BAD + FIRMS
    assert len([w for w in words if len(tokenizer.tokenize(w)) != 1]) < 0.02 * len(words)
    assert max(len(tokenizer.tokenize(w)) for w in (*NATIONS, *OLD_FAMILY)) <= 5
    for row in load_task("conll2003", "test").select(range(300)):
        assert tokenizer.unk_token_id not in tokenizer(row["tokens"], is_split_into_words=True)["input_ids"]


def test_special_tokens_and_pairs(tokenizer):
    coded = tokenizer("Ann lives in Rome.", "Ben lives in Oslo.")
    assert tokenizer.decode(coded["input_ids"]) == "[CLS] Ann lives in Rome. [SEP] Ben lives in Oslo. [SEP]"
    assert coded["token_type_ids"] == [0] * 7 + [1] * 6
    assert tokenizer.pad_token_id == 0 and tokenizer.mask_token == "[MASK]"
    assert tokenizer.tokenize("Ann") != tokenizer.tokenize("ann")


def test_the_base_has_learnt_to_look_up_and_a_random_model_has_not(folder, tokenizer):
    recipe = Recipe()
    pretrained = Pretraining(BertForPreTraining.from_pretrained(folder).eval(), recipe)
    found = held_out(pretrained, tokenizer, 8)
    assert found["masked_loss"] < 2.0
    assert found["retrieval"] > 0.6
    torch.manual_seed(0)
    random_model = Pretraining(new_model(recipe, len(tokenizer), tokenizer.pad_token_id).eval(), recipe)
    untrained = held_out(random_model, tokenizer, 4)
    assert untrained["masked_loss"] > 5
    assert untrained["retrieval"] < 0.1


@pytest.mark.parametrize(
    ("name", "mix", "least"),
    [
        ("events told again", Mix(0, 1, 0, 0, 0, 0, unrelated=0, echo=0), 0.95),
        ("questions on events", Mix(0, 0, 1, 0, 0, 0, unrelated=0), 0.75),
        ("facts on several people", Mix(0, 0, 0, 1, 0, 0, unrelated=0), 0.6),
    ],
)
def test_masked_words_are_fetched_from_the_other_text(folder, tokenizer, name, mix, least):
    trainer, hits = Pretraining(BertForPreTraining.from_pretrained(folder).eval(), Recipe()), []
    for batch in batches(tokenizer, 3, 48, HELD_OUT, mix, 0.0, 0.25, Recipe().lengths):
        hidden = batch.words != IGNORED
        with torch.no_grad():
            found = trainer(batch)["words"].argmax(-1)
        hits.append((found == batch.words[hidden])[batch.determined[hidden]].float())
    assert torch.cat(hits).mean() > least


def test_what_follows_depends_on_the_side_of_an_opinion(model, tokenizer):
    """Of words that fit both, the model prefers the one that follows from the opinion, negation included."""
    right = 0
    films = [("Red River is lovely.", 1), ("Red River is boring.", 0), ("Red River is anything but boring.", 1),
             ("Red River is not lovely.", 0), ("The plot is dull, but Red River is funny.", 1),
             ("Red River is funny at first, but dull in the end.", 0)]  # fmt: skip
    liked, hated = (tokenizer.convert_tokens_to_ids(word) for word in ("liked", "hated"))
    for opinion, good in films:
        coded = tokenizer(opinion, "Ann [MASK] it.", return_tensors="pt")
        place = (coded["input_ids"][0] == tokenizer.mask_token_id).nonzero().item()
        with torch.no_grad():
            logits = model(**coded).logits[0, place]
        right += int((logits[liked] > logits[hated]).item() == bool(good))
    assert right >= 5


def test_the_recorded_recipe_is_the_packages(folder):
    about = json.loads((folder / "pretraining.json").read_text(encoding="utf8"))
    from dataclasses import asdict

    assert about["recipe"] == json.loads(json.dumps(asdict(Recipe())))
    assert about["log"][-1]["step"] == Recipe().early + Recipe().late
    assert about["log"][-1]["retrieval"] > about["log"][0]["retrieval"] + 0.4


def test_a_few_steps_of_the_recipe_lower_the_loss_the_same_way_each_time(tokenizer):
    small = Recipe(batch=4, fresh=16, warmup=4, layers=2, early=6, late=6, bfloat16=False, counted=200)

    def quietly(*args, **kwargs):
        pass

    logs = [train(small, report=quietly, tokenizer=tokenizer)[2] for _ in range(2)]
    assert logs[0] == logs[1]
    assert [entry["phase"] for entry in logs[0]] == ["all sorts of pair"]
    assert logs[0][-1]["masked_loss"] < 7.3  # ln(1600) = 7.4 is where it starts


def test_only_places_that_are_asked_for_count_in_the_loss(tokenizer):
    recipe = Recipe(batch=8)
    torch.manual_seed(0)
    trainer = Pretraining(new_model(recipe, len(tokenizer), 0), recipe)
    batch = text(recipe, tokenizer, 1, 3, recipe.late_mix)[0]
    logits = trainer(batch)
    assert logits["words"].shape == (int((batch.words != IGNORED).sum()), len(tokenizer))
    assert logits["contradicts"].shape == (int((batch.contradicts != IGNORED).sum()), 2)
    assert logits["wanted"].shape == (int((batch.wanted != IGNORED).sum()), 2)
    assert logits["unrelated"].shape == (8, 2)
    assert torch.isfinite(trainer.loss(batch))
    nothing = replace(batch, wanted=torch.full_like(batch.wanted, IGNORED))
    assert torch.isfinite(trainer.loss(nothing)), "a batch that asks nothing of a head must not make the loss nan"


def test_the_start_looks_at_neighbours_and_at_like_words_of_the_other_text(tokenizer):
    torch.manual_seed(0)
    model = new_model(Recipe(), len(tokenizer), tokenizer.pad_token_id)
    coded = tokenizer("Ann lives in Rome and Ben in Oslo", "Ben comes from Oslo, Ann", return_tensors="pt")
    with torch.no_grad():
        heads = model.bert(**coded, output_attentions=True).attentions[0][0]
    length = coded["input_ids"].shape[1]
    places = torch.arange(1, length - 1)
    assert (heads[0, 1:-1].argmax(-1) == places - 1).float().mean() > 0.8
    assert (heads[1, 1:-1].argmax(-1) == places + 1).float().mean() > 0.8
    words = tokenizer.convert_ids_to_tokens(coded["input_ids"][0])
    for word in ("Ann", "Ben", "Oslo"):
        one, two = (at for at, piece in enumerate(words) if piece == word)
        assert heads[3, one].argmax() == two
        assert heads[3, two].argmax() == one


def test_vectors_separate_kinds_and_sides_of_words_before_training(tokenizer):
    found = vectors(Recipe(), tokenizer, 4_000)
    praise, blame, people = (found[tokenizer.convert_tokens_to_ids(list(words))] for words in (GOOD, BAD, PEOPLE))
    assert (praise @ praise.T).mean() > (praise @ blame.T).mean() + 0.2
    assert (people @ people.T).mean() > (people @ praise.T).mean() + 0.2
    assert torch.allclose(praise.norm(dim=1), torch.ones(len(praise)))
    assert found[: tokenizer.mask_token_id + 1].abs().sum() == 0


def test_counting_company_finds_words_of_one_sort():
    rows = [[5, 6, 9], [5, 7, 9], [6, 7, 9], [10, 11, 14], [10, 12, 14], [11, 12, 14]] * 3
    found = word_vectors(rows, 16, 4, special=5)
    assert found[5] @ found[6] > 0.5
    assert abs(found[5] @ found[10]) < 0.1
    assert found[13].abs().sum() == 0


def test_the_tokenizer_comes_from_the_recipe_but_for_ties(tokenizer):
    """The trainer of ``tokenizers`` breaks ties between pieces by chance, so some pieces differ from run to run."""
    rebuilt = train_wordpiece(Recipe().seed, Recipe().vocab_size, Recipe().context).get_vocab()
    assert len(rebuilt) == len(tokenizer)
    assert len(rebuilt.keys() ^ tokenizer.get_vocab().keys()) < 0.02 * len(tokenizer)


def test_each_kind_of_event_has_five_wordings():
    assert all(len(kind.tellings) == 5 for kind in EVENT_KINDS.values())
