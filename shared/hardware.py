"""Pre-flight: what a lab needs, what this machine has, what was chosen and why - before anything is downloaded."""

from __future__ import annotations

import html
import io
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared import machine, paths
from shared.errors import DataError, HardwareError
from shared.machine import Choice, choose_device, choose_dtype, cpu_bf16, hub_reachable, versions

if TYPE_CHECKING:
    from shared.labs import Lab

__all__ = [
    "Choice", "Preflight", "Row", "choose_device", "choose_dtype", "cpu_bf16", "hub_reachable", "preflight", "versions",
]  # fmt: skip

#: Packages that stand in the report by name; without one of them nothing runs.
CORE = ("torch", "transformers", "peft", "trl", "accelerate", "datasets")
HEADINGS = ("", "what", "found or chosen", "why, or what is needed")
LEFT = "text-align:left"
#: Sizes that outputs are rounded down to [GB]: enough to see that it is enough, too coarse to tell machines apart.
STEPS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80, 100, 200, 500, 1000)


@dataclass(frozen=True)
class Row:
    """A line of the report.

    Attributes:
        topic: What it is about.
        value: What was found or chosen.
        reason: Why, or what is needed.
        ok: True: as needed; None: worth knowing; False: the lab cannot run like this.
        fix: What to do where ``ok`` is False or None.
        private: Tells machines apart, so it is left out of notebooks.
    """

    topic: str
    value: str
    reason: str = ""
    ok: bool | None = True
    fix: str = ""
    private: bool = False

    @property
    def sign(self) -> str:
        """A word, not only a colour."""
        return {True: "ok", None: "note", False: "stop"}[self.ok]


@dataclass(frozen=True)
class Preflight:
    """The report: a table in notebooks and terminals.

    Attributes:
        rows: Its lines.
        device: The chosen device and why.
        dtype: The chosen number format and why.
        title: What it is about.
    """

    rows: list[Row] = field(repr=False)
    device: Choice
    dtype: Choice
    title: str = "This machine"

    @property
    def ok(self) -> bool:
        """Whether the lab can run here."""
        return all(row.ok is not False for row in self.rows)

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        stops = [row.topic for row in self.rows if row.ok is False]
        return f"Cannot run here: {', '.join(stops)}." if stops else "Ready: everything that is needed is there."

    def require(self) -> Preflight:
        """Return the report itself, or stop.

        Raises:
            HardwareError: Listing everything that is missing, each with its fix.
        """
        stops = [row for row in self.rows if row.ok is False]
        if stops:
            listed = "".join(f"\n  - {row.topic}: {row.value}; {row.reason}" for row in stops)
            fixes = list(dict.fromkeys(row.fix for row in stops if row.fix))
            raise HardwareError(f"{self.title}: this machine cannot do it{listed}", fix="; or ".join(fixes))
        return self

    def record(self) -> dict[str, Any]:
        """The report as plain data for a run folder, without what tells machines apart."""
        shown = [row for row in self.rows if not row.private]
        rows = [{"topic": row.topic, "value": row.value, "reason": row.reason, "ok": row.ok} for row in shown]
        return {"ok": self.ok, "device": self.device.value, "dtype": self.dtype.value, "rows": rows}

    def text(self, private: bool = False, width: int = 110) -> str:
        """The report as a table of plain text.

        Args:
            private: With system and CPU model, for ``peft-labs doctor``.
            width: Characters in a line.
        """
        from rich.console import Console
        from rich.table import Table

        table = Table(title=self.title, title_justify="left", expand=False)
        for heading in HEADINGS:
            table.add_column(heading, overflow="fold")
        for row in self.rows:
            if private or not row.private:
                fix = f"\n-> {row.fix}" if row.fix and row.ok is not True else ""
                table.add_row(row.sign, row.topic, row.value, row.reason + fix)
        buffer = io.StringIO()
        console = Console(file=buffer, width=width, color_system=None, highlight=False, markup=False)
        console.print(table)
        lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
        return "\n".join([*lines, self.verdict])

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        heads = "".join(f'<th scope="col" style="{LEFT}">{heading}</th>' for heading in HEADINGS)
        lines = "".join(_html_row(row) for row in self.rows if not row.private)
        caption = f'<caption style="{LEFT};font-weight:bold">{html.escape(self.title)}</caption>'
        table = f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
        return f"{table}<p>{html.escape(self.verdict)}</p>"


def _html_row(row: Row) -> str:
    colour = {"ok": "#00704F", "note": "#8A5A00", "stop": "#B34700"}[row.sign]
    fix = f"<br><em>{html.escape(row.fix)}</em>" if row.fix and row.ok is not True else ""
    return (
        f'<tr><td><strong style="color:{colour}">{row.sign}</strong></td>'
        f'<th scope="row" style="{LEFT}">{html.escape(row.topic)}</th>'
        f'<td style="{LEFT}">{html.escape(row.value)}</td>'
        f'<td style="{LEFT}">{html.escape(row.reason)}{fix}</td></tr>'
    )


