"""Options that several verbs share, and their handling before a verb runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer

from crossview.core.errors import Problem, UserError, fail
from crossview.core.run_folder import RunFolder


def flag(name: str, about: str, **more: Any) -> Any:
    """Return an option that takes no value and shows no type in the help."""
    return typer.Option(name, metavar="", help=about, **more)


Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DATA", help="Folder of the data set; not needed for 'demo'."),
]

DataOfRun = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DATA", help="Folder of the data set, if it has moved since training."
    ),
]

Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ..., mps")]

Json = Annotated[bool, flag("--json", "Print the results as JSON.")]

Plugin = Annotated[
    str | None,
    typer.Option(
        "--plugin", metavar="MODULE:CLASS", help="Your own method. Its code is imported and run."
    ),
]

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]

Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the recipe, e.g. training.seed=1. Can be repeated.",
    ),
]

MinimumVolume = Annotated[
    str | None,
    typer.Option(
        "--minimum-volume",
        metavar="V[,V...]",
        help="Remove smaller pieces of a class: one number, or one per class. In mm3; in voxels or "
        "pixels for a model without a voxel spacing.",
    ),
]

Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        min=1,
        help="Steps of the whole run; the stages and the schedule are scaled to it. "
        "By default the recipe's.",
    ),
]

Split = Annotated[str, typer.Option("--split", help="test or validation.")]


def volumes_of(text: str | None) -> list[float] | None:
    """Return the numbers of --minimum-volume."""
    try:
        return None if text is None else [float(each) for each in text.split(",")]
    except ValueError:
        expected = "numbers, such as 30, or 30,0,10 for three classes"
        fail("the minimum volume is no number", "--minimum-volume", found=text, expected=expected)


def check_one_of(resume: bool, overwrite: bool) -> None:
    """Raise UserError if --resume and --overwrite are both given."""
    if resume and overwrite:
        fail("--resume and --overwrite cannot be combined", fix="use only one of them")


def run_to_make(recipe: str, out: Path | None, resume: bool) -> Path:
    """Return the run folder of ``train``: --out, or the run to resume.

    Raises UserError if none is given, and says so if there is no such recipe either.
    """
    if out is not None:
        return out
    from crossview.recipe.layers import load, shipped_settings

    if is_run(recipe, resume):
        if resume:
            return Path(recipe)
        fix = "add --resume to resume this run, or --out runs/NAME to start a new run of its recipe"
    elif is_run(recipe, resume=True):
        fix = (
            f"add --out runs/NAME to train the shipped setting {recipe}, or --resume to resume the "
            "run folder of this name"
        )
    else:
        fix = "add --out runs/NAME"
        if resume and not (recipe.endswith(".toml") or recipe in shipped_settings()):
            fix = "give the run folder that train has made, or its recipe with --out"
            fail("there is no run to resume", recipe, fix=fix)
        if resume:
            fix += ", or replace the recipe by the run folder to resume"
    problems = [Problem("no run folder is given", "--out", "none", fix=fix)]
    try:
        load(recipe)
    except UserError as error:
        problems = [*error.problems, *problems]
    raise UserError(problems)


def is_run(recipe: str, resume: bool = False) -> bool:
    """True if RECIPE is a run folder. The name of a shipped setting is one only to resume it."""
    from crossview.recipe.layers import shipped_settings

    return RunFolder(Path(recipe)).exists and (resume or recipe not in shipped_settings())


def runs_and_scans(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the runs and models at the beginning of the paths, and the scans after them.

    Raises UserError if there are only runs.
    """
    runs = list(takewhile(lambda path: RunFolder(path).exists or path.suffix == ".pt", paths))
    scans = list(paths[len(runs) :])
    if not scans:
        found = f"the runs {', '.join(map(str, runs))}"
        fix = "give scans, or folders of scans, after the runs"
        fail("no scans to predict are given", "INPUT", found=found, fix=fix)
    return runs, scans


def load_plugin(plugin: str | None) -> None:
    """Load the plugin, if one is given."""
    if plugin is not None:
        from crossview.methods.plugin import load

        load(plugin)


def with_plugin(
    recipe: str, sets: list[str] | None, plugin: str | None, resume: bool = False
) -> list[str]:
    """Load the plugin and return the --set texts.

    The plugin becomes the method of a shipped setting, unless --set names another method. resume:
    True if ``recipe`` is the run folder to resume.
    """
    load_plugin(plugin)
    sets = sets or []
    named = any(text.split("=")[0].strip() == "method.name" for text in sets)
    if plugin is None or named or recipe.endswith(".toml") or is_run(recipe, resume):
        return sets
    return [f"method.name={plugin}", *sets]
