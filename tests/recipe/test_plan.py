"""Plans: the choices for given scans, a user's keys that are kept and followed, and reasons."""

import re
from dataclasses import replace

import numpy as np
import pytest

from crossview.core.errors import UserError
from crossview.data.fingerprint import Fingerprint
from crossview.recipe.plan import CPU, GPU, Needs
from crossview.recipe.rules import make_plan

CML = Needs(
    steps={"pretrain_steps": 1000, "train_steps": 3000},
    unlabelled=True,
    even=True,
    cleans=True,
    waits=True,
)
SUPERVISED = Needs(steps={"steps": 4000}, unlabelled=False, even=False, cleans=False)


def scans(shape=(180, 150, 90), spacing=(1.0, 1.0, 1.0), cases=12, labelled=8, **changed):
    facts = {
        "channels": 1,
        "classes": 3,
        "ct": False,
        "ct_told_by": "the intensities",
        "foreground": ((-100.0, 300.0, 80.0, 50.0),),
    }
    return Fingerprint(
        (shape,) * cases,
        (spacing,) * cases if spacing else (),
        labelled,
        **(facts | {"pieces": {1: 1.0, 2: 1.0}} | changed),
    )


def planned(fingerprint=None, given=None, needs=CML, budget=GPU):
    """The planned keys by name."""
    plan = make_plan(fingerprint or scans(), given or {}, needs, budget)
    assert all(choice.reason for choice in plan.choices)
    return {choice.key: choice.value for choice in plan.choices}


def test_a_volume_like_the_left_atrium_gets_the_published_patch_on_a_gpu():
    found = planned(scans((176, 144, 88)))
    assert found["data.patch"] == [112, 112, 80]
    assert (found["network.name"], found["network.levels"], found["network.filters"]) == (
        "vnet",
        5,
        16,
    )
    assert found["inference.stride"] == [56, 56, 40]
    assert (found["training.labelled_batch"], found["training.unlabelled_batch"]) == (4, 4)
    assert (found["method.pretrain_steps"], found["method.train_steps"]) == (3750, 11250)


def test_a_cpu_gets_less():
    found = planned(scans((176, 144, 88)), budget=CPU)
    assert (found["data.patch"], found["network.levels"], found["network.filters"]) == (
        [48, 48, 48],
        4,
        8,
    )
    assert found["method.pretrain_steps"] + found["method.train_steps"] == 1500


@pytest.mark.parametrize(
    ("shape", "patch", "refused"),
    [
        ((36, 50, 36), (320, 320, 160), True),
        ((36, 50, 36), (64, 64, 64), False),
        ((180, 150, 10), (96, 96, 32), False),
        ((40, 40), (512, 512), True),
    ],
)
def test_a_patch_far_larger_than_the_scans_is_refused(shape, patch, refused):
    fingerprint = scans(shape, (1.0,) * 3 if len(shape) == 3 else ())
    given = {"data": {"patch": list(patch)}}
    if refused:
        with pytest.raises(UserError, match="patch is far larger than the scans"):
            planned(fingerprint, given, budget=CPU)
    else:
        assert "data.patch" not in planned(fingerprint, given, budget=CPU)


def test_small_scans_get_fewer_levels():
    found = planned(scans((36, 50, 36)))
    assert (found["data.patch"], found["network.levels"]) == ([32, 48, 32], 4)


def test_thick_slices_are_segmented_one_by_one_along_their_axis():
    found = planned(scans((320, 24, 300), (0.8, 5.0, 0.8)))
    assert found["network.name"] == "unet"
    assert found["data.nifti_axes"] == [1, 0, 2]
    assert found["data.spacing"] == [0.0, 0.8, 0.8]
    assert found["data.patch"] == [320, 288]
    assert found["training.labelled_batch"] == 12
    assert found["method.largest_component"] is False
    assert found["inference.largest_component"] is True


def test_thicker_slices_come_last_in_volumes():
    found = planned(scans((60, 200, 180), (2.5, 1.0, 1.0)))
    assert (found["network.name"], found["data.nifti_axes"], found["data.spacing"]) == (
        "vnet",
        [1, 2, 0],
        [1.0, 1.0, 2.5],
    )
    assert found["data.patch"][2] == 56


