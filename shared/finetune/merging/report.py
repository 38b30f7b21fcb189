"""How well a merge went: what was compared, and what is allowed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from shared.finetune.merging.whole_model import SHIP

if TYPE_CHECKING:
    from shared.finetune.config import Config

# How far the merged model's outputs may be from the adapted one's, relative to the outputs: rounding of the weights
TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


@dataclass
class MergeReport:
    """What was merged and how well.

    Attributes:
        layers: Number of merged modules.
        shards: Number of written weight files.
        dtype: Their dtype.
        seconds: Time for merging, comparing module by module, and writing [s].
        verified: Whether the logits were compared.
        max_error: Largest absolute logit difference between merged and adapted model; None if not compared.
        relative_error: Norm of that difference over the norm of the logits.
        adapter_effect: The same between base and adapted model: what the adapter does.
        modules_verified: Number of modules whose outputs were compared on random inputs, before and after the merge.
        module_error: The largest relative difference of such outputs; None if none was compared.
        module_effect: Root mean square over these modules of the same between base and adapted module.
        untied: Whether the merged model's input and output embeddings are two tensors where the base's were one.
        whole_model: Why the whole model was in memory; empty if it was not.
    """

    layers: int
    shards: int
    dtype: str
    seconds: float
    verified: bool = False
    max_error: float | None = None
    relative_error: float | None = None
    adapter_effect: float | None = None
    modules_verified: int = 0
    module_error: float | None = None
    module_effect: float | None = None
    untied: bool = False
    whole_model: str = ""

    def add_logits(self, got: Any, want: Any, plain: Any) -> None:
        """Note how far the logits of the merged model and of the base are from the adapted model's.

        Raises:
            ModelError: If the merged model is not the adapted one.
        """
        self.verified = True
        self.max_error = float((got - want).abs().max())
        self.relative_error = float((got - want).norm() / want.norm())
        self.adapter_effect = float((plain - want).norm() / want.norm())
        allowed = TOLERANCE.get(self.dtype, TOLERANCE["bfloat16"])
        if not self.relative_error <= min(allowed, 0.5 * self.adapter_effect):
            raise ModelError(
                f"the merged model is not the adapted one: its logits differ by {self.relative_error:.2g} of their "
                f"size ({allowed:.0e} is allowed for {self.dtype}; the adapter's effect is {self.adapter_effect:.2g})",
                fix=self._fix(),
            )

    def _fix(self) -> str:
        if self.dtype == "float32":
            return SHIP
        return "merge with --dtype float32: the adapter's effect may be below the rounding of fewer bits"

    def add_modules(self, checks: dict[str, tuple[float, float, float]]) -> None:
        """Note how far each merged module's outputs are from the adapted module's.

        Args:
            checks: Module -> squared norms of: merged minus adapted output, adapted output, base minus adapted.

        Raises:
            ModelError: If a merged module is not the adapted one, or the effect of all is below the rounding.
        """
        if not checks:
            return
        errors = {path: _ratio(wrong, size) for path, (wrong, size, _) in checks.items()}
        effects = [_ratio(effect, size) for _, size, effect in checks.values()]
        worst = max(errors, key=lambda path: errors[path])
        self.modules_verified, self.module_error = len(checks), errors[worst]
        self.module_effect = _mean(effects)
        allowed = TOLERANCE.get(self.dtype, TOLERANCE["bfloat16"])
        if not errors[worst] <= allowed:
            raise ModelError(
                f"the merged module {worst} is not the adapted one: its outputs differ by {errors[worst]:.2g} of their "
                f"size ({allowed:.0e} is allowed for {self.dtype})",
                fix=self._fix(),
            )
        if not _mean(list(errors.values())) <= 0.5 * self.module_effect:
            raise ModelError(
                "the merged modules' outputs differ from the adapted ones' by "
                f"{_mean(list(errors.values())):.2g} of their size, and the adapter's whole effect is "
                f"{self.module_effect:.2g}",
                fix=self._fix(),
            )


def _ratio(part: float, whole: float) -> float:
    return math.sqrt(part / whole) if whole else float(part > 0)


def _mean(values: list[float]) -> float:
    return math.sqrt(sum(one * one for one in values) / len(values))


def compare_logits(report: MergeReport, config: Config, adapter: Path, merged: Path) -> None:
    """Compare the merged language model's logits with the adapted model's, both in float32.

    Raises:
        ModelError: If they are not the same.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from shared.finetune.models import load_tuned

    tuned, _ = load_tuned(config, adapter, quantized=False, dtype="float32")
    tuned.to("cpu").eval()
    probes = _probes(tuned)
    with torch.no_grad():
        want = tuned(probes).logits
        with tuned.disable_adapter():
            plain = tuned(probes).logits
        del tuned
        model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
        got = model(probes).logits
    report.add_logits(got, want, plain)


def _probes(tuned: Any) -> Any:
    """Two rows of random tokens; tokens that were trained by themselves are among them."""
    import torch

    draw = torch.Generator().manual_seed(0)
    probes = torch.randint(0, tuned.config.get_text_config().vocab_size, (2, 16), generator=draw)
    trained = getattr(tuned.active_peft_config, "trainable_token_indices", None) or []
    tokens = [token for one in trained.values() for token in one] if isinstance(trained, dict) else trained
    probes[1, : len(tokens[:8])] = torch.tensor(tokens[:8], dtype=probes.dtype)
    return probes
