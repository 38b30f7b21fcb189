"""Merge an adapter into its base, shard by shard, and prove that the merged model is the adapted one.

peft's ``merge_and_unload`` holds the whole model in memory. Here each tensor of the base is read, the adapted ones get
W + scale·B·A (computed in float32), and it is written where it belongs: the peak is about the largest adapted tensor,
whatever the model's size.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from shared.files import new_folder, write_json
from shared.finetune.common.exit_codes import exit_code
from shared.finetune.merging.whole_model import merge_whole, merged_outputs, refuse_unmergeable
from shared.finetune.models import find_weights, resolve
from shared.finetune.models.adapter_files import WEIGHTS, check_adapter
from shared.finetune.models.storage import DELTA, describe

if TYPE_CHECKING:
    import torch

    from shared.finetune.config import Config

KEPT = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
)
TOKENIZER = ("tokenizer", "special_tokens_map", "added_tokens", "vocab", "merges", "spiece", "chat_template")
PIECE = 2**24  # numbers of an unchanged tensor that are in memory at once
VERIFY_BYTES = 4e9  # models up to this size are loaded twice for the proof unless it is asked for or refused
# How far the merged model's logits may be from the adapted one's, relative to the logits: rounding of the weights
TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


@dataclass
class MergeReport:
    """What was merged and how well.

    Attributes:
        layers: Number of merged weight matrices.
        shards: Number of written weight files.
        dtype: Their number format.
        seconds: Time for merging and writing [s].
        verified: Whether the logits were compared.
        max_error: Largest absolute logit difference between merged and adapted model; None if not compared.
        relative_error: Norm of that difference over the norm of the logits.
        adapter_effect: The same between base and adapted model: what the adapter does.
    """

    layers: int
    shards: int
    dtype: str
    seconds: float
    verified: bool = False
    max_error: float | None = None
    relative_error: float | None = None
    adapter_effect: float | None = None


def merge(
    config: Config, adapter: str | Path, output: str | Path, dtype: str | None = None, verify: bool | None = None
) -> MergeReport:
    """Merge an adapter into its base and write a model that loads without peft.

    LoRA on a language model is merged shard by shard; all else that has a merge with the whole model in memory
    (:mod:`shared.finetune.merging.whole_model`), and is always verified.

    Args:
        config: The configuration the adapter was trained with; its ``model`` section names the base.
        adapter: The adapter folder, or a run's folder that holds it.
        output: Folder for the merged model; replaced as a whole.
        dtype: Number format of the merged weights; None: ``model.dtype``, in which the adapter was trained.
        verify: Compare logits with the unmerged model; None: for models up to 4 GB.

    Returns:
        The report, which also lies in the folder as ``merge.json``.

    Raises:
        ModelError: If the adapter is damaged, has no merge, or does not belong to the base; nothing is written then.
    """
    start = time.perf_counter()
    place = find_weights(Path(adapter))
    about, delta = describe(place), (place / DELTA).is_file()
    settings = {} if delta else check_adapter(place)
    refuse_unmergeable(settings, about, place)
    base = base_folder(config)
    _refuse_quantized(base)
    if config.task_type != "CAUSAL_LM" or settings.get("peft_type") != "LORA":
        return _merge_whole(config, place, Path(output), base, dtype or config.model.dtype, start)
    with new_folder(Path(output)) as out:
        patch = _Patch(settings, place, base)
        dtype = dtype or config.model.dtype
        shards = _merge_shards(base, out, patch, dtype)
        _copy_beside(base, place, out, dtype)
        report = MergeReport(len(patch.lora), shards, dtype, round(time.perf_counter() - start, 2))
        size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
        if verify or (verify is None and size <= VERIFY_BYTES):
            _prove(report, config, place, out)
        write_json(out / "merge.json", asdict(report))
    return report


def base_folder(config: Config) -> Path:
    """The base's folder; a Hub id is taken from the Hub's cache or downloaded.

    Raises:
        ModelError: If it can't be obtained, or is not in safetensors.
    """
    place = Path(resolve(config.model.name_or_path))
    if not place.is_dir():
        from huggingface_hub import snapshot_download

        from shared.finetune.models.hub_errors import hub_errors

        with hub_errors(config.model):
            place = Path(
                snapshot_download(
                    config.model.name_or_path,
                    revision=config.model.revision,
                    token=True if config.model.use_auth_token else None,
                    allow_patterns=["*.safetensors", "*.safetensors.index.json", *KEPT],
                )
            )
    if not any(place.glob("*.safetensors")):
        raise ModelError(
            f"{config.model.name_or_path} holds no .safetensors files",
            fix="save the base with model.save_pretrained(folder) and name that folder",
        )
    return place


def _refuse_quantized(base: Path) -> None:
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    if config.get("quantization_config"):
        raise ModelError(
            f"{base} is stored quantised: adding B·A would need its weights dequantised, changed and rounded to the "
            "same few values again, so the merged model would not be the adapted one",
            fix="name the 16-bit base in model.name_or_path (model.quantization may stay: it is not used here), merge "
            "into that, and quantise the merged model",
        )


class _Patch:
    """What the adapter changes: B·A for some weights, whole tensors for others.

    Attributes:
        lora: Weight name -> module name.
        whole: Tensor name -> the adapter's name for its replacement.
    """

    def __init__(self, settings: dict[str, Any], place: Path, base: Path):
        from safetensors import safe_open

        self.settings = settings
        self.tensors = safe_open(place / WEIGHTS, framework="pt")
        names = list(self.tensors.keys())
        known = _tensor_names(base)
        self.lora: dict[str, str] = {}
        self.whole: dict[str, str] = {}
        for name in names:
            if ".lora_A." in name or name.endswith(".lora_embedding_A"):
                module = name.split(".lora_")[0]
                self.lora[_base_name(module + ".weight", known, base)] = module
            elif ".lora_" not in name:
                self.whole[_base_name(name.replace(".base_layer.", "."), known, base)] = name
        self._refuse_tied(base)

    def _refuse_tied(self, base: Path) -> None:
        tied = json.loads((base / "config.json").read_text(encoding="utf-8")).get("tie_word_embeddings", False)
        touched = [name for name in (*self.lora, *self.whole) if "embed" in name or "lm_head" in name or "wte" in name]
        if tied and touched:
            raise ModelError(
                f"the adapter changes {touched[0]}, which this base shares between input and output: "
                "merging would change both",
                fix="leave embeddings and head out of target_modules, or use a base with tie_word_embeddings: false",
            )

    def shape(self, name: str, stored: torch.Tensor) -> tuple[int, ...]:
        """The merged tensor's shape."""
        if name in self.whole:
            return tuple(self.tensors.get_slice(self.whole[name]).get_shape())
        return tuple(stored.shape)

    def scale(self, module: str, rank: int) -> float:
        """alpha/r, or alpha/√r with rsLoRA, of one layer."""
        alpha = self.settings["lora_alpha"]
        if patterns := self.settings.get("alpha_pattern"):
            from peft.utils.other import get_pattern_key  # importing peft takes 300 MB, which most merges need not pay

            alpha = patterns.get(get_pattern_key(patterns.keys(), _plain(module)), alpha)
        return alpha / math.sqrt(rank) if self.settings.get("use_rslora") else alpha / rank

    def changes(self, name: str) -> bool:
        """Whether a tensor is not the base's own afterwards."""
        return name in self.lora or name in self.whole

    def apply(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """The merged tensor, in float32 where it was changed by B·A."""
        if name in self.whole:
            return self.tensors.get_tensor(self.whole[name])
        if name not in self.lora:
            return weight
        module = self.lora[name]
        delta = self._delta(module)
        if self.settings.get("fan_in_fan_out") or delta.shape != weight.shape:
            delta = delta.T  # GPT-2's Conv1D and embeddings store W transposed
        if delta.shape != weight.shape:
            raise ModelError(
                f"{name} has shape {tuple(weight.shape)}, the adapter's update {tuple(delta.shape)}",
                fix="merge into the base that the adapter was trained on",
            )
        merged = weight.float() + delta
        magnitude = f"{module}.lora_magnitude_vector"
        if magnitude in self.tensors.keys():  # noqa: SIM118 - safe_open is no dict
            norm = merged.norm(dim=1, keepdim=True)  # DoRA: direction times trained magnitude
            merged = merged * (self.tensors.get_tensor(magnitude).float()[:, None] / norm)
        return merged

    def _delta(self, module: str) -> torch.Tensor:
        names = set(self.tensors.keys())
        kind = "lora_embedding_" if f"{module}.lora_embedding_A" in names else "lora_"
        end = "" if kind == "lora_embedding_" else ".weight"
        a, b = (self.tensors.get_tensor(f"{module}.{kind}{side}{end}").float() for side in "AB")
        return (b @ a) * self.scale(module, a.shape[0])


def _plain(name: str) -> str:
    return name.removeprefix("base_model.model.")


def _base_name(name: str, known: set[str], base: Path) -> str:
    """The base's name for an adapter's tensor; some checkpoints leave the model's prefix out (gpt2's h.0…)."""
    plain = _plain(name)
    for candidate in (plain, plain.partition(".")[2]):
        if candidate in known:
            return candidate
    raise ModelError(
        f"the base {base.name} has no tensor {plain}, which the adapter changes",
        fix="merge into the base that the adapter was trained on (model.name_or_path)",
    )


def _shard_files(base: Path) -> list[Path]:
    index = base / "model.safetensors.index.json"
    if index.is_file():
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [base / name for name in dict.fromkeys(named)]
    single = base / "model.safetensors"
    if not single.is_file():
        raise ModelError(f"{base} holds neither model.safetensors nor its index", fix="save the base again")
    return [single]


def _tensor_names(base: Path) -> set[str]:
    from safetensors import SafetensorError, safe_open

    names: set[str] = set()
    for file in _shard_files(base):
        try:
            with safe_open(file, framework="pt") as shard:
                names.update(shard.keys())
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file} is damaged or missing: {error}", fix="fetch or save the base again") from error
    return names


