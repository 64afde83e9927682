"""The verb train: make a run from a recipe, data and a folder, in one process or in several."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossview.core.environment import environment_now
from crossview.core.errors import fail
from crossview.core.files import write_text
from crossview.core.plugins import LOADED
from crossview.core.progress import Progress
from crossview.core.rng import Randomness
from crossview.core.run_folder import PLAN
from crossview.core.tensors import Batch
from crossview.data.sources.divided import BEGIN
from crossview.data.sources.folder import HIDES
from crossview.evaluation.evaluate import quick_dice
from crossview.inference.predict import evaluating
from crossview.methods.method import Method
from crossview.methods.plugin import check_views
from crossview.recipe.layers import differences, load
from crossview.recipe.length import caution, over_steps
from crossview.recipe.plan import Plan
from crossview.recipe.planned import asked_on_resume, resolve_planned
from crossview.recipe.resolve import Recipe, resolve
from crossview.reporting.pictures.batch import batch_drawer
from crossview.runs import trained
from crossview.runs.drafts import note_rounds
from crossview.runs.environment import about, data_of
from crossview.runs.lock import locked
from crossview.runs.memory import check_memory
from crossview.runs.precision import earlier_choice
from crossview.runs.prepare import (
    Prepared,
    find_splits,
    prepare,
    preprocessing_of,
    scored_cases,
)
from crossview.runs.run import (
    Run,
    check_disk,
    check_free,
    check_steps,
    create,
    make_predictor,
    other_environment,
    plugin_on_resume,
    recipe_on_resume,
)
from crossview.runs.warm_start import Taken, data_root, restarted, started
from crossview.runs.weights import write_model
from crossview.training import checkpoint
from crossview.training.device import Precision, measure, place, set_kernels
from crossview.training.distributed import World, join
from crossview.training.job import Job, Outcome, Resumed, Score
from crossview.training.loop import train as train_job
from crossview.training.options import current

Tell = Callable[[Plan], None]


def train(
    recipe: str | Path | Mapping[str, Any],
    data: Path | str | None,
    out: Path | str,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    steps: int | None = None,
    max_steps: int | None = None,
    gpus: int | None = None,
    start: Run | Path | str | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
    remark: Callable[[str], None] = lambda _: None,
) -> tuple[Run, Outcome]:
    """Train a recipe on a data set into the run folder ``out``.

    Nothing is written until the recipe, the data and the device have been checked. Open keys of
    recipe "folder" are planned from the data first. In a script started by torchrun, each process
    calls this and computes its share.

    Args:
        recipe: A shipped setting, a TOML file, a run folder, or the tables as a mapping.
        data: The folder of the data; None if the source needs none. On resume, or with ``start``,
            None means the folder that the run was trained on.
        out: The run folder.
        overrides: Texts "table.key=value", as ``--set`` takes them.
        resume: Continue the run in ``out`` from its last checkpoint. Nothing is planned: the run's
            own recipe has every key.
        overwrite: Replace a run in ``out``.
        steps: Number of optimiser steps of the whole run, by which its stages and its schedule are
            scaled. Default: those of the recipe.
        max_steps: Pause after this many optimiser steps, counted from the start of the run. The
            schedule stays that of the whole run.
        gpus: The expected number of processes. Default: not checked.
        start: A run, its folder or a model file whose weights the new run begins with, see
            :mod:`crossview.runs.warm_start`. A plan takes voxel size, intensities and network from
            it.
        progress: Called with (done, total) while scans are read.
        tell: Called with the plan, if one is made.
        remark: Called with a line of what a user should know, such as what was taken from
            ``start``.

    Returns:
        The run, and how its training ended.

    Raises:
        UserError: With every problem of the recipe, the data, the device or the folder.
        LockedError: If another process works in the folder.
    """
    path, world = Path(out), join(gpus)
    with ExitStack() as held:
        with world.together():  # a mistake in one process is raised in all
            if resume and isinstance(recipe, str | Path) and Path(recipe) == path:
                recipe = current(Run.open(path).tables)  # not the shipped setting of this name
            given = overrides
            if steps is not None and resume:
                check_steps(Run.open(path), steps)
            if steps is not None:
                overrides = [*overrides, *over_steps(recipe, overrides, steps)]
            device = load(recipe, overrides).get("training", {}).get("device", "auto")
            world.device(str(device))  # raised before scans are read
            if resume:
                source = restarted(Run.open(path), start)
                root = Run.open(path).data_root(data)
            else:
                source = started(start, path)
                root = data_root(data, source)
                check_free(path, overwrite)  # the lock file must not land in a foreign folder
            if world.first:
                held.enter_context(locked(path))
            else:
                progress, tell, remark = None, None, _silent
        with world.together():
            plan = None
            if resume:
                run = Run.open(path)
                asked = recipe_on_resume(run, asked_on_resume(run.recipe, recipe, overrides))
                if Run(path).finished and (path / "model.pt").exists():
                    return Run(path), Outcome("finished", sum(each.steps for each in asked.stages))
            else:
                check_free(path, overwrite)  # again, now that no other process can write
                planned = source.planned if source else resolve_planned
                asked, plan = planned(recipe, overrides, root, progress)
            if source:
                source.check(asked, find_splits(asked, root))
            if not resume:
                if plan is not None and tell is not None:
                    tell(plan)
                if steps is not None and world.first:
                    usual = plan.budget.steps if plan else None
                    if text := caution(recipe, given, asked, usual):
                        remark(text)
            set_kernels(asked.training.deterministic)
            prepared = prepare(asked, root, progress, world=world, out=path)
            check_memory(asked, prepared.stream, prepared.splits.channels, remark)
            method = new_method(asked, prepared)
            taken = source.begin(method, asked, prepared.splits.class_names) if source else None
            check_disk(path, method)
            first = prepared.stream.batch(0, 0, unlabelled=method.stages[0].unlabelled)
            if asked.method.name in LOADED:
                try_views(method, first.image[:1])
            measured, timed = list[str](), dict[str, Any]()
            if not resume:
                measured, timed = _measured(path, asked, prepared, method, first, world)
        settled = resolve(asked.tables(), world.from_first(measured))
        world.agree("torch, the recipe or the training cases", _identity(settled, prepared, taken))
        world.share_batch_norm(method, prepared.device)
        with world.together():
            resumed = resumption(Run(path), settled, prepared, world) if resume else None
            if not resume and world.first:
                create(path, settled, about(settled, prepared, timed, world.size, taken))
                seen = trained.of_training(prepared)
                trained.write(Run(path), taken.trained(seen) if taken else seen)
                note_rounds(Run(path), root, prepared.splits, remark)
                for note in prepared.splits.notes:
                    if note.startswith((HIDES, BEGIN)):
                        remark(note)
                if taken:
                    remark(taken.text())
                if plan is not None:
                    write_text(path / PLAN, json.dumps(plan.as_json(), indent=1))
        outcome = train_job(make_job(path, settled, prepared, method, world), resumed, max_steps)
        with world.together():  # the others wait: the launcher may kill all ranks when one exits
            if world.first:
                # Imported here, so that the first step does not wait for it.
                from crossview.reporting.page import write_report

                write_report(path)
                if outcome.how == "finished":  # the model is last: with it a run is done
                    write_model(Run(path), prepared.splits)
    return Run(path), outcome


def _silent(_: str) -> None:
    """Say nothing: the first process speaks for all."""


def new_method(recipe: Recipe, prepared: Prepared) -> Method:
    """Return the method with its initial weights, on the device of the batches."""
    torch.manual_seed(Randomness(recipe.training.seed).number("weights"))
    method = recipe.build_method(prepared.splits.channels)
    place(method, prepared.device, len(recipe.data.patch))
    return method


def _measured(
    path: Path,
    recipe: Recipe,
    prepared: Prepared,
    method: Method,
    batch: Batch,
    world: World,
) -> tuple[list[str], dict[str, Any]]:
    """Return the measured keys as --set texts, and the origin of their values for the record."""
    device_name = environment_now(prepared.device)["device_name"]
    precision, earlier = earlier_choice(path, recipe, device_name, data_of(prepared))
    options = recipe.training
    if earlier:
        options = options.model_copy(update={"precision": precision})
    measured, seconds = measure(options, method, batch, not world.several)
    origin = {"precision_of": earlier} if earlier else {}
    return measured, origin | {f"{key}_seconds": found for key, found in seconds.items()}


def try_views(method: Method, image: Tensor) -> None:
    """Call a plugin's views once without side effects, so that an error shows before training."""
    devices = [image.device] if image.is_cuda else []
    with torch.random.fork_rng(devices), evaluating(method), torch.no_grad():
        check_views(method, image)


