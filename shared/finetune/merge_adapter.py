"""Merge an adapter into its base, module by module, and verify that the merged model is the adapted one.

peft's ``merge_and_unload`` holds the whole model in memory. Here peft's layer is built around one module at a time
(:mod:`shared.finetune.merging.peft_layers`), merged, written and forgotten: the peak is about the largest adapted
tensor, whatever the model's size.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from shared.files import new_folder, write_json
from shared.finetune.common.exit_codes import exit_code
from shared.finetune.merging.checkpoint import base_folder, copy_beside, free_large_blocks_at_once, refuse_quantized
from shared.finetune.merging.report import MergeReport, compare_logits
from shared.finetune.merging.whole_model import merge_whole, merged_outputs, refuse_unmergeable
from shared.finetune.models import find_weights
from shared.finetune.models.adapter_files import check_adapter
from shared.finetune.models.storage import DELTA, describe

if TYPE_CHECKING:
    from shared.finetune.config import Config

VERIFY_BYTES = 4e9  # up to this size the whole model's logits are compared unless it is asked for or refused


def merge(
    config: Config, adapter: str | Path, output: str | Path, dtype: str | None = None, verify: bool | None = None
) -> MergeReport:
    """Merge an adapter into its base and write a model that loads without peft.

    Adapters of a language model are merged module by module; all else that can be merged with the whole model in
    memory (:mod:`shared.finetune.merging.whole_model`), and its logits are always compared.

    Args:
        config: The configuration the adapter was trained with; its ``model`` section names the base.
        adapter: The adapter folder, or a run's folder that holds it.
        output: Folder for the merged model; replaced as a whole.
        dtype: dtype of the merged weights; None: ``model.dtype``, in which the adapter was trained.
        verify: True compares each merged module's outputs with the adapted module's, and the whole model's logits;
            None the logits only for models up to 4 GB; False nothing.

    Returns:
        The report, which is also in the folder as ``merge.json``.

    Raises:
        ModelError: If the adapter is damaged, can't be merged, or does not belong to the base; nothing is written then.
    """
    start = time.perf_counter()
    place = find_weights(Path(adapter))
    about, delta = describe(place), (place / DELTA).is_file()
    settings = {} if delta else check_adapter(place)
    refuse_unmergeable(settings, about, place)
    base, dtype = base_folder(config), dtype or config.model.dtype
    refuse_quantized(base)
    if config.task_type != "CAUSAL_LM" or delta:
        return _merge_whole(config, place, Path(output), base, dtype, start)
    from shared.finetune.merging.plan import WholeModelOnly

    try:
        return _merge_streamed(config, place, Path(output), base, dtype, verify, start)
    except WholeModelOnly as reason:
        return _merge_whole(config, place, Path(output), base, dtype, start, str(reason))


def _merge_streamed(
    config: Config, place: Path, output: Path, base: Path, dtype: str, verify: bool | None, start: float
) -> MergeReport:
    import torch

    from shared.finetune.merging.plan import make_plan
    from shared.finetune.merging.streamed import Streamed

    plan = make_plan(config, base, place)
    wanted = None if dtype == "auto" else getattr(torch, dtype)
    free_large_blocks_at_once()
    work = Streamed(plan, wanted, check=verify is not False)
    work.prepare()
    with new_folder(output) as out:
        shards = work.write(out)
        changes = work.config_changes() | ({} if dtype == "auto" else {"dtype": dtype})
        copy_beside(base, place, out, changes)
        work.verify_untied(out)
        report = MergeReport(work.layers, shards, dtype, round(time.perf_counter() - start, 2), untied=work.untied)
        report.add_modules(work.checks)
        size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
        if verify or (verify is None and size <= VERIFY_BYTES):
            compare_logits(report, config, place, out)
        write_json(out / "merge.json", asdict(report))
    return report


def _merge_whole(
    config: Config, place: Path, output: Path, base: Path, dtype: str, start: float, reason: str = ""
) -> MergeReport:
    with new_folder(output) as out:
        changed, logits = merge_whole(config, place, out, dtype)
        dtype = "float32" if dtype == "auto" else dtype
        copy_beside(base, place, out, {"dtype": dtype}, ("config.json",))
        shards = len(list(out.glob("*.safetensors")))
        report = MergeReport(changed, shards, dtype, round(time.perf_counter() - start, 2), whole_model=reason)
        report.add_logits(merged_outputs(config, out), logits["tuned"], logits["base"])
        write_json(out / "merge.json", asdict(report))
    return report


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
        help="dtype of the merged weights (default: model.dtype; auto: as the base is stored)",
    )
    parser.add_argument(
        "--verify",
        choices=["auto", "always", "never"],
        default="auto",
        help="compare each merged module's outputs, and up to 4 GB the model's logits, with the adapted ones (auto); "
        "the logits at any size (always)",
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
    for line in _lines(report):
        say(line)
    say(f"written to {args.output_path}")


def _lines(report: MergeReport) -> Iterator[str]:
    """What the report says, for a reader."""
    yield f"{report.layers} modules merged in {report.shards} file(s), {report.dtype}, {report.seconds:.1f} s"
    if report.whole_model:
        yield f"note: the whole model was in memory: {report.whole_model}"
    if report.untied:
        yield (
            "note: the adapter changes input and output embeddings differently, which the base shares; the merged "
            "model holds both, and its config.json says tie_word_embeddings: false"
        )
    if report.modules_verified:
        yield (
            f"verified module by module: outputs of {report.modules_verified} modules on random inputs differ by at "
            f"most {report.module_error:.1e} of their size (the adapter changes them by {report.module_effect:.1e})"
        )
    if report.verified:
        yield (
            f"verified: largest logit difference {report.max_error:.2g}, {report.relative_error:.1e} of the logits' "
            f"size (the adapter changes them by {report.adapter_effect:.1e})"
        )
    elif report.modules_verified:
        yield "the whole model's logits were not compared (it is above 4 GB): --verify always does that"
    else:
        yield "not verified (--verify never)"


if __name__ == "__main__":
    raise SystemExit(main())
