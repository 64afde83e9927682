"""BCP's options, and its mixed loss against the official one; test_bcp_golden has a whole step."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.helpers import golden_numbers as golden
from tests.helpers.stand_ins import Answers, certain, small_unet

from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.methods import bcp as module
from crossview.methods.bcp import BCP
from crossview.methods.blocks.losses import cross_entropy_batch_dice, cross_entropy_dice
from crossview.methods.method import Stage
from crossview.recipe.resolve import resolve

LA, ACDC = (resolve(setting, ["method.name=bcp"]).method for setting in ("la-8", "acdc-7"))
BOX = (slice(2, 10), slice(3, 11))


def fixed_box(monkeypatch, box=BOX):
    monkeypatch.setattr(module, "random_box", lambda *_: box)


def make(**options):
    torch.manual_seed(0)
    return BCP(BCP.Options(name="bcp", **options), small_unet()).train()


def batch(unlabelled=True, **looked_at):
    random = torch.Generator().manual_seed(1)
    image, without = (torch.randn(4, 1, 16, 16, generator=random) for _ in range(2))
    label = torch.randint(0, 3, (4, 16, 16), generator=random)
    return Batch(image, label, without if unlabelled else None, Randomness(7), **looked_at)


def terms(method, made):
    found = {}
    for part in method.loss(made, method.stages[-1], 0):
        found |= part
    return found


@pytest.mark.parametrize("weight", [0.5, 1.0])
@pytest.mark.parametrize("script", ["la", "acdc"])
def test_the_mixed_loss_equals_the_official_one(monkeypatch, script, weight):
    numbers = golden.load("bcp_losses")
    logits, mask = (torch.from_numpy(numbers[f"{script}_{key}"]) for key in ("logits", "mask"))
    outside, inside = (
        torch.from_numpy(numbers[f"{script}_{key}_label"]).long() for key in ("img", "patch")
    )
    inside_box = (mask[0] == 0).nonzero()
    fixed_box(
        monkeypatch,
        tuple(
            slice(int(low), int(high) + 1)
            for low, high in zip(inside_box.amin(0), inside_box.amax(0), strict=True)
        ),
    )
    options = {"la": LA, "acdc": ACDC}[script].model_copy(
        update={"unlabelled_weight": weight, "largest_component": False}
    )
    method = BCP(options, lambda: Answers(logits, logits)).train()
    # The image does not matter here. Mix a has labels outside, so its pseudo-labels are inside.
    labels_first = options.first_outside == "labelled"
    true, pseudo = (
        ((outside, inside), (inside, outside))
        if labels_first
        else ((inside, outside), (outside, inside))
    )
    method.teacher = Answers(*(certain(label, logits.shape[1]) for label in pseudo))
    image = torch.zeros(2 * len(logits), 1, *logits.shape[2:])
    found = terms(method, Batch(image, torch.cat(true), image, Randomness(1)))
    assert list(found) == (
        ["labels outside", "labels inside"] if labels_first else ["labels inside", "labels outside"]
    )
    for name, official in (("labels outside", "labelled"), ("labels inside", "unlabelled")):
        official = f"{script}_{'equal' if weight == 1 else official}"
        np.testing.assert_allclose(found[name].item(), numbers[official], rtol=5e-6)
        used = method.student.logits[list(found).index(name)]
        (gradient,) = torch.autograd.grad(found[name], used)
        assert golden.largest_difference(gradient, numbers[f"{official}_grad"]) < 1e-5


@pytest.mark.parametrize("first_outside", ["labelled", "unlabelled"])
def test_boxes_are_pasted_both_ways(monkeypatch, first_outside):
    fixed_box(monkeypatch)
    method, made = make(first_outside=first_outside), batch(show=True)
    seen = []
    method.student.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    terms(method, made)
    labelled, unlabelled = made.image.split(2), made.unlabelled.split(2)
    outside, inside = ((labelled[0], unlabelled[1]), (unlabelled[0], labelled[1]))
    if first_outside == "unlabelled":
        outside, inside = ((unlabelled[0], labelled[1]), (labelled[0], unlabelled[1]))
    for mixed, around, pasted in zip(seen, outside, inside, strict=True):
        expected = around.clone()
        expected[:, :, 2:10, 3:11] = pasted[:, :, 2:10, 3:11]
        assert torch.equal(mixed, expected)


def test_labels_stand_where_the_labelled_image_does(monkeypatch):
    fixed_box(monkeypatch)
    method, made = make(largest_component=False), batch(show=True)
    made = replace(made, label=torch.ones_like(made.label))
    method.teacher = Answers(certain(torch.full((2, 16, 16), 2), 3))
    terms(method, made)
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[BOX] = True
    for name, here in (("labels outside mix label", ~inside), ("labels inside mix label", inside)):
        assert (method.show[name][:, here] == 1).all()
        assert (method.show[name][:, ~here] == 2).all()


def test_pseudo_labels_come_from_unmixed_halves_in_passes_of_their_own():
    method, made = make(), batch()
    seen = []
    method.teacher.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    terms(method, made)
    assert len(seen) == 2
    assert all(
        torch.equal(image, half) for image, half in zip(seen, made.unlabelled.split(2), strict=True)
    )


def test_clean_up_can_be_switched_off(monkeypatch):
    def fail(*_):
        raise AssertionError("components were labelled")

    monkeypatch.setattr(module, "clean_async", fail)
    assert terms(make(largest_component=False), batch())
    with pytest.raises(AssertionError, match="components"):
        terms(make(), batch())


def test_a_weight_of_zero_leaves_the_labels_alone(monkeypatch):
    fixed_box(monkeypatch)
    losses = []
    for pseudo in (0, 1):
        method = make(unlabelled_weight=0)
        method.teacher = Answers(certain(torch.full((2, 16, 16), pseudo), 3))
        torch.manual_seed(5)
        losses.append({name: value.item() for name, value in terms(method, batch()).items()})
    assert losses[0] == losses[1]


@pytest.mark.parametrize("dice", ["sample", "batch"])
@pytest.mark.parametrize("regions", [False, True])
def test_pretraining_pastes_labelled_images(monkeypatch, dice, regions):
    fixed_box(monkeypatch)
    method, made = make(dice=dice, pretrain_regions=regions), batch(unlabelled=False)
    method.student = Answers(torch.randn(2, 3, 16, 16))
    (found,) = method.loss(made, method.stages[0], 0)
    (mixed,) = method.student.asked
    outside = torch.ones(2, 16, 16)
    outside[:, 2:10, 3:11] = 0
    (x_a, x_b), (y_a, y_b) = made.image.split(2), made.label.split(2)
    assert torch.equal(mixed, torch.where(outside[:, None] > 0, x_a, x_b))
    (logits,) = method.student.logits

    def supervised(label, region=None):
        if dice == "sample":
            return cross_entropy_dice(logits, label, region)
        return cross_entropy_batch_dice(logits, label, region, smooth=1e-10)

    whole = supervised(torch.where(outside > 0, y_a, y_b))
    expected = supervised(y_a, outside) + supervised(y_b, 1 - outside) if regions else whole
    torch.testing.assert_close(found, {"labelled": expected})


def test_the_teacher_becomes_the_student_when_training_begins_and_follows_from_there():
    method = make(ema_decay=0.9)
    pretrain, train = method.stages
    for tensor in method.student.state_dict().values():
        tensor.add_(1)
    untouched = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    method.begin(pretrain)
    method.after_step(pretrain, 0)
    assert all(
        torch.equal(value, untouched[name]) for name, value in method.teacher.state_dict().items()
    )
    method.begin(train)
    start = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    assert all(
        torch.equal(value, method.student.state_dict()[name]) for name, value in start.items()
    )
    for tensor in method.student.state_dict().values():
        tensor.add_(1)
    method.after_step(train, 0)
    for name, value in method.teacher.state_dict().items():
        torch.testing.assert_close(value, start[name] + (0.1 if value.is_floating_point() else 1))
    assert all(not parameter.requires_grad for parameter in method.teacher.parameters())


def test_running_statistics_are_the_teachers_own_on_request():
    method = make(average_buffers=False)
    before = {name: buffer.clone() for name, buffer in method.teacher.named_buffers()}
    for tensor in method.student.state_dict().values():
        tensor.add_(1)
    method.after_step(method.stages[1], 0)
    assert all(torch.equal(buffer, before[name]) for name, buffer in method.teacher.named_buffers())


def test_stages():
    assert BCP(LA, small_unet()).stages == (
        Stage("pretrain", 2000, unlabelled=False),
        Stage("train", 15000, unlabelled=True, from_selected=True, keep_optimiser=False),
    )
    assert BCP(ACDC, small_unet()).stages[1] == Stage(
        "train", 30000, unlabelled=True, from_selected=True, keep_optimiser=True
    )
    (only,) = make(pretrain_steps=0).stages
    assert (only.name, only.from_selected) == ("train", False)
    assert [stage.name for stage in make(train_steps=0).stages] == ["pretrain"]


def test_the_student_answers():
    method, image = make().eval(), batch().image
    for parameter in method.teacher.parameters():
        parameter.data.add_(1)
    views = method.views(image)
    assert list(views) == ["student", "teacher"]
    torch.testing.assert_close(method.combine(method.views(image)), views["student"].softmax(1))


def test_what_is_watched():
    for unlabelled in (False, True):
        method = make()
        terms(method, batch(unlabelled, watch=True))
        where = ("labels outside", "labels inside")
        both = {
            f"{what}, {side}"
            for side in where
            for what in ("student Dice", "teacher pseudo-label share")
        }
        assert set(method.health) == (both if unlabelled else {"student labelled Dice"})
        assert all(0 <= value.item() <= 1 for value in method.health.values())
