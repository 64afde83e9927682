"""The verb train: a recipe, the data and a folder become a run. One process alone, or several that train one run together.

What a recipe describes, put together: the way from an image to a prediction, and all that training needs.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossview.core.environment import environment_now
from crossview.core.files import write_text
from crossview.core.plugins import remembered
from crossview.core.progress import Progress
from crossview.core.rng import Randomness
from crossview.evaluation.evaluate import quick_dice
from crossview.inference.predict import evaluating
from crossview.methods.method import Method
from crossview.methods.plugin import Checked
from crossview.recipe.layers import load
from crossview.recipe.plan import Plan
from crossview.recipe.planned import resolve_planned, resumed_recipe
from crossview.recipe.resolve import Recipe, resolve
from crossview.reporting.page import write_report
from crossview.reporting.pictures.case import draw_batch
from crossview.runs.lock import locked
from crossview.runs.prepare import (
    Prepared,
    check_same_cases,
    prepare,
    preprocessing_of,
    scored_cases,
)
from crossview.runs.run import (
    Run,
    check_disk,
    check_free,
    create,
    make_predictor,
    other_environment,
    plugin_on_resume,
    recordable,
    stored_precision,
    write_model,
)
from crossview.training.device import compile_networks, measure, networks_of, place, set_kernels
from crossview.training.distributed import World, join
from crossview.training.job import Job, Outcome
from crossview.training.loop import train as train_job

Tell = Callable[[Plan], None]


def train(
    recipe: str | Path | Mapping[str, Any],
    data: Path | str | None,
    out: Path | str,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    max_steps: int | None = None,
    gpus: int | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[Run, Outcome]:
    """Train a recipe on a data set into the folder ``out``.

    Keys of recipe "folder" that are left open are planned from the data first; ``tell`` is told the plan. On resume nothing is planned:
    the run's own recipe holds every key, and without ``data`` the data are looked for where they were. Nothing is written until the recipe,
    the data and the device have been checked. In a script that torchrun started in several processes, each calls this and does its share;
    gpus: their number, if it shall be checked. ``say`` is told where volumes lie that are beyond training.memory_gb.
    Raises UserError, and LockedError where another process works in the folder.
    """
    path, root = Path(out), Path(data) if data is not None else None
    world = join(gpus)
    with ExitStack() as stack:
        with world.together():
            world.device(
                str(load(recipe, overrides).get("training", {}).get("device", "auto"))
            )  # told before scans are read
            if resume:
                root = Run.open(path).data_root(data)
            else:
                check_free(
                    path, overwrite
                )  # before the lock, which would be put into somebody's folder
            if world.first:
                stack.enter_context(locked(path))
        if resume:
            asked, plan = _resumed(world, path, recipe, overrides), None
            if Run(path).finished and (path / "model.pt").exists():
                return Run(path), Outcome("finished", sum(stage.steps for stage in asked.stages()))
        else:
            asked, plan = _planned(world, path, overwrite, recipe, overrides, root, progress, tell)
        prepared, method = _built(world, asked, root, path, progress if world.first else None)
        tell_first = say if say is not None and world.first else _silent
        if prepared.on_disk:
            tell_first(
                f"{prepared.on_disk / 1e9:.2f} GB of prepared volumes are beyond training.memory_gb: in a nameless file on the run's disk"
            )
        return _train(world, asked, plan, prepared, method, path, resume, max_steps)


def _silent(text: str) -> None:
    """Says nothing."""


def _resumed(
    world: World, path: Path, recipe: str | Path | Mapping[str, Any], overrides: Sequence[str]
) -> Recipe:
    with world.together():
        return resumed_recipe(path, recipe, overrides)


def _planned(
    world: World,
    path: Path,
    overwrite: bool,
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str],
    data: Path | None,
    progress: Progress | None,
    tell: Tell | None,
) -> tuple[Recipe, Plan | None]:
    """A new run's recipe; the first process shows how it is planned."""
    with world.together():
        check_free(path, overwrite)
        asked, plan = resolve_planned(recipe, overrides, data, progress if world.first else None)
        if plan is not None and tell is not None and world.first:
            tell(plan)
    return asked, plan


