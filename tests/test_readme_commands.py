"""The README's section "Your data in five minutes": its files and commands work, and print what it shows."""

from __future__ import annotations

import csv
import json

import pytest
import readme_commands
import yaml

README = readme_commands.README.read_text(encoding="utf8")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The folder, and each command's output; run once, in the README's order."""
    folder = tmp_path_factory.mktemp("five-minutes")
    for name, body in readme_commands.files(README).items():
        (folder / name).write_text(body, encoding="utf8")
    return folder, [(step, readme_commands.run(step.command, folder)) for step in readme_commands.steps(README)]


def test_the_section_shows_a_csv_a_ten_line_yaml_and_all_commands():
    shown = readme_commands.files(README)
    assert len(list(csv.DictReader(shown["reviews.csv"].splitlines()))) >= 20
    assert len(shown["reviews.yaml"].splitlines()) == 10 and yaml.safe_load(shown["reviews.yaml"])["dataset"]
    commands = [step.command.split()[1] for step in readme_commands.steps(README)]
    assert commands[:3] == ["validate-config", "train", "inference"] and commands[-2:] == ["merge-adapter", "inference"]


def test_each_command_prints_what_the_readme_shows(outputs):
    """Fix: python tests/support/readme_commands.py writes the outputs anew."""
    shown = 0
    for step, found in outputs[1]:
        if step.output:
            shown += 1
            expected = readme_commands.without_measurements(step.output)
            assert readme_commands.without_measurements(found) == expected, step.command
    assert shown >= 5


def test_the_merged_model_is_a_model_and_the_answers_are_a_file(outputs):
    folder, _ = outputs
    assert (folder / "merged" / "model.safetensors").is_file() and not list((folder / "merged").glob("adapter*"))
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text(encoding="utf8").splitlines()]
    assert len(rows) == len(list(csv.DictReader((folder / "reviews.csv").read_text().splitlines())))
    assert all({"text", "label", "answer", "probabilities"} <= row.keys() for row in rows)


def test_a_changed_output_is_noticed():
    told = "2 weights merged, 5.6 s\nnegative (99.9%)\n"
    assert readme_commands.without_measurements(told) != readme_commands.without_measurements(told.replace("99", "98"))
    assert readme_commands.without_measurements(told) == readme_commands.without_measurements(told.replace("5.6", "7"))