def _identity(recipe: Recipe, prepared: Prepared, taken: Taken | None) -> str:
    """Return what must be the same in all processes."""
    digest = sha256(recipe.toml().encode()).hexdigest()[:8]
    weights = f", {taken.as_json()['weights']}" if taken else ""
    return f"{torch.__version__}, {digest}, {prepared.fingerprint}{weights}"


def resumption(run: Run, recipe: Recipe, prepared: Prepared, world: World) -> Resumed | None:
    """Return what a run is resumed from, or None if it was killed before its first checkpoint.

    Raises UserError if the training cases are not those that the run began with, or the checkpoint
    is missing or damaged.
    """
    then = run.require_environment().get("training_cases", prepared.fingerprint)
    if then != prepared.fingerprint:
        splits = prepared.splits
        fail(
            "the training cases differ from those that the run began with",
            prepared.data or recipe.data.source,
            found=f"{len(splits.labelled)} labelled and {len(splits.unlabelled)} unlabelled cases",
            expected="the same cases in the same order",
            fix="give the data that the run began with, or choose another --out",
        )
    changed_plugin = plugin_on_resume(run, writes=world.first)
    last = run.path / "checkpoints" / "last.pt"
    if not last.exists():
        if run.journal.rows:  # a checkpoint is written before the first row
            fix = "restore it, or train again with --overwrite"
            fail("the run's checkpoint is missing", last, fix=fix)
        trained.on_resume(run, prepared, begun=False, writes=world.first)
        return None
    state, old = checkpoint.read(last), run.recipe.training.model_dump()
    begun = state["position"]["total_step"] > 0
    changed_data = trained.on_resume(run, prepared, begun=begun, writes=world.first)
    device, new = environment_now(prepared.device)["device_name"], recipe.training.model_dump()
    return Resumed(
        state,
        different=differences(state.get("recipe", {}), recipe.tables()),
        changed={"device_name": device}
        | {key: value for key, value in new.items() if value != old[key]},
        warnings=other_environment(run, prepared.device, world.size)
        + changed_data
        + changed_plugin,
    )


def make_job(path: Path, recipe: Recipe, prepared: Prepared, method: Method, world: World) -> Job:
    """Return the training job of a recipe without open or unmeasured keys."""
    job = Job(
        folder=path,
        method=method,
        stream=prepared.stream,
        options=recipe.training,
        recipe=recipe.tables(),
        class_names=prepared.splits.scored_names,
        world=world,
    )
    if world.first:
        job.draw = batch_drawer(recipe, prepared.splits)
        job.score = scorer(recipe, prepared, method, job.precision)
    return job


def scorer(
    recipe: Recipe, prepared: Prepared, method: Method, precision: Precision
) -> Callable[[], Score] | None:
    """Return a function that scores a method during training; None if no cases are scored."""
    splits = prepared.splits
    cases = scored_cases(recipe, splits)
    if not cases:
        return None
    predictor = make_predictor(recipe, method, prepared.device, precision)
    preprocessing = preprocessing_of(recipe, splits)
    return lambda: quick_dice(predictor, cases, splits, preprocessing)
