"""The verbs that read scans: check, evaluate, predict, suggest."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from crossview.cli.console import bar, print_result, say
from crossview.cli.options import (
    DataOfRun,
    Device,
    Json,
    MinimumVolume,
    Plugin,
    RunPath,
    check_one_of,
    flag,
    load_plugin,
    runs_and_scans,
    volumes_of,
)
from crossview.core.busy import worker
from crossview.core.errors import STOPS, fail
from crossview.core.run_folder import RunFolder
from crossview.core.text import count as number_of


def check(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of the data set.")],
    source: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="How to read it; by default detected from its layout."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a data set and report every problem. Exits with 2 if it can't be trained on."""
    from crossview.cli.views import checked
    from crossview.data.checks.dataset import check as check_data

    with bar("reading cases") as progress:
        found = check_data(data, source, progress=progress)
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        print_result(checked(found))
    if found.errors:
        sys.exit(2)


def evaluate(
    run: RunPath,
    data: DataOfRun = None,
    split: Annotated[
        str | None, typer.Option("--split", help="test (the default) or validation.")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="last or selected; by default by the recipe's selection."),
    ] = None,
    cases: Annotated[
        int | None,
        typer.Option(min=1, help="Number of cases to score, from the first; by default all."),
    ] = None,
    minimum_volume: MinimumVolume = None,
    choose_minimum_volume: Annotated[
        bool,
        flag(
            "--choose-minimum-volume",
            "Score nothing, but find the minimum volume that is best on the validation cases.",
        ),
    ] = False,
    device: Device = "auto",
    plugin: Plugin = None,
) -> None:
    """Score a run on its test cases: Dice, Jaccard, HD95 and ASD, with confidence intervals."""
    from crossview.cli.views import summary_table
    from crossview.runs.evaluate import DOUBTS
    from crossview.runs.evaluate import evaluate as run_evaluate
    from crossview.runs.run import Run, other_plugin

    load_plugin(plugin)
    if choose_minimum_volume:
        if split == "test" or cases or minimum_volume:
            fail(
                "--choose-minimum-volume takes all validation cases and tries many volumes",
                found="--split test, --cases or --minimum-volume",
                fix="leave these options out; test cases must not choose anything",
            )
        return _choose(run, data, checkpoint, device)
    split = split or "test"
    with bar("predicting") as progress:
        summary = run_evaluate(
            run,
            data,
            split=split,
            checkpoint_name=checkpoint,
            minimum_volume=volumes_of(minimum_volume),
            cases=cases,
            device=device,
            progress=progress,
        )
    print_result(summary_table(summary))
    print(f"written: {run / 'evaluation' / split}")
    remarks = [note for note in summary["notes"] if note.startswith(DOUBTS)]
    remarks += other_plugin(Run(run))
    if not Run(run).finished:
        resume = Run(run).command("train", "--resume")
        by = worker(run)
        how = f"is still training ({by})" if by else f"is unfinished; resume it with {resume}"
        remarks.append(f"the run {how}")
    for text in remarks:
        say(f"remark: {text}")


def _choose(run: Path, data: Path | None, checkpoint: str | None, device: str) -> None:
    """Print the minimum volume that is best on the validation cases."""
    from crossview.cli.choices import choices_table
    from crossview.runs.minimum_volume import choose_minimum_volume

    with bar("predicting") as progress:
        found = choose_minimum_volume(
            run, data, checkpoint_name=checkpoint, device=device, progress=progress
        )
    print_result(choices_table(found))