def test_few_slices_are_segmented_one_by_one():
    found = planned(scans((200, 200, 15)))
    assert (found["network.name"], found["data.nifti_axes"]) == ("unet", [2, 0, 1])
    assert planned(scans((200, 200, 16)))["network.name"] == "vnet"


def test_images_of_two_axes_are_taken_as_they_are():
    found = planned(scans((500, 700), spacing=None))
    assert (found["network.name"], found["data.spacing"]) == ("unet", [])
    assert "data.nifti_axes" not in found
    assert found["training.labelled_batch"] == 8
    assert found["method.largest_component"] is True


def test_the_patch_is_of_the_median_scan_after_resampling():
    some = replace(
        scans(),
        shapes=((40, 40, 40), (80, 80, 80), (80, 80, 80)),
        spacings=((2.0,) * 3, (1.0,) * 3, (1.0,) * 3),
        labelled=2,
    )
    found = planned(some)
    assert found["data.spacing"] == [1.0, 1.0, 1.0]
    assert found["data.patch"] == [80, 80, 80]
    assert planned(some, {"data": {"spacing": [2.0, 2.0, 2.0]}})["data.patch"] == [40, 40, 40]


def test_what_a_user_gives_is_kept_and_the_rest_follows():
    given = {
        "data": {"patch": [64, 64]},
        "network": {"filters": 4},
        "training": {"labelled_batch": 6},
    }
    found = planned(given=given)
    assert not {"data.patch", "network.filters", "training.labelled_batch"} & set(found)
    assert (found["network.name"], found["network.levels"], found["inference.stride"]) == (
        "unet",
        5,
        [32, 32],
    )
    assert found["training.unlabelled_batch"] == 6
    assert planned(given={"data": {"patch": [24, 24, 24]}})["network.levels"] == 3
    assert planned(given={"network": {"levels": 3}})["data.patch"] == [104, 108, 88]
    assert planned(given={"network": {"name": "unet"}})["data.patch"] == [176, 144]


def test_steps_follow_those_that_a_user_gives():
    assert planned(given={"method": {"train_steps": 600}})["method.pretrain_steps"] == 200
    assert planned(given={"method": {"train_steps": 0}})["method.pretrain_steps"] == 15000
    assert not [
        key
        for key in planned(given={"method": {"train_steps": 6, "pretrain_steps": 1}})
        if "steps" in key
    ]
    assert planned(needs=SUPERVISED)["method.steps"] == 15000


@pytest.mark.parametrize(
    ("labelled", "needs", "batch"),
    [(2, CML, 2), (3, CML, 2), (5, CML, 4), (3, SUPERVISED, 3), (40, SUPERVISED, 4)],
)
def test_a_batch_is_no_larger_than_the_labelled_cases_allow(labelled, needs, batch):
    found = planned(scans(cases=50, labelled=labelled), needs=needs)
    assert (found["training.labelled_batch"], found["training.unlabelled_batch"]) == (
        batch,
        batch if needs.unlabelled else 0,
    )


def test_mild_augmentation_is_of_crops():
    assert planned()["data.augmentation"] == "mild"
    assert planned(given={"data": {"sampling": "resize"}})["data.augmentation"] == "none"


def corner(share):
    """Return places of a structure in the corner of a scan, up to ``share`` of each side."""
    line = np.linspace(0.01, share, 8)
    return {1: np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3)}


def test_labelled_crops_are_centred_where_uniform_ones_miss_the_foreground():
    rare = scans(labelled=2, places=(corner(0.1),) * 2)
    assert planned(rare, budget=CPU)["data.foreground_share"] == 0.3333
    assert (
        planned(rare, {"data": {"patch": [176, 144, 88]}})["data.foreground_share"] == 0.0
    )  # nearly the whole scan
    assert (
        planned(scans(labelled=2, places=(corner(0.9),) * 2), budget=CPU)["data.foreground_share"]
        == 0.0
    )
    assert planned(rare, {"data": {"sampling": "resize"}})["data.foreground_share"] == 0.0
    assert "data.foreground_share" not in planned(rare, {"data": {"foreground_share": 0.5}})
    reason = next(
        choice.reason
        for choice in make_plan(rare, {}, CML, CPU).choices
        if choice.key == "data.foreground_share"
    )
    assert re.search(r"\d+% of uniformly drawn crops contain class 1", reason)


