"""Open a lab: which profile and why, its configuration, its run folder."""

from __future__ import annotations

import difflib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared import opened_lab, paths
from shared.errors import PeftLabsError
from shared.library_notices import hide_library_notices
from shared.runs import RunFolder

if TYPE_CHECKING:
    from shared.finetune.config import Config

PROFILES = ("tiny", "laptop", "full")

#: Whether this process is offline because open_lab said so (and not because the user did).
_offline_by_us = False


@dataclass(frozen=True)
class Lab:
    """An opened lab.

    Attributes:
        name: The lab's folder name, for example ``Lab-01-LoRA``.
        profile: ``tiny``, ``laptop`` or ``full``.
        profile_reason: Who chose the profile, in words.
        config: The resolved ``configs/<profile>.yaml``.
        run: The run folder through which the lab's notebooks pass their results.
        seed: The notebook's ``SEED``.
    """

    name: str
    profile: str
    profile_reason: str
    config: Config | Any
    run: RunFolder
    seed: int

    @property
    def folder(self) -> Path:
        """The lab's folder in the checkout."""
        return paths.lab_folder(self.name)

    def __repr__(self) -> str:
        chosen = f"profile {self.profile} [{self.profile_reason}]"
        return f"Lab({self.name}, {chosen}, run {self.run.name!r}, seed {self.seed})"


def open_lab(lab: str, profile: str | None = None, run_name: str = "default", seed: int = 0) -> Lab:
    """Open a lab for a notebook or a command; prints nothing and loads no model.

    On the ``tiny`` profile the process is made offline (``HF_HUB_OFFLINE=1``), so that a missing file is an error
    at once and never a silent download.

    Args:
        lab: The lab's folder name, for example ``Lab-01-LoRA``.
        profile: ``tiny``, ``laptop`` or ``full``; None takes ``PEFT_LABS_PROFILE``, else ``tiny``.
        run_name: Keeps runs of one profile apart.
        seed: Random seed of the run.

    Raises:
        PeftLabsError: If there is no such lab or profile, or ``shared`` comes from another checkout.
        ConfigError: If the profile's configuration has problems.
        RunError: If the run name cannot be a folder's name.
    """
    root = paths.repo_root()
    _same_checkout(root, Path.cwd())
    folder = paths.lab_folder(lab)
    name, reason = choose_profile(profile)
    file = folder / "configs" / f"{name}.yaml"
    if not file.is_file():
        raise PeftLabsError(
            f"{lab} has no configuration for profile {name!r}: configs/{name}.yaml is missing",
            fix="restore it with `git checkout -- " + f"{lab}/configs`, or choose another profile",
        )
    _offline(name == "tiny")
    hide_library_notices()
    from shared.finetune.config import load_config  # late: pydantic and yaml are not needed by runs and errors

    config = load_config(file)
    opened_lab.method = config.peft.method
    return Lab(lab, name, reason, config, RunFolder(lab, name, run_name), seed)


def choose_profile(profile: str | None = None) -> tuple[str, str]:
    """The profile and who chose it.

    Args:
        profile: The notebook's ``PROFILE`` parameter; None asks ``PEFT_LABS_PROFILE``, else takes ``tiny``.

    Returns:
        Name and reason.

    Raises:
        PeftLabsError: If the name is not one of :data:`PROFILES`.
    """
    environment = os.environ.get("PEFT_LABS_PROFILE")
    if profile is not None:
        name, reason = profile, "the notebook's PROFILE parameter"
    elif environment:
        name, reason = environment, "the environment variable PEFT_LABS_PROFILE"
    else:
        name, reason = "tiny", "the default: neither PROFILE nor PEFT_LABS_PROFILE is set"
    if name not in PROFILES:
        near = difflib.get_close_matches(str(name), PROFILES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise PeftLabsError(
            f"there is no profile {name!r} (from {reason}){hint}", fix=f"choose one of: {', '.join(PROFILES)}"
        )
    return name, reason


def _same_checkout(root: Path, here: Path) -> None:
    """Refuse to run a notebook of one checkout with the code of another: nothing would be as its text says."""
    for folder in (here.resolve(), *here.resolve().parents):
        project = folder / "pyproject.toml"
        if project.is_file() and re.search(r'^name = "peft-labs"$', project.read_text(encoding="utf8"), re.MULTILINE):
            if folder != root.resolve():
                raise PeftLabsError(
                    "the notebook and the package 'shared' are from different checkouts",
                    fix="run `make setup` in the notebook's checkout and choose its .venv as the kernel",
                )
            return


def _offline(wanted: bool) -> None:
    """Switch the Hub off, also in libraries that were imported before and have read the variable already."""
    global _offline_by_us
    if wanted and os.environ.get("HF_HUB_OFFLINE", "").upper() not in ("1", "ON", "YES", "TRUE"):
        os.environ["HF_HUB_OFFLINE"] = "1"
        _offline_by_us = True
    elif not wanted and _offline_by_us:
        del os.environ["HF_HUB_OFFLINE"]
        _offline_by_us = False
    elif not wanted:
        return  # the user's own choice is kept
    for module, attribute in (
        ("huggingface_hub.constants", "HF_HUB_OFFLINE"),
        ("transformers.utils.hub", "_is_offline_mode"),
        ("datasets.config", "HF_HUB_OFFLINE"),
    ):
        if module in sys.modules and hasattr(sys.modules[module], attribute):
            setattr(sys.modules[module], attribute, wanted)