def predict(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN...",
            help="A run folder, or a model.pt alone. Of several, the probabilities are averaged.",
        ),
    ],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Scans (NIfTI, NRRD, MetaImage, DICOM, PNG, TIFF, h5), or folders of them.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the predictions.")],
    probabilities: Annotated[
        bool, flag("--probabilities", "Also write the class probabilities.")
    ] = False,
    disagreement: Annotated[
        bool, flag("--disagreement", "Also write maps of the views' disagreement.")
    ] = False,
    entropy: Annotated[bool, flag("--entropy", "Also write maps of the uncertainty.")] = False,
    flips: Annotated[
        bool, flag("--flips", "Average over mirror images; needs a model trained with flips.")
    ] = False,
    minimum_volume: MinimumVolume = None,
    resume: Annotated[
        bool, flag("--resume", "Keep existing predictions, and make the missing ones.")
    ] = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace existing predictions.")] = False,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Format of the labels of volumes: nifti (the default), nrrd, mha, seg.nrrd (named "
            "segments), or dicom-seg for DICOM scans.",
        ),
    ] = None,
    device: Device = "auto",
    plugin: Plugin = None,
) -> None:
    """Segment scans. Each prediction has the grid, affine and name of its scan."""
    from crossview.runs.predict import predict as run_predict

    load_plugin(plugin)
    check_one_of(resume, overwrite)
    more, scans = runs_and_scans(inputs)
    written: list[Path] = []
    remarks: list[str] = []
    try:
        with bar("predicting") as progress:
            run_predict(
                [run, *more],
                scans,
                out,
                probabilities=probabilities,
                disagreement=disagreement,
                entropy=entropy,
                flips=flips or None,
                minimum_volume=volumes_of(minimum_volume),
                resume=resume,
                overwrite=overwrite,
                form=form,
                device=device,
                progress=progress,
                done=written.append,
                remark=remarks.append,
            )
    except STOPS:
        kept = "finished predictions are kept; run the same command with --resume for the rest"
        say(kept if written else "nothing was written")
        raise
    finally:
        for text in remarks:
            say(f"remark: {text}")
        for path in written:
            print(path)
    if not written:
        say("all predictions exist already")


def suggest(
    run: RunPath,
    data: DataOfRun = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Number of scans.")] = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for suggest.json and suggest.png; by default RUN/suggest."
        ),
    ] = None,
    drafts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="New folder for a draft segmentation of each scan, to be corrected, and a map of "
            "where the model is unsure.",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Format of the drafts of volumes: seg.nrrd (named segments; the default where it "
            "can be written), nifti, nrrd, mha, or dicom-seg for DICOM scans.",
        ),
    ] = None,
    as_json: Json = False,
    device: Device = "auto",
    plugin: Plugin = None,
) -> None:
    """List the unlabelled scans to label next: those the run doubts most, no two alike."""
    from crossview.cli.views import suggestion_table
    from crossview.runs.suggest import suggest as run_suggest

    load_plugin(plugin)
    with bar("predicting") as progress:
        found = run_suggest(
            run,
            data,
            count=count,
            out=out,
            drafts=drafts,
            form=form,
            device=device,
            progress=progress,
            remark=lambda text: say(f"remark: {text}"),
        )
    if len(found) < count:
        scans = number_of(len(found), "unlabelled scan")
        say(f"remark: the data set has only {scans}; all are listed")
    if as_json:
        print(json.dumps([vars(each) for each in found], indent=1))
        return
    print_result(suggestion_table(found))
    folder = out or run / "suggest"
    print(f"pictures: {folder / 'suggest.png'}\nall scores: {folder / 'suggest.json'}")
    if drafts is not None:
        print(
            f"drafts: {drafts} (unsure places: {drafts / 'entropy'})\n"
            "next: correct the drafts, put them into the label folder of the data set, then\n"
            f"{_next_round(run, data, plugin)}"
        )


def _next_round(run: Path, data: Path | None, plugin: str | None) -> str:
    """Return the command that trains the run's method on, once drafts are corrected."""
    from crossview.recipe.layers import load

    method = str(RunFolder(run).tables["method"]["name"])
    words = ["crossview", "train", "folder", *(("--data", str(data)) if data else ())]
    words += ["--from", str(run)]
    if plugin is not None:
        words += ["--plugin", plugin]
    elif method != load("folder")["method"]["name"]:
        words += ["--set", f"method.name={method}"]
    return f"{shlex.join(words)} --out NEW_RUN"
