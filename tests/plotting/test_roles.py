"""Each method has its fixed colour in every figure; the lab's own method is blue, full fine-tuning orange."""

from __future__ import annotations

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest

from shared import labs, opened_lab, plotting
from shared.plotting.roles import NEUTRAL, OWN, ROLES, colours_of, own_role, role_colour, role_of

LABELS = {
    "base": "base", "base, zero-shot": "base", "base, untrained": "base", "base (for comparison)": "base",
    "majority": "majority", "majority class": "majority", "most frequent answer": "majority",
    "head": "head", "head only": "head", "frozen base + head": "head", "frozen base, trained head": "head",
    "frozen base + trained head": "head", "linear probe": "head", "trained head": "head",
    "full": "full", "full fine-tuning": "full", "a full copy for each task": "full", "fully fine-tuned": "full",
    "lora": "lora", "LoRA, r = 16": "lora", "LoRA, attached": "lora", "QLoRA, r = 64": "qlora", "AdaLoRA": "adalora",
    "α/√r (rsLoRA)": "rslora", "DoRA": "dora", "vera": "vera", "VeRA": "vera",
    "adapter": "adapter", "Houlsby, plain torch": "adapter", "one base, an adapter for each task": "adapter",
    "base + adapter": "adapter", "Pfeiffer": "pfeiffer", "BitFit": "bitfit", "(IA)³": "ia3", "ia3": "ia3",
    "LN tuning": "ln-tuning", "ln-tuning": "ln-tuning", "ln_tuning": "ln-tuning", "prompt tuning": "prompt-tuning",
    "prompt-tuning": "prompt-tuning", "prefix tuning": "prefix-tuning", "prefix-tuning": "prefix-tuning",
    "p-tuning": "p-tuning", "P-tuning": "p-tuning", "p-tuning, pool: first, seed 1": "p-tuning",
    "p-tuning-v2": "p-tuning-v2", "P-tuning v2": "p-tuning-v2", "p_tuning_v2": "p-tuning-v2",
    # no methods
    "layer 0": None, "p50": None, "bf16": None, "12 random words": None, "merged, float32": None,
    "(c) merged in full precision": None, "(b) merged into the NF4 base": None, "base and prompt in bf16": None,
    "trained with all adapters": None, "attached, adapters library": None, "output.LayerNorm": None,
    "embeddings.LayerNorm": None, "T = 0.7": None, "vanilla": None, "special": None,
}  # fmt: skip


@pytest.mark.parametrize(("label", "role"), LABELS.items())
def test_labels_name_their_role(label, role):
    assert role_of(label) == role


def test_every_method_of_the_framework_has_a_colour():
    from shared.finetune.methods import METHODS

    for method in METHODS:
        assert role_of(method) in ROLES, method


def test_the_fixed_colours():
    def hue(colour: str) -> float:
        return 360 * mpl.colors.rgb_to_hsv(mpl.colors.to_rgb(colour))[0]

    red, green, blue = mpl.colors.to_rgb(role_colour("base"))
    assert red == green == blue, "the base is grey"
    assert 20 < hue(role_colour("full fine-tuning")) < 45, "full fine-tuning is orange"
    assert 195 < hue(role_colour("BitFit", own="bitfit")) < 215, "the lab's own method is blue"
    assert role_colour("own") == OWN
    assert role_colour("LoRA", own="bitfit") == role_colour("LoRA, merged", own="adapter") == ROLES["lora"]
    assert role_colour("LoRA", own="lora") == OWN and role_colour("QLoRA", own="lora") == ROLES["qlora"]
    assert role_colour("layer 0", own="lora") is None


def _lab_colour(colour: str) -> np.ndarray:
    """CIE L*a*b*, where distances are about what the eye tells apart."""
    rgb = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = matrix @ linear / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_no_two_roles_look_alike():
    colours = {**ROLES, "own": OWN, **{f"neutral {i}": colour for i, colour in enumerate(NEUTRAL)}}
    for one, other in combinations(colours, 2):
        assert np.linalg.norm(_lab_colour(colours[one]) - _lab_colour(colours[other])) > 18, (one, other)


def test_colours_of_a_whole_figure():
    assert colours_of(["base", "lora", "full"], own="lora") == [ROLES["base"], OWN, ROLES["full"]]
    assert colours_of(["base", "adapter"], own="lora") == [ROLES["base"], OWN], "the lab's own adapter"
    assert colours_of(["lora", "adapter"], own="lora") == [OWN, ROLES["adapter"]], "the bottleneck adapter"
    assert colours_of(["layer 0", "layer 1"]) == [OWN, OWN], "bars of one kind have one colour"
    p50, p95 = colours_of(["p50", "p95"], lines=True)
    assert p50 != p95
    assert colours_of(["lora", "something"], own="adapter")[1] in NEUTRAL
    given = colours_of(["m = 64", "x", "y"], own="adapter", colours={"m = 64": "own", "x": "lora", "y": "#123456"})
    assert given == [OWN, ROLES["lora"], "#123456"]
    with pytest.raises(ValueError, match="names no method"):
        own_role("layer 0")


@pytest.mark.parametrize(("lab", "label"), [("Lab-01-LoRA", "LoRA"), ("Lab-06-BitFit", "BitFit")])
def test_the_method_of_the_opened_lab_is_blue(lab, label, monkeypatch):
    monkeypatch.setattr(opened_lab, "method", None)
    assert role_colour(label) != OWN
    monkeypatch.setattr(labs, "_offline", lambda wanted: None)  # this process stays as it is
    labs.open_lab(lab, profile="tiny")
    assert role_colour(label) == OWN and role_colour("VeRA") == ROLES["vera"]


def _bar_colours(figure) -> list[str]:
    return [mpl.colors.to_hex(patch.get_facecolor()).upper() for patch in figure.axes[0].patches]


def test_figures_use_the_roles():
    scores = {"base": 10.0, "BitFit": 90.0, "full": 95.0}
    wanted = [ROLES["base"].upper(), OWN.upper(), ROLES["full"].upper()]
    assert _bar_colours(plotting.bars(scores, "accuracy [%]", own="bitfit")) == wanted
    curves = {name: [(1, 2.0), (2, 1.0), (3, 0.5)] for name in scores}
    series = {name: {1: 1.0, 2: 2.0, 3: 2.5} for name in scores}
    points = {name: (10 * i + 10, [score]) for i, (name, score) in enumerate(scores.items())}
    for figure in (
        plotting.loss_curves(curves, own="bitfit"),
        plotting.lines(series, "rows", "accuracy [%]", own="bitfit"),
        plotting.latency_lines(series, "batch size [rows]", own="bitfit"),
        plotting.pareto(points, "accuracy [%]", own="bitfit"),
        plotting.intervals({name: (s, s - 1, s + 1) for name, s in scores.items()}, "accuracy [%]", own="bitfit"),
    ):
        drawn = [
            line.get_color().upper() for line in figure.axes[0].lines if line.get_marker() not in ("", "None", "|")
        ]
        assert drawn[:3] == wanted
    assert _bar_colours(plotting.bars({"x": 1.0}, "y [ms]", colours={"x": "lora"}, own="bitfit")) == ["#009E73"]
