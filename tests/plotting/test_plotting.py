"""Figures: drawn from data, labelled with units, with alternative text that reaches the HTML."""

from __future__ import annotations

import base64
import copy
import io
import subprocess
import sys
from itertools import combinations
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from PIL import Image

from shared import plotting
from shared.plotting.show import bundle, png

HISTORY = [{"loss": 2.0, "step": 10}, {"loss": 1.0, "step": 20}, {"eval_loss": 1.2, "step": 20}, {"train_runtime": 3}]
PARTS = {"weights": 13.5, "gradients": 0.1, "optimizer": 0.3, "activations": 2.0}

FIGURES = {
    "token_lengths": lambda: plotting.token_lengths({"train": [5, 6, 7, 20], "validation": [6, 6]}, limit=10),
    "loss_curves": lambda: plotting.loss_curves(plotting.split_history(HISTORY), "LoRA"),
    "sweep": lambda: plotting.sweep({1: [0.1, 0.2], 16: [0.8, 0.9]}, "rank r", "exact match [share]", {"full": 0.95}),
    "bars": lambda: plotting.bars({"base": 0.1, "LoRA": [0.8, 0.9]}, "exact match [share]", references={"chance": 0.2}),
    "log_bars": lambda: plotting.bars({"fp32": 3e-6, "bf16": 0.02, "same": 0}, "difference [logits]", log=True),
    "low_rank": lambda: plotting.low_rank(64, 32, 4, title="q_proj"),
    "intervals": lambda: plotting.intervals({"base": (5, 2, 9), "LoRA": (88, 84, 92)}, "exact match [%]"),
    "memory_bars": lambda: plotting.memory_bars({"full": {"weights": 100.0}, "LoRA": PARTS}, limit=40),
    "latency_lines": lambda: plotting.latency_lines({"a": {1: 5, 2: 6}, "b": {1: 4, 2: 5}}, "batch [sequences]"),
    "matrix_heatmap": lambda: plotting.matrix_heatmap({"W": torch.randn(4, 6), "BA": np.zeros((4, 6))}),
    "pareto": lambda: plotting.pareto(
        {"lora": (1e4, [80, 90]), "full": (1e6, [95])}, "accuracy [%]", "", {"majority": 60}
    ),
    "codebook": lambda: plotting.codebook({"NF4": [-1, 0, 1], "int2": [-1, 1]}, sample=torch.randn(99)),
}


@pytest.mark.parametrize("name", list(FIGURES))
def test_figures_are_labelled_and_fit_a_notebook(name):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    if name != "low_rank":  # a drawing without axes
        assert all(axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes)
    if name not in ("low_rank", "matrix_heatmap"):  # features have no unit
        assert any("[" in axes.get_xlabel() + axes.get_ylabel() or "rank" in axes.get_xlabel() for axes in figure.axes)
    image = Image.open(io.BytesIO(png(figure)))
    assert 600 <= image.width <= 1000 and image.height <= 700
    assert np.asarray(image.convert("L")).std() > 5, "an empty picture"


def words(figure: Figure) -> str:
    """All the text in a figure."""
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_numbers_in_figures_come_from_the_data():
    assert "75.0 % of the rows fit" in words(plotting.token_lengths({"a": [1, 2, 3, 9]}, limit=5))
    assert "0.85 ± 0.07" in words(FIGURES["bars"]()) and "0.10" in words(FIGURES["bars"]())
    text = words(FIGURES["memory_bars"]())
    assert "15.9 GB" in text and "100.0 GB →" in text and "24 GB" in text
    assert "384 parameters\ninstead of 2,048" in words(FIGURES["low_rank"]())
    assert "88.0 (84.0 – 92.0)" in words(FIGURES["intervals"]())
    assert "2 seeds" in words(FIGURES["sweep"]())
    assert "3 levels" in words(FIGURES["codebook"]())


def test_split_history():
    assert plotting.split_history(HISTORY) == {"training": [(10, 2.0), (20, 1.0)], "validation": [(20, 1.2)]}


def test_wrong_data_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        plotting.token_lengths({"train": []})
    with pytest.raises(ValueError, match="rows, columns"):
        plotting.matrix_heatmap({"W": torch.zeros(3)})
    with pytest.raises(ValueError, match="alternative text"):
        bundle(FIGURES["bars"](), " ")


def test_the_students_own_settings_stay():
    before = {key: value for key, value in mpl.rcParams.items() if key != "backend"}  # resolved at first use
    FIGURES["sweep"]()
    assert {key: value for key, value in mpl.rcParams.items() if key != "backend"} == before


def test_colours_differ_for_colour_blind_readers():
    """Every pair of the first five colours differs in lightness or along the blue-yellow axis that dichromats keep."""
    rgb = np.array([mpl.colors.to_rgb(colour) for colour in plotting.COLOURS[:5]])
    light, blue_yellow = rgb @ [0.299, 0.587, 0.114], rgb[:, 2] - rgb[:, :2].mean(axis=1)
    for i in range(5):
        for j in range(i):
            assert abs(light[i] - light[j]) + abs(blue_yellow[i] - blue_yellow[j]) > 0.1


# --- in a notebook ---------------------------------------------------------------------------------------------------

