"""Chats: what is prompt and what is answer, which tokens the loss counts, how answers are scored, refusals."""

from __future__ import annotations

import json

import pytest
import random_models as world
from datasets import Dataset
from transformers import AutoTokenizer

from shared.errors import DataError
from shared.finetune import data, evaluate, inference, train
from shared.finetune.config import Config, find_problems
from shared.finetune.data.chats import plain
from shared.finetune.evaluation import Generation, scoring
from shared.finetune.models import load_base
from shared.finetune.schema.sections import DatasetSection
from shared.finetune.training import training_run
from shared.tiny import model_path

# As ChatML: the role, the text, the end token and a line break behind it
TEMPLATE = (
    "{% for m in messages %}### {{ m.role }} : {{ m.content }} <eos>\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant :{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE


def chat(*texts: str, first: str = "user") -> list[dict]:
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


LONG = [{"role": "system", "content": "w0"}, *chat("w1 w2", "w3", "w4", "w5 w6")]


def section(**values) -> DatasetSection:
    return DatasetSection(**{"name": "rows.jsonl", **values})


@pytest.fixture(scope="module")
def llama():
    return AutoTokenizer.from_pretrained(model_path("llama"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = world.make_model(tmp_path_factory.mktemp("chats"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def words(model):
    return AutoTokenizer.from_pretrained(model)


@pytest.fixture
def configured(model, tmp_path):
    def make(lines, dataset=None, **evaluation) -> Config:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in lines))
        values = world.config_dict(model, file, max_steps=1)
        values["dataset"] = {"name": str(file), **(dataset or {})}
        values["evaluation"] |= evaluation
        return Config.model_validate(values)

    return make


def pairs(messages, tokenizer, every=False, **values):
    rows = Dataset.from_list([{values.get("messages_field") or "messages": messages}])
    found = data.to_prompt_completion(rows, section(**values), tokenizer, every)
    return list(zip(found["prompt"], found["completion"], strict=True))


# -- prompts and completions ------------------------------------------------------------------------------------------


def test_the_micro_models_template_gives_prompt_and_answer(llama):
    turns = chat("Who is Ann?", "a nurse", "And Ben?", "a cook")
    last = ("### Human: Who is Ann?### Assistant: a nurse### Human: And Ben?### Assistant:", " a cook")
    assert pairs(turns, llama) == [last]
    assert pairs(turns, llama, every=True) == [("### Human: Who is Ann?### Assistant:", " a nurse"), last]
    assert pairs(turns, llama, messages_field="turns") == [last]
    assert data.split_row({"messages": turns}, section(), llama) == last
    assert data.response_of({"messages": turns}, section()) == "a cook"


def test_what_follows_the_last_answer_is_left_out_and_a_greeting_answers_nothing(llama):
    assert pairs(chat("q", "a", "q"), llama) == [("### Human: q### Assistant:", " a")]
    greeted = chat("hello", "q", "a", first="assistant")
    assert pairs(greeted, llama, every=True) == [("### Assistant: hello### Human: q### Assistant:", " a")]
    assert len(pairs([{"role": "system", "content": "s"}, *greeted], llama, every=True)) == 1


def test_the_templates_end_of_an_answer_belongs_to_it_once(words):
    (found,) = pairs(chat("w1", "w2"), words)
    assert found == ("### user : w1 <eos>\n### assistant :", " w2 <eos>")
    words.chat_template = TEMPLATE.replace("<eos>", "###")  # another end than the tokenizer's: all of it is learnt
    assert pairs(chat("w1", "w2"), words)[0][1] == " w2 ###\n"
    assert plain(" w2 <eos>", words) == "w2"


def test_the_begin_token_is_not_doubled(words):
    from tokenizers import processors

    words.add_special_tokens({"bos_token": "<s>"})
    number = words.bos_token_id
    words.chat_template = "{{ bos_token }} " + TEMPLATE
    for adds in (False, True):  # a tokenizer that leaves it to the template, and one that puts it before any text
        if adds:
            words._tokenizer.post_processor = processors.TemplateProcessing(
                single="<s> $A", special_tokens=[("<s>", number)]
            )
        ((prompt, completion),) = pairs(chat("w1", "w2"), words)
        for text in (prompt, prompt + completion):
            assert words(text)["input_ids"].count(number) == 1 == words(text)["input_ids"].index(number) + 1


@pytest.mark.parametrize(
    ("every", "wanted"),
    [(False, [["w5", "w6", "<eos>"]]), (True, [["w3", "<eos>"], ["w5", "w6", "<eos>"]])],
)
def test_loss_counts_the_assistants_text_only(configured, tmp_path, every, wanted):
    """Token by token, through SFTTrainer's own preparation and collator."""
    config = configured([{"messages": LONG}] * 10, {"train_on": "all" if every else "last"})
    base, tokenizer = load_base(config)
    rows = training_run._rows(config, tokenizer)
    trainer, _ = training_run._trainer(config, base, tokenizer, rows, tmp_path / "c", 0, ())
    assert len(trainer.train_dataset) == 8 * len(wanted)  # ten rows less one each for evaluation and test
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(len(wanted))])
    for ids, labels, right in zip(batch["input_ids"], batch["labels"], wanted, strict=True):
        counted = labels != -100
        assert tokenizer.convert_ids_to_tokens(ids[counted]) == right
        seen = tokenizer.convert_ids_to_tokens(ids[: int(counted.nonzero()[0])])
        assert seen[:4] == ["###", "<unk>", ":", "w0"] and seen[-3:] == ["###", "<unk>", ":"]
        assert int(counted.nonzero()[-1] - counted.nonzero()[0]) + 1 == len(right)  # one piece


# -- answers ----------------------------------------------------------------------------------------------------------


def test_each_chat_is_answered_once_and_judged_without_special_tokens(monkeypatch, configured, tmp_path):
    config = configured([{"messages": LONG, "tests": "assert x"}] * 30, {"train_on": "all"}, rows=2)
    found = [Generation(" w5 w6", True), Generation(" w5", True)]
    monkeypatch.setattr(scoring, "generate_answers", lambda model, tokenizer, prompts, *rest: found[: len(prompts)])
    result = train.run(config, tmp_path / "c", 0)
    assert [one["right"] for one in result.notes] == [True, False] and result.metrics["exact_match"] == 0.5
    assert result.notes[0]["reference"] == "w5 w6" and result.notes[0]["prompt"].endswith("w4 <eos>\n### assistant :")


def test_programs_in_chats_are_judged(monkeypatch, configured, model):
    config = configured([{"messages": chat("w1", "w2"), "tests": "assert x == 1"}] * 30, metric="pass_at_1", rows=2)
    found = [Generation(f"```python\nx = {n}\n```", True) for n in (1, 2)]
    monkeypatch.setattr(scoring, "generate_answers", lambda *args: found)
    scoring.check_references(config)
    scores = evaluate.evaluate_rows(*load_base(config), config)
    assert scores["pass_at_1"] == 0.5 and scores["exact_match"] == 0.0


def test_inference_takes_chats_and_bare_texts(configured, tmp_path, words):
    rows = [{"messages": chat("w1", "w2", "w3")}, {"messages": chat("w1", "w2")}, {"text": "w1"}, {"query": "w1"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = world.write_config(tmp_path / "c.yaml", configured([{"messages": LONG}] * 30).given())
    call = [
        "--config",
        str(file),
        "--input_file",
        str(tmp_path / "in.jsonl"),
        "--output_file",
        str(tmp_path / "o.json"),
    ]
    assert inference.main(call) == 0
    found = json.loads((tmp_path / "o.json").read_text())
    one = "### user : w1 <eos>\n### assistant :"
    assert [row.get("prompt") for row in found] == [
        "### user : w1 <eos>\n### assistant : w2 <eos>\n### user : w3 <eos>\n### assistant :", one, one, None
    ]  # fmt: skip
    assert "no column 'messages'" in found[3]["error"]
    assert data.prompt_of_text("w1", section(input_template="w0 {text}"), words).startswith("### user : w0 w1 <eos>")


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "template", "values", "word", "fix"),
    [
        ({"messages": chat("w1", "w2")}, None, {}, "no chat template", "instruct"),
        ({"messages": LONG}, NO_SYSTEM, {}, "row 1: .*roles system, user, .*no system role", "row"),
        (
            {"messages": chat("w1", "w2")},
            TEMPLATE.replace("### assistant", "w9"),
            {},
            "otherwise than in use",
            "text col",
        ),
        ({"question": "w1", "answer": "w2"}, TEMPLATE, {}, "columns are question, answer", "prompt_template"),
        ({"turns": chat("w1", "w2")}, TEMPLATE, {"messages_field": "turn"}, "no column 'turn'", "turns"),
        (
            {"messages": chat("w1", "w2")},
            TEMPLATE,
            {"response_marker": "#"},
            "columns are messages",
            "remove response_",
        ),
        ({"messages": chat("w1", "w2")}, TEMPLATE, {"max_words": {"messages": 3}}, "max_words", "remove"),
        ({"messages": "w1"}, TEMPLATE, {}, "row 1: messages is not a list", '"role"'),
        ({"messages": [{"from": "human", "value": "w1"}]}, TEMPLATE, {}, "not a list of messages", "rename"),
        ({"messages": chat("w1")}, TEMPLATE, {}, "no message of the role assistant.*roles are user", "remove"),
        ({"messages": chat("w1", "w2", first="assistant")}, TEMPLATE, {}, "no message of the role assist", "remove"),
        ({"messages": chat("w1", " ")}, TEMPLATE, {}, "message 2, an answer, is empty", "remove"),
    ],
)
def test_bad_chats_say_what_is_wrong(words, row, template, values, word, fix):
    words.chat_template = template
    with pytest.raises(DataError, match=word) as caught:
        data.to_prompt_completion(Dataset.from_list([row]), section(**values), words)
    assert fix in caught.value.fix


def test_chats_need_the_tokenizer():
    with pytest.raises(DataError, match="tokenizer"):
        data.to_prompt_completion(Dataset.from_list([{"messages": chat("w1", "w2")}]), section())


@pytest.mark.parametrize(
    ("task", "dataset", "key", "fix"),
    [
        ("CAUSAL_LM", {"train_on": "every"}, "train_on", "choose from: last, all"),
        ("CAUSAL_LM", {"train_on": "all", "prompt_template": "{a} {b}"}, "train_on", "keep one"),
        ("CAUSAL_LM", {"messages_field": "chat", "response_marker": "#"}, "messages_field", "keep one"),
        ("SEQ_2_SEQ_LM", {"messages_field": "chat", "prompt_template": "{a} {b}"}, "messages_field", "remove the key"),
        ("CAUSAL_LM", {"messages_field": "chat", "train_on": "all"}, None, None),
        ("CAUSAL_LM", {}, None, None),
    ],
)
def test_problems_of_chats(tmp_path, task, dataset, key, fix):
    values = world.task_config(tmp_path / "m", tmp_path / "rows.jsonl", task, {"method": "lora"})
    values["dataset"] = {"name": "rows.jsonl", **dataset}
    problems = {problem.key: problem for problem in find_problems(world.write_config(tmp_path / "c.yaml", values))}
    assert problems.keys() == ({f"dataset.{key}"} if key else set())
    if key:
        assert fix in problems[f"dataset.{key}"].fix


def test_validation_looks_into_data_that_are_at_hand(configured, tmp_path):
    from shared.finetune.validate_config import validate

    rows = [{"question": "w1", "answer": "w2"}] * 9
    file = world.write_config(tmp_path / "c.yaml", configured(rows).given())
    _, (problem,) = validate(file)
    assert problem.key == "dataset" and "columns are question, answer" in problem.message and problem.line == 9
    made = configured(rows, {"prompt_template": "{question} {answer}"}, metric="pass_at_1").given()
    _, (problem,) = validate(world.write_config(tmp_path / "c.yaml", made))
    assert problem.key == "evaluation.tests_field" and "columns are question, answer" in problem.message
    good, problems = validate(world.write_config(tmp_path / "c.yaml", configured([{"messages": LONG}] * 9).given()))
    assert good and not problems
