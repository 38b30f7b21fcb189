"""Rules for all figures: per cent ends at 100, every line has its legend entry, few points are no curve."""

from __future__ import annotations

import matplotlib as mpl
import pytest

from shared import plotting
from shared.plotting.stacks import stacks

TITLE = "LoRA reaches 88 % of the held-out rows, two percentage points more than full fine-tuning of all weights"
REFERENCES = {"majority class": 57.8, "strongest baseline": 81.5}
POINTS = {"base": (10, [58.0]), "lora": (100, [90.0, 91.0]), "full": (1000, [96.7, 97.0])}


def test_per_cent_ends_at_100():
    scores = {name: values for name, (_, values) in POINTS.items()}
    label = "accuracy on held-out rows [%]"
    assert plotting.bars(scores, label, references=REFERENCES).axes[0].get_xlim()[1] == 100
    assert plotting.bars({"a": 0.5, "b": 0.9}, "accuracy", form="{:.1%}").axes[0].get_xlim()[1] == 1
    assert plotting.intervals({"a": (96, 93, 99)}, label).axes[0].get_xlim()[1] == 100
    assert plotting.lines({"a": {1: 50, 2: 90, 8: 99}}, "rows", label).axes[0].get_ylim()[1] == 100
    assert plotting.sweep({1: [80, 90], 4: [99, 100]}, "rank r", label).axes[0].get_ylim()[1] == 100
    assert plotting.pareto(POINTS, label).axes[0].get_ylim()[1] == 100
    assert plotting.token_lengths({"train": [3]}).axes[0].get_ylim()[1] == 100


def test_values_above_100_and_small_shares_stay_readable():
    assert plotting.bars({"a": 250.0}, "violation [% of the norm]").axes[0].get_xlim()[1] > 250
    assert plotting.bars({"a": 3.0}, "lost [%]").axes[0].get_xlim()[1] < 5


def test_shares_are_shown_as_per_cent():
    figure = plotting.bars({"a": 0.5, "b": 0.9}, "accuracy on held-out rows", form="{:.1%}")
    figure.canvas.draw()
    axes = figure.axes[0]
    assert axes.get_xlabel() == "accuracy on held-out rows [%]"
    assert [text.get_text() for text in axes.get_xticklabels()][-1] == "100"
    figure = plotting.sweep({1: [0.1, 0.2], 4: [0.8, 0.9]}, "rank r", "exact match [share of 200 rows]")
    assert figure.axes[0].get_ylabel() == "exact match [% of 200 rows]"


CURVES = {
    "bars": lambda: plotting.bars({"a": 60.0}, "accuracy [%]", references=REFERENCES),
    "intervals": lambda: plotting.intervals({"a": (60, 50, 70)}, "accuracy [%]", references=REFERENCES),
    "lines": lambda: plotting.lines(
        {"lora": {1: 60, 2: 90, 3: 91}, "full": {1: 61, 2: 91}}, "rows", "accuracy [%]", references=REFERENCES
    ),
    "one line": lambda: plotting.lines({"lora": {1: 60, 2: 90, 3: 91}}, "rows", "accuracy [%]"),
    "sweep": lambda: plotting.sweep({1: [60, 70], 4: [80, 81]}, "rank r", "accuracy [%]", REFERENCES),
    "pareto": lambda: plotting.pareto(POINTS, "accuracy [%]", references=REFERENCES),
    "loss_curves": lambda: plotting.loss_curves(
        {"training": [(1, 3.0), (2, 2.0), (3, 1.0)], "validation": [(2, 2.0)]}, references={"guessing": 0.69}
    ),
    "memory_bars": lambda: plotting.memory_bars({"LoRA": {"weights": 13.0}}),
    "token_lengths": lambda: plotting.token_lengths({"train": [3, 4, 9]}, limit=8),
}


@pytest.mark.parametrize("name", CURVES)
def test_every_line_has_its_legend_entry(name):
    figure = CURVES[name]()
    entries = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    styles = {}
    for axes in figure.axes:
        shown, labels = axes.get_legend_handles_labels()
        assert set(labels) <= entries
        containers = [
            line for handle in shown if isinstance(handle, mpl.container.ErrorbarContainer) for line in handle
        ]
        labelled = [line for line in axes.lines if not line.get_label().startswith("_")] + containers
        for line in axes.lines:
            if line.get_linestyle() == "None" or line.get_marker() in ("|", "_") or not len(line.get_xdata()):
                continue  # points, whose names stand beside them, and the caps of error bars
            twin = [one for one in labelled if one is line or _look(one) == _look(line)]
            assert twin, f"{name}: a line without a legend entry: {_look(line)}"
            styles.setdefault(_look(line), line)
    assert styles or name in ("intervals",)


def _look(line) -> tuple:
    if not isinstance(line, mpl.lines.Line2D):
        return ()
    return (str(line.get_color()), line.get_linestyle(), line._unscaled_dash_pattern, line.get_marker())


