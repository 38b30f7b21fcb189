"""Opening a lab: who chose the profile, which configuration and run folder follow, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.errors import PeftLabsError, RunError
from shared.labs import choose_profile, open_lab

LAB = "Lab-01-LoRA"


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEFT_LABS_PROFILE", raising=False)


def test_the_notebook_goes_before_the_environment_and_tiny_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_profile()[0] == "tiny" and "default" in choose_profile()[1]
    monkeypatch.setenv("PEFT_LABS_PROFILE", "laptop")
    assert choose_profile()[0] == "laptop" and "PEFT_LABS_PROFILE" in choose_profile()[1]
    assert choose_profile("full")[0] == "full" and "PROFILE parameter" in choose_profile("full")[1]


def test_a_lab_has_its_configuration_run_folder_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEFT_LABS_RUNS", str(tmp_path))
    lab = open_lab(LAB, run_name="other", seed=5)
    assert (lab.profile, lab.seed, lab.run.path) == ("tiny", 5, tmp_path / LAB / "tiny" / "other")
    assert lab.config.model.name_or_path == "tiny:llama"
    assert open_lab(LAB, "full").config.model.name_or_path != "tiny:llama", "one name switches everything"


def test_tiny_is_offline_and_the_users_own_choice_stands_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    open_lab(LAB, "tiny")
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    open_lab(LAB, "laptop")
    assert "HF_HUB_OFFLINE" not in os.environ
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    open_lab(LAB, "laptop")
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Lab-77",), "there is no lab 'Lab-77'"),
        ((LAB, "tinny"), "did you mean 'tiny'"),
    ],
)
def test_unknown_names_are_refused_with_what_there_is(arguments: tuple, message: str) -> None:
    with pytest.raises(PeftLabsError, match=message) as caught:
        open_lab(*arguments)
    assert "fix: choose" in str(caught.value)


def test_a_run_name_that_leads_out_of_the_folder_is_refused() -> None:
    with pytest.raises(RunError, match="RUN_NAME"):
        open_lab(LAB, "tiny", run_name="../x")


def test_a_notebook_of_another_checkout_is_refused(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text((root / "pyproject.toml").read_text(encoding="utf8"), encoding="utf8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PeftLabsError, match="different checkouts"):
        open_lab(LAB)