CELLS = [
    "from shared import plotting\n"
    "plotting.show(plotting.bars({'a': 1.0}, 'score [share]'), alt='Bar \"a\" reaches 1 & <no> more.')",
    "from types import SimpleNamespace\n"
    "live = plotting.LiveLossCallback('LoRA', seconds=0)\n"
    "state = SimpleNamespace(log_history=[], global_step=0, is_world_process_zero=True)\n"
    "live.on_train_begin(None, state, None)\n"
    "for step in (10, 20, 30):\n"
    "    state.global_step = step\n"
    "    live.on_log(None, state, None, logs={'loss': 30 / step})\n"
    "live.on_train_end(None, state, None)",
]


@pytest.fixture(scope="module")
def executed():
    """A notebook with these cells, run by a real kernel of this environment."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return notebook


@pytest.mark.parametrize(("template", "preprocessors"), [("lab", ["shared.plotting.export.AltText"]), ("classic", [])])
def test_alt_text_reaches_the_html(executed, template, preprocessors):
    from nbconvert import HTMLExporter

    (output,) = executed.cells[0].outputs
    assert output.metadata["image/png"]["alt"] == 'Bar "a" reaches 1 & <no> more.'
    assert base64.b64decode(output.data["image/png"]).startswith(b"\x89PNG")
    exporter = HTMLExporter(template_name=template, preprocessors=preprocessors)
    page, _ = exporter.from_notebook_node(copy.deepcopy(executed))
    images = BeautifulSoup(page, "html.parser").find_all("img")
    assert [image["alt"][:20] for image in images] == ['Bar "a" reaches 1 & ', "Loss over training s"]
    assert all(image["src"].startswith("data:image/png;base64,iVBOR") for image in images)


def test_live_loss_leaves_one_figure_with_its_final_alt(executed):
    (output,) = executed.cells[1].outputs
    assert output.output_type == "display_data"
    alt = output.metadata["image/png"]["alt"]
    assert alt == "Loss over training steps: training loss goes from 3.00 at step 10 to 1.00 at step 30."


def test_outside_a_notebook_nothing_is_shown(capsys):
    plotting.show(FIGURES["bars"](), alt="x")
    live = plotting.LiveLossCallback(seconds=0)
    state = SimpleNamespace(log_history=[{"step": 5, "loss": 4.0}], global_step=10, is_world_process_zero=True)
    live.on_train_begin(None, state, None)
    live.on_log(None, state, None, logs={"loss": 2.0})
    live.on_log(None, state, None, logs={"eval_loss": 3.0})
    live.on_train_end(None, state, None)
    assert live.series == {"training": [(5, 4.0), (10, 2.0)], "validation": [(10, 3.0)]}
    assert "validation loss is 3.00 at step 10" in live.alt()
    assert capsys.readouterr() == ("", "")


def test_importing_plotting_is_cheap():
    code = "import sys; from shared import plotting; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_names_in_a_pareto_plot_do_not_overlap():
    """Three methods with about as many weights and the same score, the first within reach of a much smaller one."""
    scores = {"head only": (258, 70.0), "m = 1": (5_642, 87.0), "lora": (16_642, 96.2), "pfeiffer": (17_218, 95.7)}
    scores |= {"adapter": (36_482, 95.8), "m = 64": (135_170, 96.3), "calm": (135_170, 95.7), "full": (1_031_554, 95.8)}
    figure = plotting.pareto({name: (count, [score]) for name, (count, score) in scores.items()}, "accuracy [%]")
    figure.canvas.draw()
    boxes = {one.get_text(): one.get_window_extent() for one in figure.axes[0].texts}
    assert boxes.keys() == scores.keys()
    for one, other in combinations(boxes, 2):
        assert not boxes[one].overlaps(boxes[other]), (one, other)
    assert boxes["lora"].y0 > boxes["pfeiffer"].y0, "the name of the better one stands higher"


def test_overlapping_lengths_are_outlines():
    """Filled histograms hide each other; an outline hides nothing."""
    figure = plotting.token_lengths({"train": [5, 6, 7, 20], "validation": [6, 6]})
    drawn = [patch for patch in figure.axes[0].patches if isinstance(patch, mpl.patches.Polygon)]
    assert len(drawn) == 2 and not any(patch.get_fill() for patch in drawn)


def test_a_matrix_with_small_values_can_have_its_own_colour_scale():
    matrices = {"small": [[0.01, -0.01]], "large": [[1.0, -1.0]]}
    for own, tops in ((True, [0.01, 1.0]), (False, [1.0, 1.0])):
        figure = plotting.matrix_heatmap(matrices, own_scales=own)
        assert [axes.images[0].get_clim()[1] for axes in figure.axes if axes.images] == tops
        assert len(figure.axes) == (4 if own else 3), "a colour bar for each scale"
        assert np.asarray(Image.open(io.BytesIO(png(figure))).convert("L")).std() > 5
    figure = plotting.matrix_heatmap({"zero": [[0.0, 0.0]], "small": [[0.01, -0.01]]})
    assert [axes.images[0].get_clim()[1] for axes in figure.axes if axes.images] == [0.01, 0.01]
