"""Report of a run: one HTML file, made from the contents of the run folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from crossview.core.files import write_text
from crossview.core.plugins import arguments
from crossview.reporting.anonymous import without_names
from crossview.reporting.comparison import ComparisonTable, comparison_section
from crossview.reporting.content import RunContent, read_run
from crossview.reporting.curves import speed_sentence, training_charts
from crossview.reporting.data_sheet import data_sheet
from crossview.reporting.headline import headline, headline_score, planned_steps
from crossview.reporting.images import embed
from crossview.reporting.results import Shown, evaluation_part
from crossview.reporting.templates import render
from crossview.reporting.verdict import cautions, result_sentences, unlabelled_effect
from crossview.reporting.words import table

BATCH_BUDGET = 1_000_000


MOST_BATCHES = 4


def write_report(
    run: Path,
    *,
    comparison: ComparisonTable | None = None,
    comparison_title: str = "Comparison",
    path: Path | None = None,
    names: bool = True,
) -> Path:
    """Write the report of a run, a page that needs no other file.

    Args:
        run: The run folder.
        comparison: Rows to show at the top, before the run's own result.
        comparison_title: Heading of the comparison.
        path: The file to write; run/report.html by default.
        names: False replaces the names of cases by "case 1", "case 2", ...

    Returns:
        The path of the report.

    Raises:
        UserError: If the folder is not a readable run.
    """
    folder = read_run(run) if names else without_names(read_run(run))
    shown = Shown.of(folder)
    evaluations = [
        evaluation_part(evaluation, index, shown)
        for index, evaluation in enumerate(folder.evaluations)
    ]
    batches, more_batches = _batches(folder)
    content: dict[str, Any] = {
        "head": headline(folder),
        "comparison": None if comparison is None else comparison_section(comparison),
        "comparison_title": comparison_title,
        "score": headline_score(folder),
        "sentences": result_sentences(folder.evaluations[0]) if folder.evaluations else [],
        "unlabelled": unlabelled_effect(folder, compared=comparison is not None)
        if folder.journal.rows
        else None,
        "cautions": cautions(folder),
        "unfinished": _unfinished(folder),
        "plugin": _plugin(folder),
        "warnings": [str(row.get("text", "")) for row in folder.journal.of("warning")],
        "featured": shown.featured,
        "evaluations": evaluations,
        "data_sheet": data_sheet(run),
        "charts": training_charts(folder),
        "speed": speed_sentence(folder),
        "batches": batches,
        "more_batches": more_batches,
        "notes": _notes(folder),
        "commands": _commands(folder),
        "recipe": folder.recipe_text,
        "environment": _environment(folder),
    }
    return write_text(
        path or run / "report.html", render("page.html.j2", sections=_sections(content), **content)
    )


def _sections(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (anchor, name) of each entry in the bar at the top."""
    sections = [("comparison", "Comparison")] if content["comparison"] else []
    sections += [("result", "Result"), ("words", "In plain words")]
    sections += [("typical", "Typical case")] if content["featured"] else []
    for evaluation in content["evaluations"]:
        sections.append((evaluation["anchor"], f"{evaluation['split'].capitalize()} cases"))
        if evaluation["gallery"]:
            sections.append((f"{evaluation['anchor']}-pictures", "Pictures"))
    sections += [("plan", "Scans and plan")] if content["data_sheet"] else []
    sections += [("training", "Training")] if content["charts"] else []
    sections += [("batches", "Batches")] if content["batches"] else []
    return [*sections, ("recipe", "Repeat it")]


def _unfinished(run: RunContent) -> str:
    if run.journal.finished:
        return ""
    planned = planned_steps(run)
    where = f"step {run.journal.total_step:,}" + (f" of {planned:,}" if planned else "")
    return (
        f"This run has not finished: it is at {where}. "
        f"To resume it: crossview train RUN --resume{_plugin(run)}"
    )


def _plugin(run: RunContent) -> str:
    """Return the plugin arguments that a command on the run needs, with a leading space."""
    return "".join(f" {word}" for word in arguments(str(run.option("method", "name"))))


def _batches(run: RunContent) -> tuple[list[dict[str, Any]], str]:
    """Return each stage's first picture and the last of all, and a note on the others.

    Files are named "<stage number>-<stage>-step-<step>".
    """
    firsts: dict[str, Path] = {}
    for path in run.batches:
        firsts.setdefault(path.stem.split("-step-")[0], path)
    chosen = sorted({*list(firsts.values())[: MOST_BATCHES - 1], *run.batches[-1:]})
    pictures = embed(chosen, BATCH_BUDGET)
    found = [
        {"name": _batch_name(path), "anchor": f"batch-{index}", "image": pictures[path]}
        for index, path in enumerate(chosen)
        if path in pictures
    ]
    more = len(run.batches) - len(found)
    return found, f"{more} more in pictures/ of the run folder." if more > 0 else ""


def _batch_name(path: Path) -> str:
    stage, _, step = path.stem.partition("-step-")
    stage = stage.partition("-")[2] or stage
    return f"stage {stage}, step {int(step):,}" if step.isdecimal() else path.stem


def _notes(run: RunContent) -> list[str]:
    """Return the notes that qualify the numbers of the page, each sentence once."""
    notes: list[str] = []
    for evaluation in run.evaluations:
        notes += [str(note) for note in evaluation.summary.get("notes") or []]
        notes.append(str(evaluation.summary.get("convention") or ""))
    notes += (
        [str(note) for note in run.environment.get("notes") or []]
        if isinstance(run.environment.get("notes"), list)
        else []
    )
    notes.append(
        "The weights are those of the last step (selection 'last')."
        if run.option("training", "selection") == "last"
        else ""
    )
    return [note for note in dict.fromkeys(notes) if note]


def _commands(run: RunContent) -> list[str]:
    made = str(run.environment.get("command") or "crossview train RECIPE --data DATA --out RUN")
    lines = [made]
    lines += [run.folder.command("evaluate", "--split", each.split) for each in run.evaluations]
    return [*lines, f"crossview report {shlex.quote(str(run.path))}"]


def _environment(run: RunContent) -> list[tuple[str, str]]:
    """Return environment.json without what the page shows elsewhere; lists, tables on one line."""
    shown = []
    for name, value in run.environment.items():
        if name in ("command", "notes") or value in ("", None, [], {}):
            continue
        if isinstance(value, list):
            value = ", ".join(str(item) for item in value)
        elif table(value):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        shown.append((name.replace("_", " "), str(value)))
    return shown
