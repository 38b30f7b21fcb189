"""The configuration schema: every problem with its key, line and fix, all at once."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.finetune.config import Config, find_problems, load_config
from shared.finetune.validate_config import main as validate_main
from shared.finetune.validate_config import shipped_configs

GOOD = """\
task_name: words
task_type: CAUSAL_LM
model:
  name_or_path: tiny:llama
  dtype: float32
peft:
  method: lora
  lora_r: 8
  lora_dropout: 0.0
dataset:
  name: rows.jsonl
  prompt_template: "Q: {question} A: {answer}"
training:
  learning_rate: 2e-4
  eval_strategy: no
  max_steps: 10
sft:
  max_length: 64
"""


def write(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return file


def test_good_file_keeps_values_and_types(tmp_path):
    config = load_config(write(tmp_path, GOOD))
    assert config.training.learning_rate == 2e-4  # a string by YAML 1.1
    assert config.training.eval_strategy == "no"  # False by YAML 1.1
    assert config.peft.lora_r == 8 and config.sft.max_length == 64
    assert config.training.warmup_ratio == 0.0  # TrainingArguments' default


@pytest.mark.parametrize(
    ("old", "new", "key", "line", "fix"),
    [
        ("lora_r: 8", "lora_rank: 8", "peft.lora_rank", 8, "lora_r"),
        ("lora_r: 8", 'lora_r: "8"', "peft.lora_r", 8, "lora_r: 8"),
        ("lora_r: 8", "lora_r: 0", "peft.lora_r", 8, ""),
        ("lora_r: 8", "lora_r: 8.5", "peft.lora_r", 8, "whole number"),
        ("lora_dropout: 0.0", "lora_dropout: 1.5", "peft.lora_dropout", 9, ""),
        ("method: lora", "method: lorra", "peft.method", 7, "lora"),
        ("method: lora", "method: ia4", "peft.method", 7, "ia3"),
        ("method: lora", "method: ia3", "peft.lora_r", 8, "target_modules"),
        ("  method: lora\n", "", "peft.method", 6, "full, head, ia3, ln-tuning, lora"),
        ("name_or_path: tiny:llama", "name: tiny:llama", "model.name_or_path", 3, "name_or_path"),
        ("dtype: float32", "dtype: float23", "model.dtype", 5, "float32"),
        ("dtype: float32", "use_auth_token: hf_secret", "model.use_auth_token", 5, "hf auth login"),
        ("dtype: float32", "trust_remote_code: yes", "model.trust_remote_code", 5, "true"),
        ("learning_rate: 2e-4", "learning_rat: 2e-4", "training.learning_rat", 14, "learning_rate"),
        ("learning_rate: 2e-4", 'learning_rate: "2e-4"', "training.learning_rate", 14, "without quotes"),
        ("learning_rate: 2e-4", "lr_scheduler_type: cosin", "training.lr_scheduler_type", 14, "cosine"),
        ("learning_rate: 2e-4", "optim: adamw_tourch", "training.optim", 14, "adamw_torch"),
        ("learning_rate: 2e-4", "max_steps: 20", "training.max_steps", 16, "one of the two"),
        ("learning_rate: 2e-4", "bf16: 1", "training.bf16", 14, "bf16: true"),
        ("learning_rate: 2e-4", "lora_alpha: 16", "training.lora_alpha", 14, "peft:"),
        ("eval_strategy: no", "load_best_model_at_end: true", "training.load_best_model_at_end", 15, "set both"),
        ("max_length: 64", "max_lenght: 64", "sft.max_lenght", 18, "max_length"),
        ("max_length: 64", "max_length: 64\n  max_seq_length: 32", "sft.max_seq_length", 19, "max_length"),
        ("task_type: CAUSAL_LM", "task_type: CAUSAL", "task_type", 2, "CAUSAL_LM"),
        ("task_type: CAUSAL_LM", "task_type: SEQ_CLS", "sft", 17, "dataset.max_length"),
        ("task_type: CAUSAL_LM", "task_type: SEQ_CLS", "dataset.prompt_template", 12, "remove the key"),
        ("{question} A: {answer}", "{question A: {answer}", "dataset.prompt_template", 12, "{column}"),
        ("{question} A: {answer}", "no placeholder", "dataset.prompt_template", 12, "{column}"),
        ("task_name: words", "task_nam: words", "task_nam", 1, "task_name"),
        ("training:", "trainig:", "trainig", 13, "training"),
        ("peft:\n", "peft:\n\tmethod: lora\n", "(syntax)", 7, "spaces"),
    ],
)
def test_problem_has_key_line_and_fix(tmp_path, old, new, key, line, fix):
    assert old in GOOD
    problems = find_problems(write(tmp_path, GOOD.replace(old, new, 1)))
    found = {problem.key: problem for problem in problems}
    assert key in found, [str(problem) for problem in problems]
    assert found[key].line == line and fix in found[key].fix, str(found[key])
    assert found[key].file.endswith("config.yaml")


@pytest.mark.parametrize(
    ("extra", "key", "fix"),
    [
        ("model.quantization={load_in_4bit: true, load_in_8bit: true}", "model.quantization.load_in_8bit", "keep one"),
        ("dataset.response_marker=###", "dataset.response_marker", "prompt_template for data in columns"),
        ("dataset.response_field=reply", "dataset.response_field", "reply"),
        ("dataset.response_field=question", "dataset.response_field", "move {question} after {answer}"),
        ("dataset.input_template=Q", "dataset.input_template", "{text}"),
        ("lab={compare: [qlora, dora]}", "lab.compare[1]", "qlora"),
        ("peft={method: full}", None, None),
        ("head={learning_rate: 1e-3}", "head", "remove the section"),
        ("dataset.max_length=64", "dataset.max_length", "sft.max_length"),
        ("dataset.doc_stride=8", "dataset.doc_stride", "remove the key"),
        ("peft={method: prompt-tuning, init: text}", "peft.init_text", "start from"),
        ("peft={method: prompt-tuning, init_text: Classify}", "peft.init_text", "init: text"),
        ("peft={method: adapter, bottleneck: 8, reduction_factor: 4.0}", "peft.reduction_factor", "keep one"),
        ("peft={method: adalora, init_r: 4, target_r: 8}", "peft.target_r", "lower"),
        ("peft={method: prefix-tuning, num_virtual_tokens: 0}", "peft.num_virtual_tokens", ""),
        ("nonsense", "nonsense", "key=value"),
    ],
)
def test_problems_between_keys(tmp_path, extra, key, fix):
    problems = {problem.key: problem for problem in find_problems(write(tmp_path, GOOD), [extra])}
    if key is None:
        assert not problems
    else:
        assert fix in problems[key].fix and problems[key].line == 0


def test_quantised_base_is_refused_for_full_fine_tuning(tmp_path):
    overrides = ["peft={method: full}", "model.quantization={load_in_4bit: true}"]
    (problem,) = find_problems(write(tmp_path, GOOD), overrides)
    assert problem.key == "model.quantization.load_in_4bit" and "QLoRA" in problem.fix


@pytest.mark.parametrize(
    ("method", "override", "key"),
    [
        ("bitfit", "model.quantization={load_in_4bit: true}", "model.quantization.load_in_4bit"),
        ("adapter", "model.quantization={load_in_8bit: true}", "model.quantization.load_in_8bit"),
        ("prefix-tuning", "training.gradient_checkpointing=true", "training.gradient_checkpointing"),
        ("p-tuning-v2", "training.gradient_checkpointing=true", "training.gradient_checkpointing"),
    ],
)
def test_methods_that_do_not_go_with_a_setting_say_why(tmp_path, method, override, key):
    (problem,) = find_problems(write(tmp_path, GOOD), [f"peft={{method: {method}}}", override])
    assert problem.key == key and method in problem.message and problem.fix
    assert not find_problems(write(tmp_path, GOOD), ["peft={method: lora}", override])


@pytest.mark.parametrize("task", ["SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "SEQ_2_SEQ_LM"])
def test_other_tasks_need_no_template_and_no_sft(tmp_path, task):
    text = GOOD.split("sft:")[0].replace("CAUSAL_LM", task)
    problems = {problem.key for problem in find_problems(write(tmp_path, text))}
    assert problems == (set() if task == "SEQ_2_SEQ_LM" else {"dataset.prompt_template"})


def test_a_token_is_never_shown(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, GOOD.replace("dtype: float32", "use_auth_token: hf_secret")))
    shown = [problem for problem in caught.value.problems if "token must not be written" in problem.message]
    assert shown and "hf_secret" not in str(caught.value)


def test_all_problems_at_once_in_the_files_order(tmp_path):
    text = (
        GOOD.replace("lora_r: 8", "lora_rr: 8")
        .replace("dtype: float32", "dtype: f32")
        .replace("max_steps: 10", "max_stepss: 10")
        .replace("max_length: 64", "packing: 3")
        .replace("{question} A: {answer}", "{question")
    )
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    assert [problem.line for problem in caught.value.problems] == [5, 8, 12, 16, 18]
    for problem in caught.value.problems:
        assert str(problem) in str(caught.value) and problem.fix


def test_missing_and_empty_files_are_problems(tmp_path):
    (problem,) = find_problems(tmp_path / "none.yaml")
    assert "no such file" in problem.message
    assert find_problems(write(tmp_path, ""))
    assert find_problems(write(tmp_path, "- a\n- b\n"))


def test_overrides_win_and_are_typed(tmp_path):
    config = load_config(write(tmp_path, GOOD), ["training.learning_rate=1e-3", "peft.lora_r=2", "sft.packing=true"])
    assert (config.training.learning_rate, config.peft.lora_r, config.sft.packing) == (1e-3, 2, True)


def test_max_seq_length_is_an_alias(tmp_path):
    text = GOOD.replace("max_length: 64", "max_seq_length: 32")
    assert load_config(write(tmp_path, text)).sft.max_length == 32


def test_yaml_round_trip_is_equal(tmp_path):
    config = load_config(write(tmp_path, GOOD))
    again = tmp_path / "again.yaml"
    again.write_text(config.to_yaml())
    assert load_config(again) == config


def test_changed_copies_and_checks(tmp_path):
    config = load_config(write(tmp_path, GOOD))
    assert config.changed(peft={"lora_r": 2}).peft.lora_r == 2 and config.peft.lora_r == 8
    assert config.changed(peft={"method": "full"}).peft.method == "full"
    with pytest.raises(ConfigError):
        config.changed(peft={"lora_r": -1})


ODD = (None, True, 3, -1.5, "x", "", [], ["x"], [[1]], {}, {"x": 1}, {"x": {"y": None}})


@pytest.mark.parametrize("task", ["CAUSAL_LM", "SEQ_2_SEQ_LM"])
def test_no_odd_value_of_any_key_stops_the_check(task):
    import copy

    from shared.finetune.config import check, valid_part
    from shared.finetune.schema.key_lookup import walk
    from shared.finetune.schema.yaml_source import Source, parse_source

    good = parse_source(GOOD.replace("CAUSAL_LM", task)).data
    keys = list(dict.fromkeys((section, key) for section, _, key, _ in walk(Config)))
    for section, key in keys:
        for odd in ODD:
            data = copy.deepcopy(good)
            here = data
            for step in section.split(".") if section else ():
                here = here.setdefault(step, {}) if isinstance(here, dict) else {}
            here[key] = odd
            config, problems = check(Source("odd.yaml", data))
            assert (config is None) == bool(problems)
            assert all(problem.fix for problem in problems), (section, key, odd, list(map(str, problems)))
            assert not any(problem.key.endswith((".int", ".str", "]]")) for problem in problems), list(
                map(str, problems)
            )
            assert valid_part(Source("odd.yaml", data)) is not None, (section, key, odd)


def test_each_key_says_what_it_does():
    for section in ("model", "dataset", "sft", "evaluation"):
        for name, field in Config.model_fields[section].annotation.model_fields.items():
            assert field.description and len(field.description) > 8, f"{section}.{name}"


def test_training_is_exactly_trainingarguments():
    import dataclasses

    from transformers import TrainingArguments

    names = {spec.name for spec in dataclasses.fields(TrainingArguments) if spec.init}
    assert set(Config.model_fields["training"].annotation.model_fields) == names


def test_shipped_configs_are_good(capsys):
    assert len(shipped_configs()) >= 3
    assert validate_main(["--all"]) == 0, capsys.readouterr().out
    assert f"{len(shipped_configs())} configurations" in capsys.readouterr().out


def test_exit_codes(tmp_path, capsys):
    bad = write(tmp_path, GOOD.replace("lora_r", "lora_rr"))
    assert validate_main([str(bad)]) == 1
    assert "did you mean lora_r" in capsys.readouterr().out
    assert validate_main([]) == 2
    with pytest.raises(SystemExit) as caught:
        validate_main(["--nonsense"])
    assert caught.value.code == 2
    assert validate_main(["--schema"]) == 0 and "lora_alpha" in capsys.readouterr().out
