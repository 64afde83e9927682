"""The time left, by the pace of each stage, with a clock that a test moves."""

from __future__ import annotations

import io

from crossview.methods.method import Stage
from crossview.training.options import TrainingOptions
from crossview.training.pace import Pace
from crossview.training.progress import TrainingProgress

STAGES = (Stage("pretrain", 100, unlabelled=False), Stage("train", 300, unlabelled=True))
OPTIONS = TrainingOptions(labelled_batch=4, unlabelled_batch=8)


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def walked(pace: Pace, clock: Clock, stage: int, steps: range, seconds: float) -> Pace:
    """Return the pace after the steps, each of which takes some seconds."""
    for step in steps:
        clock.seconds += seconds
        pace.advance(step + 1, stage)
    return pace


def test_a_stage_that_has_not_begun_is_taken_to_need_as_long_per_image() -> None:
    clock = Clock()
    pace = walked(Pace(STAGES, OPTIONS, 0, clock), clock, 0, range(50), 1.0)
    # 50 steps of 4 images at 1 s, and 300 of 12 images at 3 s
    assert pace.left() == "at least 15 min 50 s left"


def test_a_stage_that_has_begun_goes_on_at_its_own_pace() -> None:
    clock = Clock()
    pace = walked(Pace(STAGES, OPTIONS, 0, clock), clock, 0, range(100), 1.0)
    pace = walked(pace, clock, 1, range(100, 110), 7.0)
    assert pace.left() == "33 min 50 s left"  # 290 steps at 7 s


def test_a_stage_that_waits_takes_the_steps_of_the_next() -> None:
    clock = Clock()
    pace = walked(Pace(STAGES, OPTIONS, 0, clock), clock, 0, range(250), 1.0)
    assert pace.left() == "at least 7 min 30 s left"  # 150 steps of 3 s
    walked(pace, clock, 0, range(250, 400), 1.0)
    assert pace.left() == "0.0 s left"


def test_a_resumed_run_counts_only_its_own_steps_and_days_are_not_cut_off() -> None:
    clock = Clock()
    pace = Pace(STAGES, OPTIONS, 200, clock)
    assert pace.left() == ""
    walked(pace, clock, 1, range(200, 202), 3600.0)
    assert pace.left() == "198 h 0 min left"


def test_the_lines_of_a_log_tell_the_time_left() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = TrainingProgress(STAGES, OPTIONS, stream=stream, clock=clock)
    clock.seconds = 20.0
    progress.advance(1, 0)
    row = {"kind": "step", "stage": "pretrain", "total_step": 1, "loss": 0.5, "terms": {}}
    progress.show({**row, "samples_per_second": 1.0, "data_wait": 0.0})
    # 99 steps of 20 s and 300 of 60 s
    assert stream.getvalue().rstrip().endswith("at least 5 h 33 min left")


def test_why_a_stage_waits_is_told_once_in_full() -> None:
    stream = io.StringIO()
    progress = TrainingProgress(STAGES, OPTIONS, stream=stream, clock=Clock())
    why = "on labelled crops view1 reaches 1.0 % for a; a Dice of 50 % is needed"
    for step, dice in ((100, 0.01), (120, 0.3), (400, 0.4)):
        progress.show(
            {"kind": "readiness", "stage": "pretrain", "total_step": step, "ready": False}
            | {"text": why, "needed": 0.5, "dice": {"view1": {"1": dice, "2": 0.9}}}
        )
    assert stream.getvalue().splitlines() == [
        f"step 100: stage pretrain continues: {why}",
        "step 120: stage pretrain continues: lowest Dice 30.0 % of 50 %",
    ]  # at step 400 it ends, and a warning says so
