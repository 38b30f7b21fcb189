"""The tasks: rows to numbers and back, metrics, what the wrappers of peft would get wrong, refusals."""

from __future__ import annotations

import pytest
import random_models as world
import torch
from datasets import ClassLabel, Dataset, Features, List, Value

from shared.errors import ConfigError, DataError, ModelError
from shared.finetune import train
from shared.finetune.config import Config
from shared.finetune.methods import METHODS
from shared.finetune.metrics import compute
from shared.finetune.models import load_base
from shared.finetune.tasks import batches, question_ans, seq_cls, token_cls
from shared.finetune.validate_config import estimate


@pytest.fixture(scope="module")
def place(bases):
    return bases


def configured(place, task, kind, peft, **training) -> Config:
    return Config.model_validate(world.task_config(place / kind, place / f"{task}.jsonl", task, peft, **training))


def tuned(place, task, kind, peft):
    config = configured(place, task, kind, peft)
    torch.manual_seed(0)
    model, tokenizer = load_base(config, labels=["no", "yes"] if task == "SEQ_CLS" else None)
    return METHODS[config.peft.method].apply(model, config.peft, task).eval(), tokenizer


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_classification_scores_the_positive_class_or_the_mean():
    binary = compute("classification", [1, 1, 0, 0], [1, 0, 0, 1], average="binary")
    assert binary == {"accuracy": 0.5, "f1": 0.5, "precision": 0.5, "recall": 0.5, "matthews": 0.0}
    macro = compute("classification", [0, 1, 2, 2], [0, 1, 1, 2], average="macro")
    assert macro["recall"] == pytest.approx((1 + 0.5 + 1) / 3) and macro["accuracy"] == 0.75


def test_tagging_counts_whole_names():
    right = [["B-PER", "I-PER", "O", "B-LOC"]]
    assert compute("tagging", [["B-PER", "O", "O", "B-LOC"]], right) == {
        "f1": 0.5, "precision": 0.5, "recall": 0.5, "accuracy": 0.75
    }  # fmt: skip


def test_squad_normalises_and_takes_the_best_reference():
    scores = compute("squad", ["The  Rome!", "big red dog"], [["Paris", "rome"], ["red dog", "cat"]])
    assert scores["exact_match"] == 0.5 and scores["f1"] == pytest.approx((1 + 0.8) / 2)


def test_rouge_and_exact_match():
    scores = compute("rouge", ["the cat sat", "a b"], ["the cat ran", "a b"])
    assert scores["exact_match"] == 0.5 and scores["rouge1"] == pytest.approx((2 / 3 + 1) / 2)


# -- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        (["sentence1", "sentence2", "label", "idx"], ["sentence1", "sentence2"]),
        (["sentence", "label", "idx"], ["sentence"]),
        (["text", "label"], ["text"]),
        (["question", "sentence", "label"], ["question", "sentence"]),
    ],
)
def test_columns_of_public_sets_are_known(place, columns, wanted):
    config = configured(place, "SEQ_CLS", "bert", {"method": "full"})
    assert seq_cls.text_columns(Dataset.from_dict({name: ["x"] for name in columns}), config) == wanted
    with pytest.raises(DataError, match="text_columns"):
        seq_cls.text_columns(Dataset.from_dict({"review": ["x"], "label": [0]}), config)


def test_class_labels_keep_their_numbers_and_hidden_ones_are_refused(place):
    config = configured(place, "SEQ_CLS", "bert", {"method": "full"})
    kinds = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    rows = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=kinds)
    assert seq_cls.references(rows, config, ["neg", "pos"]) == [1, 0]
    bare = Dataset.from_dict({"text": ["a", "b"], "label": ["pos", "neg"]})
    assert seq_cls.references(bare, config, ["neg", "pos"]) == [1, 0]
    hidden = Dataset.from_dict({"text": ["a"], "label": [-1]})
    with pytest.raises(DataError, match="-1.*none of the classes") as caught:
        seq_cls.references(hidden, config, ["0", "1"])
    assert "test_split" in caught.value.fix


def test_only_a_words_first_piece_has_a_label(place):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {name: n for n, name in enumerate(["<pad>", "[CLS]", "[SEP]", "<unk>", "play", "##ing", "chess"])}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>")
    config = configured(place, "TOKEN_CLS", "bert", {"method": "full"})
    model, _ = load_base(config, labels=["O", "B-PER"])
    kinds = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-PER"]))})
    rows = Dataset.from_dict({"tokens": [["playing", "chess"]], "ner_tags": [[1, 0]]}, features=kinds)
    (one,) = token_cls.features(rows, tokenizer, config, model)
    assert one["input_ids"] == [1, 4, 5, 6, 2] and one["labels"] == [-100, 1, -100, 0, -100]