def test_of_slices_those_without_foreground_count():
    line = np.linspace(0.3, 0.7, 20)
    through = np.stack([0.5 * np.ones_like(line), line, line], axis=1)
    plan = planned(
        scans((320, 300, 24), (0.8, 0.8, 5.0), labelled=2, places=({1: through[:, [1, 2, 0]]},) * 2)
    )
    assert (plan["network.name"], plan["data.foreground_share"]) == ("unet", 0.3333)


def test_ct_has_one_scale_and_everything_else_its_own():
    found = planned(scans(ct=True))
    assert (found["data.normalisation"], found["data.intensities"]) == (
        "foreground",
        [[-100.0, 300.0, 80.0, 50.0]],
    )
    found = planned(scans())
    assert found["data.normalisation"] == "z_score_unpadded"
    assert "data.intensities" not in found


def test_pieces_are_kept_where_a_class_has_several():
    found = planned(scans(pieces={1: 1.0, 2: 0.98}))
    assert (found["inference.largest_component"], found["method.largest_component"]) == (
        False,
        False,
    )
    plan = make_plan(scans(pieces={1: 1.0, 2: 0.98}), {}, CML, GPU)
    assert "class 2 has 98%" in next(
        choice.reason for choice in plan.choices if choice.key == "inference.largest_component"
    )


def test_a_labelled_stage_waits_for_its_networks_unless_the_user_says_for_what():
    assert planned(scans())["method.ready_dice"] == 0.5
    assert "method.ready_dice" not in planned(scans(), {"method": {"ready_dice": 0.0}})
    assert "method.ready_dice" not in {
        choice.key for choice in make_plan(scans(), {}, SUPERVISED, GPU).choices
    }


def test_numbers_that_are_not_the_published_ones_have_their_reason():
    ours = {"training.learning_rate": 0.1, "method.discrepancy_weight": 0.05}
    given = {"training": {"learning_rate": 0.02}}
    plan = make_plan(scans(), given, replace(CML, ours=ours), GPU)
    reasons = {choice.key: (choice.value, choice.reason) for choice in plan.choices}
    assert "training.learning_rate" not in reasons
    value, reason = reasons["method.discrepancy_weight"]
    assert value == 0.05
    assert "0.2 published for LA" in reason


@pytest.mark.parametrize(
    ("steps", "few"),
    [
        ({}, False),
        ({"train_steps": 563}, False),  # 188 more for the labelled stage
        ({"train_steps": 561}, True),
        ({"pretrain_steps": 125, "train_steps": 375}, True),
    ],
)
def test_few_steps_have_a_caution(steps, few):
    plan = make_plan(scans(), {"method": steps}, CML, CPU)
    (reason,) = [choice.reason for choice in plan.choices if choice.key == "method.ready_dice"]
    assert ("steps in all are few (a plan for a CPU has 1,500)" in reason) is few


def test_a_border_that_is_labelled_is_no_padding():
    assert planned(scans())["data.normalisation"] == "z_score_unpadded"
    assert planned(scans(border_labelled=True))["data.normalisation"] == "z_score_clipped"


def test_a_student_is_wide_and_sees_strong_augmentation():
    student = {
        each.key: each
        for each in make_plan(scans(), {}, replace(SUPERVISED, student=True), CPU).choices
    }
    plain = {each.key: each for each in make_plan(scans(), {}, SUPERVISED, CPU).choices}
    assert (student["network.filters"].value, plain["network.filters"].value) == (16, 8)
    assert student["data.augmentation"].value == "strong"
    assert plain["data.augmentation"].value == "mild"
    every = len(scans().shapes)
    batch = student["training.labelled_batch"]
    assert batch.value == min(every, CPU.batch)
    assert f"there are {every} labelled or predicted cases" in batch.reason
    assert {key for key in student if student[key].value != plain[key].value} <= {
        "network.filters",
        "data.augmentation",
        "training.labelled_batch",
    }
    on_gpu = {
        each.key: each.value
        for each in make_plan(scans(), {}, replace(SUPERVISED, student=True), GPU).choices
    }
    assert on_gpu["network.filters"] == GPU.filters