def preflight(lab: Lab | None = None) -> Preflight:
    """Look at the machine and, for a lab, compare it with what the lab's profile needs; downloads nothing.

    Args:
        lab: The lab from :func:`shared.labs.open_lab`; None reports on the machine alone.

    Returns:
        The report; its last line in a cell shows it, ``.require()`` stops where something is missing.
    """
    device = choose_device()
    dtype = choose_dtype(device)
    need = getattr(getattr(lab, "config", None), "lab", None)
    rows = _lab_rows(lab, need) if lab is not None else []
    rows += [Row("device", str(device.value), device.reason), _dtype_row(dtype, lab)]
    rows += [_four_bit_row(device, lab), *_gpu_rows(need), _ram_row(need), _disk_row(need), _cores_row()]
    rows += [_hub_row(lab), _python_row(), *_version_rows()]
    rows += [Row(topic, value, private=True) for topic, value in machine.identity().items()]
    title = f"{lab.name}, profile {lab.profile}" if lab is not None else "This machine"
    return Preflight(rows, device, dtype, title)


# --- what the lab needs ----------------------------------------------------------------------------------------------


def _lab_rows(lab: Lab, need: Any) -> list[Row]:
    rows = [Row("profile", lab.profile, lab.profile_reason)]
    minutes = dict(getattr(need, "minutes", None) or {})
    if minutes:
        parts = ", ".join(f"{name} {value:g}" for name, value in minutes.items())
        rows.append(Row("expected time", f"{sum(minutes.values()):g} min", f"minutes of each notebook: {parts}"))
    for topic, name in (("model", lab.config.model.name_or_path), ("data", lab.config.dataset.name)):
        rows.append(_source_row(topic, name))
    if getattr(need, "gated", False):
        rows.append(_gated_row(lab.config.model.name_or_path, getattr(need, "gated_help", "")))
    return rows


def source(name: str) -> str:
    """Where a model or data set comes from: ``embedded``, ``fetched``, ``local`` or ``hub``."""
    if name.startswith("tiny:"):
        return "embedded"
    if name.startswith("fetched:"):
        return "fetched"
    return "local" if Path(name).expanduser().exists() else "hub"


def _dtype_row(dtype: Choice, lab: Lab | None) -> Row:
    wanted = getattr(lab.config.model, "dtype", None) if lab is not None else None
    if wanted in (None, "auto", dtype.value):
        return Row("number format", str(dtype.value), dtype.reason)
    reason = f"as configured; chosen for this device it would be {dtype.value}: {dtype.reason}"
    if wanted == "bfloat16" and dtype.value == "float16":  # a GPU before Ampere
        fix = "set model.dtype (and bnb_4bit_compute_dtype) to float16, and training.fp16 instead of training.bf16"
        return Row("number format", wanted, reason, ok=None, fix=fix)
    return Row("number format", wanted, reason)


def _source_row(topic: str, name: str) -> Row:
    kind = source(name)
    if kind == "embedded":
        return Row(topic, name, "comes with the package: nothing is downloaded")
    if kind == "local":
        return Row(topic, Path(name).name, "a local file or folder")
    if kind == "fetched":
        return _fetched_row(topic, name)
    if _cached(name, topic):
        return Row(topic, name, "from the Hub; it is in the cache already")
    return Row(topic, name, "from the Hub: it will be downloaded")


def _fetched_row(topic: str, name: str) -> Row:
    from shared.fetch import fetched

    try:
        fetched(name.removeprefix("fetched:"))
    except DataError as error:
        return Row(topic, name, error.message, ok=False, fix=error.fix)
    return Row(topic, name, "fetched before; nothing is downloaded")


def _cached(name: str, topic: str = "model") -> bool:
    """Whether the Hub's cache holds a model's configuration, or a data set's page."""
    from huggingface_hub import try_to_load_from_cache

    file, kind = ("config.json", "model") if topic == "model" else ("README.md", "dataset")
    try:
        return isinstance(try_to_load_from_cache(name, file, repo_type=kind), str)
    except ValueError:  # not a name that the Hub could have
        return False


def _gated_row(model: str, text: str) -> Row:
    from huggingface_hub import get_token

    wording = text or "ask for access on the model's page on the Hub, then log in with `hf auth login`"
    if _cached(model):
        return Row("gated model", model, "gated, but it is in the cache already")
    text = "its owners grant access on request; "
    if get_token():
        return Row("gated model", model, text + "a Hub login is stored", ok=None, fix=wording)
    return Row("gated model", model, text + "no Hub login is stored", ok=False, fix=wording)


def _other_profile() -> str:
    return "choose another profile: PROFILE = 'laptop' or 'tiny', or PEFT_LABS_PROFILE"