def test_answers_are_found_in_the_windows_of_a_long_context(place):
    config = configured(place, "QUESTION_ANS", "bert", {"method": "full"})
    config = config.changed(dataset={"max_length": 16, "doc_stride": 4})
    model, tokenizer = load_base(config)
    words = world.WORDS[:30]
    text, answer = " ".join(words), "w20 w21"
    row = {
        "question": ["w20"],
        "context": [text],
        "answers": [{"text": [answer], "answer_start": [text.index(answer)]}],
    }
    rows = Dataset.from_dict(row)
    windows = question_ans.features(rows, tokenizer, config, model)
    assert len(windows) > 2 and all(len(one["input_ids"]) <= 16 for one in windows)
    found = [one["input_ids"][one["start_positions"] : one["end_positions"] + 1] for one in windows]
    inside = [tokenizer.decode(ids) for ids, one in zip(found, windows, strict=True) if one["start_positions"]]
    assert inside and set(inside) == {answer}
    # a model that is sure of the answer's tokens finds the text again, across the windows
    ids = set(tokenizer(answer, add_special_tokens=False)["input_ids"])

    class Sure(torch.nn.Module):
        device = torch.device("cpu")
        config = model.config

        def forward(self, input_ids, **kwargs):
            first, last = sorted(ids)
            return {"start_logits": (input_ids == first).float(), "end_logits": (input_ids == last).float()}

    assert question_ans.predict(Sure(), tokenizer, rows, config) == [answer]
    empty = Dataset.from_dict({**row, "answers": [{"text": [], "answer_start": []}]})
    with pytest.raises(DataError, match="SQuAD 2.0"):
        question_ans.features(empty, tokenizer, config, model)


def test_more_tokens_than_positions_are_refused(place):
    config = configured(place, "SEQ_CLS", "bert", {"method": "prompt-tuning", "num_virtual_tokens": 20})
    model, _ = load_base(config)
    assert batches.longest(config, model) == 76  # 96 positions, 20 of them for the prompt
    with pytest.raises(ConfigError, match="76 positions"):
        batches.longest(config.changed(dataset={"max_length": 90}), model)


# -- what peft's wrappers would get wrong -----------------------------------------------------------------------------

PROMPT = {"method": "prompt-tuning", "num_virtual_tokens": 5}


@pytest.mark.parametrize(("kind", "peft"), [("bert", PROMPT), ("gpt2", PROMPT), ("llama", PROMPT),
                                            ("gpt2", {"method": "p-tuning", "num_virtual_tokens": 3}),
                                            ("bert", {"method": "p-tuning-v2", "num_virtual_tokens": 3})])  # fmt: skip
def test_padding_does_not_change_a_class(place, kind, peft):
    model, tokenizer = tuned(place, "SEQ_CLS", kind, peft)
    ones = [dict(tokenizer(text)) for text in ("w1 w2 w3", "w4 w5 w6 w7 w8 w9 w10 w11")]
    with torch.no_grad():
        together = model(**batches.pad(ones, tokenizer.pad_token_id)).logits
        alone = torch.cat([model(**batches.pad([one], tokenizer.pad_token_id)).logits for one in ones])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning", "p-tuning-v2"])
def test_answers_do_not_depend_on_the_batch(place, method):
    from shared.finetune.evaluation import generate_answers

    model, tokenizer = tuned(place, "CAUSAL_LM", "gpt2", {"method": method})
    prompts = ["w1", "w2 w3 w4 w5 w6 w7", "w8 w9", "w1 w2 w3", "w39 w38 w37 w36 w2 w3 w4 w5", "w5"]
    alone = [generate_answers(model, tokenizer, [prompt], 8)[0] for prompt in prompts]
    assert generate_answers(model, tokenizer, prompts, 8) == alone and len({one.text for one in alone}) > 3


def test_a_prompted_bert_classifies_by_its_cls(place):
    read = {}
    for pool in ("cls", "first"):
        model, tokenizer = tuned(place, "SEQ_CLS", "bert", {**PROMPT, "pool": pool})
        bert = model.get_base_model().bert
        seen = []
        bert.encoder.register_forward_hook(lambda module, args, out, seen=seen: seen.append(out[0]))
        bert.pooler.dense.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(args[0]))
        with torch.no_grad():
            model(**tokenizer("w1 w2 w3", return_tensors="pt"))
        hidden, pooled = seen
        assert hidden.shape[1] == 5 + 5
        read[pool] = [place for place in range(10) if torch.equal(hidden[:, place], pooled)]
    assert read == {"cls": [5], "first": [0]}
    with torch.no_grad(), model.disable_adapter():
        assert model(**tokenizer("w1 w2 w3", return_tensors="pt")).logits.shape == (1, 2)