def _train(
    world: World,
    asked: Recipe,
    plan: Plan | None,
    prepared: Prepared,
    method: Method,
    path: Path,
    resume: bool,
    max_steps: int | None,
) -> tuple[Run, Outcome]:
    with world.together():
        check_disk(path, method)
        if resume:
            check_same_cases(Run(path), prepared)
        images = prepared.stream.batch(0, 0, unlabelled=False).image
        _try_views(method, images[:1])
        measured, seconds = (
            ([], {}) if resume else measure(asked.training, method, images, alone=not world.several)
        )
    resolved = resolve(asked.tables(), world.from_first(measured))
    recipe_hash = sha256(resolved.toml().encode()).hexdigest()[:8]
    world.agree(
        "torch, the recipe or the training cases",
        f"{torch.__version__}, {recipe_hash}, {prepared.fingerprint}",
    )
    world.share_batch_norm(method, prepared.device)
    job = make_job(path, resolved, prepared, method, world)
    with world.together():
        if resume:
            job.resumed_with = {
                "device_name": environment_now(prepared.device)["device_name"],
                **_changed(Run(path).recipe, resolved),
            }
            job.warnings = other_environment(
                Run(path), prepared.device, world.size
            ) + plugin_on_resume(Run(path), writes=world.first)
        elif world.first:
            create(
                path, resolved, _about(prepared, seconds, world) | remembered(resolved.method.name)
            )
            if plan is not None:
                write_text(path / "plan.json", json.dumps(plan.as_json(), indent=1))
    outcome = train_job(job, resume=resume, max_steps=max_steps)
    with world.together():  # the others wait: what started them may end all once one has ended
        if world.first:
            if outcome.how == "finished":
                write_model(Run(path), prepared.splits)
            write_report(path)
    return Run(path), outcome


def _try_views(method: Method, image: Tensor) -> None:
    """Call the views of a method of one's own, which may be wanted only once training is over. Nothing is changed by it."""
    if isinstance(method, Checked):
        devices = [image.device] if image.is_cuda else []
        with torch.random.fork_rng(devices), evaluating(method), torch.no_grad():
            method.views(image)


def _built(
    world: World, recipe: Recipe, data: Path | None, path: Path, progress: Progress | None
) -> tuple[Prepared, Method]:
    """The data, and the method with its first weights on this process's device."""
    with world.together():
        set_kernels(recipe.training.deterministic)
        prepared = prepare(recipe, data, progress, world=world, out=path)
        torch.manual_seed(Randomness(recipe.training.seed).number("weights"))
        method = recipe.build_method(prepared.splits.channels)
        place(method, prepared.device, len(recipe.data.patch))
    return prepared, method


def _changed(old: Recipe, new: Recipe) -> dict[str, Any]:
    """The keys of [training] that a resume changes."""
    before, after = old.training.model_dump(), new.training.model_dump()
    return {key: value for key, value in after.items() if value != before[key]}


def _about(
    prepared: Prepared, seconds: Mapping[str, Mapping[str, float]], world: World
) -> dict[str, Any]:
    """What environment.json tells of a run."""
    splits = prepared.splits
    about = environment_now(prepared.device) | {
        "command": shlex.join(["crossview", *sys.argv[1:]])
        if Path(sys.argv[0]).stem in ("crossview", "__main__")
        else "",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "processes": world.size,
        "data": str(prepared.data.absolute()) if prepared.data else "",
        "labelled": [case.id for case in splits.labelled],
        "unlabelled": 0 if prepared.stream.unlabelled is None else len(prepared.stream.unlabelled),
        "training_cases": prepared.fingerprint,
        "validation": [case.id for case in splits.validation],
        "test": len(splits.test),
        "class_names": list(splits.class_names),
        "notes": list(splits.notes),
    }
    return about | {f"{key}_seconds": dict(values) for key, values in seconds.items() if values}


def make_job(path: Path, recipe: Recipe, prepared: Prepared, method: Method, world: World) -> Job:
    """The training of a recipe into the run folder ``path``; its networks are compiled where the recipe says so."""
    splits = prepared.splits
    scored = scored_cases(recipe, splits)
    precision = stored_precision(recipe)
    predictor = make_predictor(recipe, method, prepared.device, precision)
    preprocessing = preprocessing_of(recipe, splits)
    if recipe.training.compile is True:
        compile_networks(networks_of(method))
    return Job(
        method=method,
        stream=prepared.stream,
        options=recipe.training,
        folder=path,
        device=prepared.device,
        precision=precision,
        recipe=recipe.tables(),
        score=(lambda: quick_dice(predictor, scored, splits, preprocessing))
        if scored and world.first
        else None,
        draw=draw_batch if world.first else None,
        world=world,
        class_names=splits.class_names,
        recorded=recordable(recipe, prepared.device) and not world.several,
    )
