"""Mean teacher equals the official script where its networks answer alike; what its options do."""

import numpy as np
import pytest
import torch
from tests.helpers import golden_numbers as golden
from tests.helpers.stand_ins import Answers, small_unet

from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.methods.mean_teacher import MeanTeacher
from crossview.recipe.resolve import resolve

RELEASED = resolve("acdc-7", ["method.name=mean_teacher", "method.variant=released"]).method


def golden_step(script, step, dtype):
    """The terms of one step from the golden logits, and the student's network."""
    numbers = golden.load("teachers")
    dimensions = script[-2]
    student, teacher = (
        torch.from_numpy(numbers[f"d{dimensions}_{who}"]).to(dtype)
        for who in ("student", "teacher")
    )
    # The 3D script has no delay.
    options = (
        RELEASED if dimensions == "2" else RELEASED.model_copy(update={"consistency_after": 0})
    )
    method = MeanTeacher(options, lambda: Answers(student))
    method.teacher = Answers(teacher).requires_grad_(False)
    label = torch.from_numpy(numbers[f"d{dimensions}_labels"]).long()
    image = torch.zeros(5, 1, *label.shape[1:])
    batch = Batch(image[:2], label, image[2:], Randomness(1))
    return method, method.train().loss(batch, method.stages[0], step)


CASES = [("mt2d", 999), ("mt2d", 1000), ("mt3d", 0), ("mt3d", 1000)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("script", "step"), CASES)
def test_equals_the_official_script(script, step, dtype):
    numbers, name = golden.load("teachers"), f"{script}_it{step}"
    method, terms = golden_step(script, step, dtype)
    prefix, tolerance = ("f64_", 1e-8) if dtype == torch.float64 else ("", 1e-5)
    total = sum(terms.values())
    weight = numbers[f"f64_{name}_weight"]
    np.testing.assert_allclose(total.item(), numbers[f"{prefix}{name}_total"], rtol=tolerance)
    np.testing.assert_allclose(
        terms["consistency"].item(), weight * numbers[f"{prefix}{name}_consistency"], rtol=tolerance
    )
    total.backward()
    assert golden.largest_difference(method.student.logits[0].grad, numbers[f"{name}_grad"]) < 1e-4
    assert all(logits.grad is None for logits in method.teacher.logits)


def make(**options):
    torch.manual_seed(0)
    return MeanTeacher(MeanTeacher.Options(name="mean_teacher", **options), small_unet()).train()


def batch(**looked_at):
    random = torch.Generator().manual_seed(1)
    image, unlabelled = (torch.randn(2, 1, 16, 16, generator=random) for _ in range(2))
    label = torch.randint(0, 3, (2, 16, 16), generator=random)
    return Batch(image, label, unlabelled, Randomness(7), **looked_at)


def test_the_default_has_no_delay_and_a_weight_that_rises_over_a_share_of_the_steps():
    options = make(steps=1000).options
    assert options.weight(0) == pytest.approx(0.1 * np.exp(-5))
    assert options.weight(400) == options.weight(999) == 0.1
    assert make(steps=1000, consistency_after=10).options.weight(9) == 0
    assert make(steps=1000, consistency_after=10).options.weight(10) == options.weight(10)


def test_noise_is_on_the_teachers_images_alone():
    method, made = make(noise=0.5), batch()
    seen = {}
    for name in ("student", "teacher"):
        getattr(method, name).register_forward_pre_hook(
            lambda _, images, name=name: seen.update({name: images[0]})
        )
    method.loss(made, method.stages[0], 0)
    assert torch.equal(seen["student"], torch.cat([made.image, made.unlabelled]))
    noise = seen["teacher"] - made.unlabelled
    assert 0.3 < noise.std() < 0.6
    assert noise.abs().max() <= 1 + 1e-6


def test_the_teacher_follows_after_each_step_and_gets_no_gradient():
    method = make()
    stage = method.stages[0]
    sum(method.loss(batch(), stage, 0).values()).backward()
    assert all(parameter.grad is None for parameter in method.teacher.parameters())
    assert all(parameter.grad is not None for parameter in method.student.parameters())
    old = [parameter.clone() for parameter in method.student.parameters()]
    for parameter in method.student.parameters():
        parameter.data.add_(1)
    method.after_step(stage, 1000)
    for before, teacher in zip(old, method.teacher.parameters(), strict=True):
        torch.testing.assert_close(teacher, before + 0.01)
    method.after_step(stage, 0)
    assert all(
        torch.equal(a, b)
        for a, b in zip(method.student.parameters(), method.teacher.parameters(), strict=True)
    )


@pytest.mark.parametrize("averaged", [False, True])
def test_running_statistics_are_the_teachers_own_or_averaged(averaged):
    method = make(average_buffers=averaged)
    before = {name: buffer.clone() for name, buffer in method.teacher.named_buffers()}
    for buffer in method.student.buffers():
        buffer.add_(100)
    method.after_step(method.stages[0], 1000)
    moved = [
        not torch.equal(buffer, before[name]) for name, buffer in method.teacher.named_buffers()
    ]
    assert all(moved) if averaged else not any(moved)


def test_the_student_is_the_answer():
    method = make().eval()
    for parameter in method.teacher.parameters():
        parameter.data.add_(1)
    image = batch().image
    views = method.views(image)
    assert list(views) == ["student", "teacher"]
    torch.testing.assert_close(method.combine(method.views(image)), views["student"].softmax(1))


def test_what_is_shown_and_watched():
    calm, method, made = make(), make(), batch(show=True, watch=True)
    for each, seen in ((calm, batch()), (method, made)):
        torch.manual_seed(5)
        each.loss(seen, each.stages[0], 0)
    assert (
        method.show["teacher pseudo-label"].shape
        == made.unlabelled.shape[:1] + made.unlabelled.shape[2:]
    )
    assert set(method.health) == {
        "student labelled Dice",
        "teacher labelled Dice",
        "teacher pseudo-label share",
    }
    for name, buffer in calm.named_buffers():
        assert torch.equal(buffer, dict(method.named_buffers())[name]), name
    assert method.teacher.training


def test_a_batch_without_unlabelled_images_is_a_fault():
    method, made = make(), batch()
    with pytest.raises(ValueError, match="unlabelled"):
        method.loss(Batch(made.image, made.label, None, Randomness(7)), method.stages[0], 0)
