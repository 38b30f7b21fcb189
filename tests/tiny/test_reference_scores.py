"""The reference scores: what is recorded belongs to the weights, and says what the labs say of the methods."""

import json

import pytest

from shared.tiny import MODELS, TASKS, reference_scores
from shared.tiny.measure import BASELINES, cells, measure
from shared.tiny.recipes import budget, config_for, methods
from shared.tiny.reference_scores import HERE, MEASURED, SEEDS, hashes, load, plan, report
from shared.tiny.reference_scores_report import figure, mean, table


@pytest.fixture(scope="module")
def found():
    return load()


def test_the_recorded_reference_scores_belong_to_these_weights_and_are_complete(found):
    assert found["sha256"] == hashes()
    assert found["seeds"] == list(SEEDS)
    measured = {(r["task"], r["method"], r["seed"]) for r in found["results"]}
    assert measured == set(plan(MEASURED, None, SEEDS))
    text = (HERE / "REFERENCE_SCORES.md").read_text(encoding="utf8")
    assert table(found["results"]) in text
    assert all(value in text for value in found["sha256"].values())


@pytest.mark.parametrize("name", MODELS)
def test_each_card_shows_its_reference_scores(found, name):
    card = (HERE / "models" / name / "README.md").read_text(encoding="utf8")
    assert table([r for r in found["results"] if TASKS[r["task"]].model == name]) in card
    assert "Not measured" not in card


@pytest.mark.parametrize("task", MEASURED)
def test_baselines_stay_clearly_below_full_fine_tuning(found, task):
    scores = {name: mean(found["results"], task, name) for name in cells(task)}
    frozen = scores["head"] if "head" in scores else scores.get("plain", scores.get("base"))
    assert frozen >= scores["majority"] + 0.05
    assert scores["full"] >= frozen + 0.10
    assert scores["full"] >= scores["majority"] + 0.10
    if "words" in scores:
        assert scores["full"] >= scores["words"] + 0.10


@pytest.mark.parametrize("task", ["mrpc", "sst2", "conll2003", "squad", "imdb", "billsum"])
def test_methods_differ_and_low_rank_comes_close_to_full_fine_tuning(found, task):
    scores = {name: mean(found["results"], task, name) for name in methods(task)}
    tuned = [score for name, score in scores.items() if name not in ("head", "full")]
    assert max(tuned) - min(tuned) > 0.05
    assert scores["prompt-tuning"] < scores["lora"]


def test_configurations_of_all_cells_are_valid():
    for task in MEASURED:
        for name in methods(task):
            config = config_for(task, name)
            assert config.dataset.name == f"tiny:{task}"
            assert config.training.max_steps == budget(task).steps
            assert config_for(task, name, steps=3, rate=0.5).training.learning_rate == 0.5


def test_a_measurement_trains_scores_and_says_how_much_was_trained():
    task, name = "mrpc", "bitfit"
    result = measure(task, name, 1, steps=2, scored=20)
    assert (result["task"], result["method"], result["seed"]) == (task, name, 1)
    assert 0 <= result["score"] <= 1
    assert result["trained"] == 4 * (7 * 128 + 512) + 2 * 128 + 2 * 128 + 2  # formula of BitFit, and the head


def test_the_bag_of_words_and_the_majority_need_no_training():
    assert 0.5 < measure("mrpc", "majority", 0)["score"] < 0.7
    assert measure("sst2", "words", 0, scored=200)["score"] > 0.5
    assert measure("conll2003", "majority", 0, scored=50)["score"] == 0
    assert "words" not in cells("squad")
    assert "base" not in cells("mrpc") and "base" in cells("guanaco")


def test_new_results_replace_old_ones_and_keep_the_rest(found):
    one = next(r for r in found["results"] if r["method"] == "full")
    changed = [{**r, "score": 0.123} for r in found["results"] if (r["task"], r["method"]) == (one["task"], "full")]
    again = report(changed, SEEDS)
    assert len(again["results"]) == len(found["results"])
    assert mean(again["results"], one["task"], "full") == pytest.approx(0.123)
    assert [r for r in again["results"] if r["method"] != "full" or r["task"] != one["task"]] == [
        r for r in found["results"] if r["method"] != "full" or r["task"] != one["task"]
    ]


def test_the_figure_has_a_panel_for_each_task(found):
    fig = figure(found["results"])
    assert [axes.get_title() for axes in fig.axes if axes.get_visible()] == list(MEASURED)
    assert all(axes.get_xlabel().endswith("[%]") for axes in fig.axes if axes.get_visible())


def test_baselines_are_planned_once_and_methods_for_each_seed():
    todo = plan(["mrpc"], None, (0, 1))
    assert sum(name in BASELINES for _, name, _ in todo) == 2
    assert sum(name == "lora" for _, name, _ in todo) == 2
    assert plan(["mrpc"], ["full"], (0, 1, 2)) == [("mrpc", "full", seed) for seed in (0, 1, 2)]
    assert json.dumps(todo)


def test_an_interrupted_measurement_goes_on_where_it_stopped(tmp_path, monkeypatch):
    """What was measured is kept result by result, and taken again only for the same weights and configuration."""
    asked = []

    def fake(todo, jobs, **changes):
        for number, (task, name, seed) in enumerate(todo):
            if number == 2:
                raise KeyboardInterrupt
            asked.append((task, name, seed))
            yield {"task": task, "method": name, "seed": seed, "score": 0.5}

    monkeypatch.setattr(reference_scores, "run", fake)
    monkeypatch.setattr(reference_scores, "repo_root", lambda: tmp_path)
    todo = plan(["mrpc"], ["lora", "full"], (0, 1))
    with pytest.raises(KeyboardInterrupt):
        list(reference_scores.measured(todo, 1, False, {}))
    assert [(r["method"], r["seed"]) for r in reference_scores.measured(todo, 1, True, {})] == [
        (m, s) for _, m, s in todo
    ]
    assert sorted(asked) == sorted(todo), "each is measured once"
    with pytest.raises(KeyboardInterrupt):
        list(reference_scores.measured(todo, 1, True, {"scored": 7}))  # another configuration: nothing of it is there
    assert len(asked) == len(todo) + 2


def test_a_short_answer_that_is_always_the_same_is_a_baseline_of_generation():
    """The most frequent number, summary or program; none of them comes near what is asked."""
    for task in ("gsm8k", "billsum", "code_feedback"):
        assert 0 <= measure(task, "majority", 0, scored=40)["score"] < 0.3