def _gpu_rows(need: Any) -> list[Row]:
    wanted = getattr(need, "gpu_gb", None) or 0
    card = machine.gpu()
    if card is None:
        if not wanted:
            return []
        reason = f"this profile needs an NVIDIA GPU with at least {wanted:g} GB"
        return [Row("GPU", "none that torch can use", reason, ok=False, fix=_other_profile())]
    capability = ".".join(map(str, card.capability or ()))
    rows = [Row("GPU", card.name, f"compute capability {capability}, bfloat16: {'yes' if card.bf16 else 'no'}")]
    enough = card.free >= wanted
    reason = f"needs {wanted:g} GB" if wanted else "no GPU is needed"
    fix = "" if enough else f"end other programs on the GPU, or {_other_profile()}"
    return [*rows, Row("GPU memory", _coarse(card.free, "free", wanted), reason, ok=enough, fix=fix)]


def _ram_row(need: Any) -> Row:
    wanted = getattr(need, "ram_gb", None) or 0
    _, available = machine.ram()
    reason = f"needs {wanted:g} GB" if wanted else ""
    enough = available >= wanted
    fix = "" if enough else f"close other programs, or {_other_profile()}"
    return Row("RAM", _coarse(available, "available", wanted), reason, ok=enough, fix=fix)


def _disk_row(need: Any) -> Row:
    wanted = getattr(need, "disk_gb", None) or 0
    free = min(machine.disk_free(paths.cache_root()), machine.disk_free(paths.runs_root()))
    reason = f"needs {wanted:g} GB for models, data and results" if wanted else ""
    fix = "" if free >= wanted else "free some, or point PEFT_LABS_CACHE and PEFT_LABS_RUNS to another disk"
    return Row("disk", _coarse(free, "free", wanted), reason, ok=free >= wanted, fix=fix)


def _coarse(size: float, word: str, wanted: float) -> str:
    """A size rounded down to a step; exact where it is not enough, because then it matters."""
    if size < wanted or size < STEPS[0]:
        return f"{size:.1f} GB {word}"
    return f"more than {max(step for step in STEPS if step <= size)} GB {word}"


def _cores_row() -> Row:
    cores = machine.cpu_cores()
    return Row("CPU cores", str(cores), "what this process may use", ok=True if cores > 1 else None)


def _four_bit_row(device: Choice, lab: Lab | None) -> Row:
    can = machine.quantization(device)
    if lab is not None and not can.value and getattr(lab.config.model, "quantization", None) is not None:
        return Row("4-bit weights", "no", can.reason, ok=False, fix="take model.quantization out of the configuration")
    return Row("4-bit weights", "yes" if can.value else "no", can.reason, ok=True if can.value else None)


# --- network and versions --------------------------------------------------------------------------------------------


def _hub_row(lab: Lab | None) -> Row:
    names = {} if lab is None else {"model": lab.config.model.name_or_path, "data": lab.config.dataset.name}
    missing = [name for topic, name in names.items() if source(name) == "hub" and not _cached(name, topic)]
    if lab is not None and not missing and not machine.hub_offline():
        return Row("Hugging Face Hub", "not asked", "nothing has to be downloaded from it")
    answer = hub_reachable()
    value = {True: "reachable", False: "out of reach", None: "not asked"}[answer.value]
    if missing and answer.value is not True:
        fix = (
            "unset HF_HUB_OFFLINE and check the connection (HTTPS_PROXY, HF_ENDPOINT for a mirror); without the Hub:"
            " `peft-labs fetch-models` and PROFILE = 'laptop', or PROFILE = 'tiny'"
        )
        return Row("Hugging Face Hub", value, f"{answer.reason}; needed for {', '.join(missing)}", ok=False, fix=fix)
    return Row("Hugging Face Hub", value, answer.reason, ok=None if answer.value is False else True)


def _python_row() -> Row:
    return Row("Python", ".".join(platform.python_version_tuple()[:2]), "3.11 or newer is needed")


def _version_rows() -> list[Row]:
    found = versions()
    if found is None:
        fix = "restore it with `git checkout -- requirements.lock`"
        return [Row("packages", "not compared", "requirements.lock is missing", ok=None, fix=fix)]
    core = sorted((v for v in found if v.name in CORE), key=lambda v: CORE.index(v.name))
    absent = [v.name for v in core if v.installed is None]
    other = [f"{v.name} {v.installed or 'missing'} instead of {v.locked}" for v in found if not v.ok]
    value = ", ".join(f"{v.name} {(v.installed or 'missing').split('+')[0]}" for v in core)
    if not other:
        return [Row("packages", value, "these and all others are as in requirements.lock")]
    listed = "; ".join(other[:6]) + (f"; and {len(other) - 6} more" if len(other) > 6 else "")
    return [Row("packages", value, listed, ok=False if absent else None, fix="run `make setup`, and use its .venv")]