def _merge_shards(base: Path, out: Path, patch: _Patch, dtype: str) -> int:
    """Read, merge and write each shard in turn, tensor by tensor; returns their number."""
    import torch

    from shared.finetune.merging.shards import write_shard

    wanted = None if dtype == "auto" else getattr(torch, dtype)
    weight_map, size = {}, 0
    files = _shard_files(base)
    for file in files:
        kinds = {}
        for name, stored in _stored(file):
            target = stored.dtype if wanted is None or not stored.is_floating_point() else wanted
            kinds[name] = (target, patch.shape(name, stored))
            weight_map[name] = file.name
        size += write_shard(out / file.name, kinds, lambda name: _merged(file, name, patch, kinds[name][0]))  # noqa: B023
    if len(files) > 1:
        write_json(out / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})
    return len(files)


def _stored(file: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a file; what is not touched of them is not read."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as shard:
        for name in shard.keys():  # noqa: SIM118 - safe_open is no dict
            yield name, shard.get_tensor(name)


def _merged(file: Path, name: str, patch: _Patch, dtype: torch.dtype) -> Iterator[torch.Tensor]:
    """One merged tensor; one that stays as it is comes in pieces, since an embedding may be the largest by far.

    The file is opened for each of them alone: a mapped file's pages stay in memory until it is closed.
    """
    from safetensors import safe_open

    with safe_open(file, framework="pt") as shard:
        shape = shard.get_slice(name).get_shape()
        if patch.changes(name) or not shape:
            yield patch.apply(name, shard.get_tensor(name)).to(dtype)
            return
    rows = max(1, PIECE // max(1, math.prod(shape[1:])))
    for start in range(0, shape[0], rows):
        with safe_open(file, framework="pt") as shard:
            yield shard.get_slice(name)[start : start + rows].to(dtype)


def _copy_beside(base: Path, adapter: Path, out: Path, dtype: str, written: tuple[str, ...] = ()) -> None:
    """Take over configuration, generation settings, tokenizer and chat template.

    The adapter's tokenizer wins: training may have changed it (a padding token, a chat template). ``written`` names
    files that are there already.
    """
    from shared.finetune.models.gguf import drop_gguf_copy

    own = (adapter / "tokenizer_config.json").is_file()
    for name in (one for one in KEPT if one not in written):
        from_adapter = own and name.startswith(TOKENIZER)
        source = (adapter if from_adapter else base) / name
        if source.is_file():
            shutil.copyfile(source, out / name)
    drop_gguf_copy(out)
    if dtype != "auto":
        config = json.loads((out / "config.json").read_text(encoding="utf-8"))
        config.pop("torch_dtype", None)
        write_json(out / "config.json", config | {"dtype": dtype})


def _prove(report: MergeReport, config: Config, adapter: Path, merged: Path) -> None:
    """Compare the merged model's logits on probes with the adapted model's; raise if they are not the same."""
    import torch
    from transformers import AutoModelForCausalLM

    from shared.finetune.models import load_tuned

    tuned, _ = load_tuned(config, adapter, quantized=False, dtype="float32")
    tuned.to("cpu").eval()
    probes = torch.randint(0, tuned.config.vocab_size, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want = tuned(probes).logits
        with tuned.disable_adapter():
            plain = tuned(probes).logits
        del tuned
        model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
        got = model(probes).logits
    report.verified = True
    report.max_error = float((got - want).abs().max())
    report.relative_error = float((got - want).norm() / want.norm())
    report.adapter_effect = float((plain - want).norm() / want.norm())
    _refuse_unequal(report)


def _merge_whole(config: Config, place: Path, output: Path, base: Path, dtype: str, start: float) -> MergeReport:
    with new_folder(output) as out:
        changed, logits = merge_whole(config, place, out, dtype)
        _copy_beside(base, place, out, dtype, ("config.json",))
        dtype = "float32" if dtype == "auto" else dtype
        shards = len(list(out.glob("*.safetensors")))
        report = MergeReport(changed, shards, dtype, round(time.perf_counter() - start, 2), verified=True)
        got, want, plain = merged_outputs(config, out), logits["tuned"], logits["base"]
        report.max_error = float((got - want).abs().max())
        report.relative_error = float((got - want).norm() / want.norm())
        report.adapter_effect = float((plain - want).norm() / want.norm())
        _refuse_unequal(report)
        write_json(out / "merge.json", asdict(report))
    return report


def _refuse_unequal(report: MergeReport) -> None:
    allowed = TOLERANCE.get(report.dtype, TOLERANCE["bfloat16"])
    if report.relative_error > allowed or report.relative_error > 0.5 * report.adapter_effect:
        raise ModelError(
            f"the merged model is not the adapted one: its logits differ by {report.relative_error:.2g} of their size "
            f"({allowed:.0e} is allowed for {report.dtype}; the adapter's whole effect is {report.adapter_effect:.2g})",
            fix="merge with --dtype float32: the adapter's effect may be below the rounding of fewer bits",
        )


def main(argv: list[str] | None = None) -> int:
    """``peft-labs merge-adapter``.

    Returns:
        0, or 1 after an error that is printed with its fix.
    """
    parser = argparse.ArgumentParser(prog="peft-labs merge-adapter", description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="the YAML file that the adapter was trained with")
    parser.add_argument("--adapter_path", required=True, help="the adapter folder, or the run's folder")
    parser.add_argument("--output_path", required=True, help="folder for the merged model; replaced if it is there")
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16", "auto"],
        help="number format of the merged weights (default: model.dtype; auto: as the base is stored)",
    )
    parser.add_argument(
        "--verify",
        choices=["auto", "always", "never"],
        default="auto",
        help="compare logits with the unmerged model (auto: up to 4 GB)",
    )
    parser.add_argument("overrides", nargs="*", help="key=value")
    args = parser.parse_args(argv)
    return exit_code(lambda: _run(args, print))


def _run(args: argparse.Namespace, say: Callable[[str], None]) -> None:
    from shared.finetune.config import load_config

    config = load_config(args.config, args.overrides)
    if config.model.quantization is not None:
        say(
            "note: the adapter was trained on a quantised base; it is merged into the unquantised one, which is close "
            "to what it has seen, and not the same"
        )
    verify = {"auto": None, "always": True, "never": False}[args.verify]
    report = merge(config, args.adapter_path, args.output_path, args.dtype, verify)
    say(f"{report.layers} weights merged in {report.shards} file(s), {report.dtype}, {report.seconds:.1f} s")
    if report.verified:
        say(
            f"verified: largest logit difference {report.max_error:.2g}, {report.relative_error:.1e} of the logits' "
            f"size (the adapter changes them by {report.adapter_effect:.1e})"
        )
    else:
        say("not verified (the model is large, or --verify never): --verify always compares the logits")
    say(f"written to {args.output_path}")


if __name__ == "__main__":
    raise SystemExit(main())
