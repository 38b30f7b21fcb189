"""The benchmarks: measuring, tables, and that our own side of each of them still runs as it is called there."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import inference, merge, sft, table
from benchmarks.measure import Case, interleaved, measure

FILES = sorted(table.RESULTS.glob("*.json"))


def python(name: str, code: str, read=lambda folder, text: {}) -> Case:
    return Case(name, [sys.executable, "-c", code], {}, read)


def test_memory_of_children_counts_and_output_is_read(tmp_path):
    hold = "b = bytearray(200 * 2**20); import time; time.sleep(2)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}]); print('took 7 s')"
    found = measure(python("a", child, lambda folder, text: {"told": float(text.split()[1])}), tmp_path / "a")
    small = measure(python("b", "print(1)"), tmp_path / "b")
    assert found["told"] == 7 and found["seconds"] >= 2 and found["rss"] > 200 > small["rss"] > 1


def test_a_contestant_that_fails_ends_it_with_its_output(tmp_path):
    with pytest.raises(RuntimeError, match="(?s)bad ended with 3.*what it said"):
        measure(python("bad", "print('what it said'); raise SystemExit(3)"), tmp_path)


def test_contestants_take_turns(tmp_path):
    order = tmp_path / "order"
    cases = [python(name, f"open({str(order)!r}, 'a').write({name!r})") for name in "ab"]
    found = interleaved(cases, 3, tmp_path)
    assert order.read_text() == "ababab" and [len(runs) for runs in found.values()] == [3, 3]


def test_ratios_say_how_many_times_better_at_the_same_precision():
    runs = {
        "peft-labs, fp32": [{"rate": 200.0, "loss": 2, "rss": 100}] * 3,
        "peft-labs, bf16": [{"rate": 300.0, "loss": 3, "rss": 90}] * 3,
        "trl, bf16": [{"rate": rate, "loss": 1, "rss": 180} for rate in (160.0, 150.0, 90.0)],
        "other": [{"rate": 50.0, "loss": 1, "rss": 50}],
    }
    lines = table.table({"benchmark": "sft", "runs": runs}).splitlines()
    assert lines[0].count("ratio") == 2
    cells = [cell.strip() for cell in lines[4].split("|")[1:-1]]
    assert cells == ["trl, bf16", "150 (90–160)", "2.00", "180 (180–180)", "2.00", "1 (1–1)"]
    assert "| other | 50 (50–50) | 4.00 | 50 (50–50) | 0.50 |" in lines[5]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_readme_shows_what_was_measured(file):
    assert table.section(file.stem, json.loads(file.read_text())) in table.README.read_text()


def test_there_is_a_result_for_each_benchmark():
    assert {json.loads(file.read_text())["benchmark"] for file in FILES} == set(table.COLUMNS)


def small_base(tmp_path):
    """A Llama of two layers with a tokenizer, in float32 and in several shards."""
    import random_models as world
    from transformers import AutoModelForCausalLM

    base = world.make_model(tmp_path / "made")
    model = AutoModelForCausalLM.from_pretrained(base)
    model.config.max_position_embeddings = sft.LENGTH  # no weights depend on it; train refuses longer rows
    model.save_pretrained(base, max_shard_size="100KB")
    (base / "model.safetensors").unlink(missing_ok=True)
    return base


def test_both_merges_give_the_same_model(tmp_path, monkeypatch):
    found = merge.run(tmp_path / "merge", 1, 1, small_base(tmp_path))
    assert found["settings"]["shards"] > 1 and found["equal"]["relative"] < 5e-3
    assert set(found["runs"]) == {"peft-labs merge-adapter", "peft merge_and_unload"}


def test_our_own_training_and_inference_run_as_they_are_called(tmp_path):
    base = small_base(tmp_path)
    rows = [{"prompt": f"w{n} w{n + 1}", "completion": f" w{n + 2}"} for n in range(8)]
    place = tmp_path / "own"
    place.mkdir()
    command, read = sft._own(place, base, rows, 2, "fp32")
    assert measure(Case("own", command, {}, read), tmp_path / "train")["train"] >= 0
    inputs = tmp_path / "inputs.jsonl"
    inputs.write_text("".join(json.dumps({"text": row["prompt"]}) + "\n" for row in rows))
    cases = inference.contestants(tmp_path, base, inputs, 1, "generate")
    for case in cases:
        assert measure(case, tmp_path / case.name)["answering"] >= 0
    equal = inference._equal(tmp_path, [case.name for case in cases])
    assert min(equal.values()) > 0.9, equal