@pytest.mark.parametrize("name", CURVES)
def test_lines_can_be_distinguished_without_colour(name):
    figure = CURVES[name]()
    looks = []
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            line = handle[0] if isinstance(handle, mpl.container.ErrorbarContainer) else handle
            if isinstance(line, mpl.lines.Line2D):
                looks.append((line._unscaled_dash_pattern, line.get_marker(), line.get_linestyle() == "None", label))
    shapes = [look[:3] for look in looks]
    assert len(set(map(str, shapes))) == len(shapes), looks


def _joined(figure) -> list[int]:
    """How many points each joined line has; lines across the whole axes are references, not curves."""
    lines = [line for axes in figure.axes for line in axes.lines if line.get_linestyle() not in ("None", "")]
    return [len(line.get_xdata()) for line in lines if line.get_gid() != "reference"]


def test_two_points_are_no_curve():
    assert _joined(plotting.lines({"a": {1: 5, 2: 6}, "b": {1: 5, 2: 6, 4: 7}}, "batch [rows]", "time [ms]")) == [3]
    assert _joined(plotting.latency_lines({"a": {1: 5, 2: 6}}, "batch [rows]")) == []
    assert _joined(plotting.loss_curves({"training": [(1, 2.0), (2, 1.0)]})) == []
    assert _joined(plotting.sweep({1: [5.0], 2: [6.0]}, "rank r", "score [ms]")) == []
    assert _joined(plotting.pareto({"a": (1, [5.0]), "b": (10, [9.0])}, "score [%]")) == []


def test_a_straight_line_is_not_drawn_on_a_logarithmic_axis():
    left = {"512 positions": {q: 512 - q for q in (1, 5, 20, 50, 100, 200)}}
    curve = {"p50": {1: 24, 2: 62, 8: 133}}
    assert plotting.lines(left, "pseudo-tokens", "positions left").axes[0].get_xscale() == "linear"
    assert plotting.lines(curve, "clients", "latency [ms]").axes[0].get_xscale() == "log"
    assert plotting.lines({"level": {1: 2, 2: 2, 8: 2}}, "clients", "latency [ms]").axes[0].get_xscale() == "log"
    with pytest.raises(ValueError, match="straight line"):
        plotting.lines(left, "pseudo-tokens", "positions left", log_x=True)
    with pytest.raises(ValueError, match="no place on a logarithmic axis"):
        plotting.lines({"a": {0: 2, 2: 3, 8: 2}}, "x", "y [ms]", log_x=True)


def test_an_axis_needs_its_label():
    for draw in (
        lambda: plotting.bars({"a": 1.0}, " "),
        lambda: plotting.lines({"a": {1: 2.0}}, "", "time [ms]"),
        lambda: plotting.lines({"a": {1: 2.0}}, "rows", ""),
        lambda: plotting.pareto(POINTS, ""),
        lambda: plotting.sweep({1: [2.0]}, "rank r", ""),
    ):
        with pytest.raises(ValueError, match="label is empty"):
            draw()


def test_several_seeds_become_mean_and_deviation():
    figure = plotting.lines({"lora": {1: [80, 90], 4: [95, 97], 8: 99}}, "rows", "accuracy [%]")
    (drawn,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert list(drawn.get_ydata()) == [85, 96, 99]
    assert len(figure.axes[0].collections) == 1, "whiskers"


@pytest.mark.parametrize("draw", [
    lambda: plotting.bars({"a long name of a bar, longer than most": 60.0}, "accuracy [%]", title=TITLE),
    lambda: plotting.lines({"lora": {1: 60, 2: 90, 3: 91}}, "rows", "accuracy [%]", title=TITLE),
    lambda: plotting.pareto(POINTS, "accuracy [%]", title=TITLE, references=REFERENCES),
    lambda: plotting.memory_bars({"LoRA": {"weights": 13.0}}, title=TITLE),
    lambda: plotting.token_lengths({"train": [3, 4, 9]}, limit=8, title=TITLE),
    lambda: stacks({"one": [("dense", "frozen"), ("bottleneck", "trained")]}, title=TITLE),
    lambda: plotting.matrix_heatmap({"W": [[1.0, 2.0]]}, title=TITLE),
    lambda: plotting.low_rank(64, 64, 4, title=TITLE),
])  # fmt: skip
def test_a_long_title_stays_inside_the_figure_and_above_all_else(draw):
    figure = draw()
    figure.canvas.draw()
    (title,) = [text for text in figure.texts if "LoRA reaches" in text.get_text()]
    box = title.get_window_extent()
    assert " ".join(title.get_text().split()) == TITLE
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height + 1
    assert all(box.y0 >= axes.get_window_extent().y1 for axes in figure.axes)
    assert all(box.y0 >= legend.get_window_extent().y1 for legend in figure.legends)