@pytest.mark.parametrize("method", ["lora", "prompt-tuning", "p-tuning-v2"])
def test_question_and_context_stay_apart(place, method):
    """peft's wrapper for question answering drops the token types."""
    model, tokenizer = tuned(place, "QUESTION_ANS", "bert", {"method": method})
    one = dict(tokenizer("w1 w2", "w3 w4 w5", return_tensors="pt"))
    with torch.no_grad():
        out, blind = model(**one), model(**{**one, "token_type_ids": torch.zeros_like(one["token_type_ids"])})
    assert out.start_logits.shape == one["input_ids"].shape
    assert (out.start_logits - blind.start_logits).abs().max() > 1e-3


def test_the_head_has_its_own_learning_rate(place, tmp_path):
    config = configured(place, "SEQ_CLS", "bert", PROMPT, learning_rate=0.3, max_steps=1)
    config = config.changed(head={"learning_rate": 1e-3})
    trainer = train.run(config, tmp_path, 0, score=False).trainer
    rates = {}
    for group in trainer.optimizer.param_groups:
        for one in group["params"]:
            name = next(name for name, other in trainer.model.named_parameters() if other is one)
            rates[name] = group["initial_lr"]
    assert len(rates) == 5 and set(rates) == {n for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert all(rate == (0.3 if "prompt" in name else 1e-3) for name, rate in rates.items())


def test_adalora_prunes_to_its_budget(place, tmp_path):
    peft = {"method": "adalora", "init_r": 6, "target_r": 2, "deltaT": 1, "target_modules": ["query", "value"]}
    config = configured(place, "SEQ_CLS", "bert", peft, max_steps=20, learning_rate=1e-2)
    trainer = train.run(config, tmp_path, 0, score=False).trainer
    settings = trainer.model.peft_config["default"]
    assert (settings.tinit, settings.tfinal, settings.total_step) == (2, 6, 20)
    left = sum(sum(one) for one in settings.rank_pattern.values())
    assert left == 2 * 4  # mean rank 2 over four matrices


def test_prompts_start_from_words(place):
    for peft in ({**PROMPT}, {**PROMPT, "init": "text", "init_text": "w1 w2"}):
        model, tokenizer = tuned(place, "SEQ_2_SEQ_LM", "t5", peft)
        words = model.get_base_model().get_input_embeddings().weight
        prompt = model.prompt_encoder["default"].embedding.weight
        numbers = [next(n for n, word in enumerate(words) if torch.equal(word, one)) for one in prompt]
        assert len(numbers) == 5
    assert numbers == (tokenizer("w1 w2")["input_ids"] * 2)[:5]


# -- refusals, estimates, merging -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "task", "kind", "word"),
    [
        ("bitfit", "CAUSAL_LM", "llama", "no bias terms"),
        ("bitfit", "SEQ_2_SEQ_LM", "t5", "no bias terms"),
        ("head", "CAUSAL_LM", "gpt2", "no new head"),
        ("prefix-tuning", "SEQ_CLS", "roberta", "TypeError"),
        ("p-tuning-v2", "TOKEN_CLS", "roberta", "TypeError"),
        ("prompt-tuning", "SEQ_CLS", "t5", "token ids"),
    ],
)
def test_what_can_not_work_is_refused_with_the_reason(place, method, task, kind, word):
    config = configured(place, task, kind, {"method": method})
    model, _ = load_base(config)
    with pytest.raises(ModelError, match=word) as caught:
        METHODS[method].apply(model, config.peft, task)
    assert caught.value.fix
    file = world.write_config(place / "refused.yaml", config.given())
    from shared.finetune.validate_config import validate

    found, problems = validate(file)
    assert found is None and problems[0].key == "peft.method" and word in problems[0].message


@pytest.mark.parametrize("task", ["SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM"])
def test_estimates_count_what_a_model_trains(place, task):
    kind = {"SEQ_CLS": "bert", "SEQ_2_SEQ_LM": "t5", "CAUSAL_LM": "gpt2"}[task]
    if kind == "bert":  # with a pooler: that a file has none can't be told from the architecture
        from transformers import BertConfig, BertForPreTraining

        BertForPreTraining(BertConfig.from_pretrained(place / kind)).save_pretrained(place / "pooled")
        world._word_tokenizer(kind).save_pretrained(place / "pooled")
        kind = "pooled"
    for method in METHODS:
        if (method, kind) not in (("bitfit", "t5"), ("head", "t5"), ("head", "gpt2")):
            config = configured(place, task, kind, {"method": method})
            model = METHODS[method].apply(load_base(config)[0], config.peft, task)
            trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
            assert estimate(config).trainable == trained, method
