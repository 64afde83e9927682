"""Arguments shared by several verbs of the command, and their handling before a verb runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crossview.errors import Problem, UserError

OVERRIDES = typer.Option(
    "--set",
    metavar="KEY=VALUE",
    help="Set a key of the recipe, e.g. training.seed=1. Can be repeated.",
)
DATA = typer.Option("--data", metavar="DATA", help="Folder of the data set; not needed for 'demo'.")
DATA_OF_RUN = typer.Option(
    "--data", metavar="DATA", help="Folder of the data set, if it has moved since training."
)
DEVICE = typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")
Plugin = Annotated[
    str | None,
    typer.Option(
        "--plugin", metavar="MODULE:CLASS", help="Your own method. Its code is imported and run."
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Model = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or a model.pt alone.")]


def flag(name: str, about: str) -> Any:
    """Return an option that takes no value and shows no type in the help."""
    return typer.Option(name, metavar="", help=about)


def check_one_of(resume: bool, overwrite: bool) -> None:
    """Raise UserError if --resume and --overwrite are both given."""
    if resume and overwrite:
        raise UserError(
            Problem("--resume and --overwrite cannot be combined", fix="use only one of them")
        )


def run_to_make(recipe: str, out: Path | None, resume: bool) -> Path:
    """Return the run folder of ``train``: --out, or the run to resume. Raise UserError if none."""
    if out is not None:
        return out
    if resume and is_run(recipe):
        return Path(recipe)
    if is_run(recipe):
        fix = "add --resume to resume this run, or --out runs/NAME to start a new run of its recipe"
    else:
        fix = "add --out runs/NAME" + (
            ", or replace the recipe by the run folder to resume" if resume else ""
        )
    raise UserError(Problem("no run folder is given", where="--out", found="none", fix=fix))


def is_run(recipe: str) -> bool:
    """True if the recipe is given as a run folder."""
    return (Path(recipe) / "recipe.toml").is_file()


def show_version(asked: bool) -> None:
    """Print the version and exit."""
    if asked:
        from crossview import __version__, commit

        print(f"crossview {__version__} {commit()}".strip())  # noqa: T201
        raise typer.Exit


def load_plugin(plugin: str | None) -> None:
    """Load the plugin, if one is given."""
    if plugin is not None:
        from crossview.methods.plugin import load

        load(plugin)


def with_plugin(recipe: str, sets: list[str], plugin: str | None) -> list[str]:
    """Load the plugin and return the --set texts.

    The plugin becomes the method of a shipped setting, unless --set names another method.
    """
    load_plugin(plugin)
    named = (
        recipe.endswith(".toml")
        or is_run(recipe)
        or any(text.split("=")[0].strip() == "method.name" for text in sets)
    )
    return sets if plugin is None or named else [f"method.name={plugin}", *sets]
