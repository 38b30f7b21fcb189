"""The reference page and the template are what the schema says, and the schema is what the libraries say."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from transformers import TrainingArguments
from trl import SFTConfig

from shared.finetune import reference
from shared.finetune.config import Config, load_config
from shared.finetune.methods import METHODS
from shared.finetune.schema.library_arguments import CHOICES, LIMITS, NOT_IN_SFT, UNITS, first_sentence

TRAINING = {spec.name: spec for spec in dataclasses.fields(TrainingArguments) if spec.init}
SFT = {spec.name: spec for spec in dataclasses.fields(SFTConfig) if spec.init and spec.name not in TRAINING}
ENTRIES = list(reference.entries())


def in_section(name: str) -> dict[str, reference.Entry]:
    return {entry.key: entry for entry in ENTRIES if entry.section == name}


def test_the_files_are_as_generated(root: Path) -> None:
    fix = "run python -m shared.finetune.reference"
    assert (root / reference.PAGE).read_text(encoding="utf8") == reference.page(), fix
    assert (root / reference.TEMPLATE).read_text(encoding="utf8") == reference.template(), fix


def test_the_command_writes_and_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(reference, "repo_root", lambda: tmp_path)
    assert reference.main(["--check"]) == 1 and "out of date" in capsys.readouterr().err
    assert reference.main([]) == 0 and reference.main(["--check"]) == 0
    file = tmp_path / reference.PAGE
    file.write_text(file.read_text(encoding="utf8") + "more", encoding="utf8")
    assert reference.main(["--check"]) == 1


# Numbers without a unit: ranks, seeds, scales, learning rates. All others must have one.
DIMENSIONLESS = {
    "peft": {"lora_r", "lora_alpha", "rank_pattern", "alpha_pattern", "init_r", "target_r", "orth_reg_weight", "vera_r",
             "d_initial", "projection_prng_key", "reduction_factor", "bottleneck", "encoder_hidden_size"},
    "head": {"learning_rate"},
    "lab": {"seeds", "ranks", "learning_rates"},
    "training": {"learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
                 "neftune_noise_alpha", "seed", "data_seed"},
    "sft": {"router_aux_loss_coef"},
}  # fmt: skip


def test_each_key_is_documented_once_with_effect_and_unit() -> None:
    places = [(entry.section, entry.method, entry.key) for entry in ENTRIES]
    assert len(places) == len(set(places))
    for entry in ENTRIES:
        assert len(entry.effect) > 8, f"{entry.section}.{entry.key} says too little"
        number = re.match(r"(list: |mapping: string → )?(integer|number)", entry.type)
        known = entry.key in DIMENSIONLESS.get(entry.section, ())
        assert entry.unit or not number or known, (
            f"{entry.section}.{entry.key} ({entry.method}): a number without a [unit]"
        )
        assert not (entry.unit and known), f"{entry.section}.{entry.key} has a unit: remove it from DIMENSIONLESS"
        assert entry.unit != "1", f"{entry.section}.{entry.key}: [1] is not a unit"
    assert {entry.method for entry in ENTRIES if entry.section == "peft"} == set(METHODS)


@pytest.mark.parametrize(("section", "specs"), [("training", TRAINING), ("sft", SFT)])
def test_the_libraries_sections_are_theirs_by_name_default_and_help(section: str, specs: dict) -> None:
    found = in_section(section)
    assert set(found) == set(specs) - (set(NOT_IN_SFT) if section == "sft" else set())
    fields = Config.model_fields[section].annotation.model_fields
    for name, entry in found.items():
        spec = specs[name]
        default = None if spec.default is dataclasses.MISSING else getattr(spec.default, "value", spec.default)
        assert fields[name].default == default, name
        assert " ".join(spec.metadata["help"].replace("%%", "%").split()).startswith(entry.effect), name


def test_what_is_added_to_the_libraries_help_is_about_keys_that_they_have() -> None:
    known = {**TRAINING, **SFT}
    assert set(NOT_IN_SFT) < set(SFT)
    assert set(UNITS) <= set(known) and set(LIMITS) <= set(known)
    for name, values in CHOICES.items():
        assert all(f"'{value}'" in known[name].metadata["help"] for value in values), name


def test_what_sft_takes_arrives_in_trl(tmp_path: Path) -> None:
    from shared.finetune.train import sft_arguments

    overrides = ["sft.packing=true", "sft.packing_strategy=wrapped", "sft.max_seq_length=32", "sft.loss_type=dft"]
    config = load_config(reference.repo_root() / reference.TEMPLATE, ["training.use_cpu=true", *overrides[:2]])
    args = sft_arguments(config.changed(sft={"max_length": 32, "loss_type": "dft"}), tmp_path)
    assert (args.packing, args.packing_strategy, args.max_length, args.loss_type) == (True, "wrapped", 32, "dft")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One."),
        ("Log every X steps.\n  Should be an integer.", "Log every X steps."),
        ("calling `empty_cache()`.This can help.", "calling `empty_cache()`."),
        ("Not needed when using an nlp.Dataset. Else it is.", "Not needed when using an nlp.Dataset."),
        ("a file (e.g. `ds.json`) or more", "a file (e.g. `ds.json`) or more"),
    ],
)
def test_first_sentences(text: str, first: str) -> None:
    assert first_sentence(text) == first


def test_the_template_holds_every_key_set_or_at_its_default(root: Path) -> None:
    text = (root / reference.TEMPLATE).read_text(encoding="utf8")
    lines = [line.strip() for line in text.splitlines()]
    for entry in ENTRIES:
        kept = [line for line in lines if re.match(rf"#?{re.escape(entry.key)}:", line)]
        assert kept, f"{entry.section}.{entry.key} is missing"
    config = load_config(root / reference.TEMPLATE)
    for dotted, value in reference.SET.items():
        section, _, key = dotted.rpartition(".")
        assert getattr(getattr(config, section) if section else config, key) == value, dotted
    assert len(set(reference.SET)) == len([line for line in lines if re.match(r"\w+: \S", line)])


def test_a_commented_key_of_the_template_can_be_set_by_removing_the_mark(root: Path) -> None:
    text = (root / reference.TEMPLATE).read_text(encoding="utf8")
    training = text[text.index("\ntraining:") : text.index("\nsft:") + 1]
    whole = yaml.safe_load(re.sub(r"^(\s*)#(?=\w)", r"\1", training, flags=re.M))["training"]
    assert set(whole) == set(TRAINING)
    config = load_config(root / reference.TEMPLATE)
    changed = config.changed(training={name: whole[name] for name in ("seed", "optim", "weight_decay", "adam_beta2")})
    assert changed.training.optim == TRAINING["optim"].default
