"""UA-MT equals both official scripts where its networks answer alike; what its options do."""

import math

import numpy as np
import pytest
import torch
from tests.helpers import golden_numbers as golden
from tests.helpers.stand_ins import Answers, certain, small_unet

from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.methods.ua_mt import UAMT
from crossview.recipe.resolve import resolve

LA, ACDC = (
    resolve(setting, ["method.name=ua_mt", "method.variant=released"]).method
    for setting in ("la-8", "acdc-7")
)


def golden_method(options, student, labels, teacher, passes, dtype):
    """A method whose networks give the golden logits, and the batch they are said to be of."""
    student = torch.from_numpy(student).to(dtype)
    method = UAMT(options, lambda: Answers(student))
    method.teacher = Answers(
        *(torch.from_numpy(logits).to(dtype) for logits in (teacher, *passes))
    ).requires_grad_(False)
    label = torch.from_numpy(labels).long()
    image = torch.zeros(len(student), 1, *label.shape[1:])
    return method.train(), Batch(
        image[: len(label)], label, image[len(label) :], Randomness(1), show=True, watch=True
    )


def without_watching_teacher(monkeypatch):
    """The teacher's extra pass for the journal would use up one of the golden answers."""
    monkeypatch.setattr(UAMT, "labelled_dice", lambda *_: {})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [0, 600])
@pytest.mark.parametrize("which", ["unlabel", "all"])
def test_equals_the_official_la_scripts(monkeypatch, which, step, dtype):
    without_watching_teacher(monkeypatch)
    numbers, name = golden.load("uamt_la"), f"{which}_it{step}"
    options = LA.model_copy(
        update={"consistency_on": {"unlabel": "unlabelled", "all": "all"}[which]}
    )
    inputs = (
        numbers[key] for key in ("student", "labels", f"{which}_teacher", f"{which}_teacher_mc")
    )
    method, made = golden_method(options, *inputs, dtype)
    terms = method.loss(made, method.stages[0], step)
    prefix, tolerance = ("f64_", 1e-8) if dtype == torch.float64 else ("", 1e-5)
    found = {
        key: numbers[f"{prefix}{name}_{key}"]
        for key in ("total", "ce", "dice", "distance", "weight", "threshold", "kept")
    }
    np.testing.assert_allclose(sum(terms.values()).item(), found["total"], rtol=tolerance)
    np.testing.assert_allclose(
        terms["labelled"].item(), (found["ce"] + found["dice"]) / 2, rtol=tolerance
    )
    np.testing.assert_allclose(
        terms["consistency"].item(), found["weight"] * found["distance"], rtol=tolerance
    )
    assert options.weight(step) == pytest.approx(found["weight"], rel=1e-12)
    assert method.threshold(step, 2) == pytest.approx(found["threshold"], rel=1e-12)
    assert method.health["certain voxels"].item() == pytest.approx(found["kept"], rel=1e-6)
    if which == "unlabel":
        first = method.show["uncertainty"][0]
        stats = [first.min().item(), first.mean().item(), first.max().item()]
        np.testing.assert_allclose(stats, numbers[f"{name}_uncertainty_stats"], atol=1e-5)
    sum(terms.values()).backward()
    assert golden.largest_difference(method.student.logits[0].grad, numbers[f"{name}_grad"]) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [0, 600])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_equals_the_official_ported_scripts(monkeypatch, dimensions, step, dtype):
    without_watching_teacher(monkeypatch)
    numbers, name = golden.load("teachers"), f"uamt{dimensions}d_it{step}"
    inputs = (
        numbers[f"d{dimensions}_{key}"] for key in ("student", "labels", "teacher", "teacher_mc")
    )
    method, made = golden_method(ACDC, *inputs, dtype)
    terms = method.loss(made, method.stages[0], step)
    prefix, tolerance = ("f64_", 1e-8) if dtype == torch.float64 else ("", 1e-5)
    found = {
        key: numbers[f"{prefix}{name}_{key}"]
        for key in ("total", "ce", "dice", "consistency", "weight", "threshold")
    }
    np.testing.assert_allclose(sum(terms.values()).item(), found["total"], rtol=tolerance)
    np.testing.assert_allclose(
        terms["labelled"].item(), (found["ce"] + found["dice"]) / 2, rtol=tolerance
    )
    np.testing.assert_allclose(
        terms["consistency"].item(), found["weight"] * found["consistency"], rtol=tolerance
    )
    assert method.threshold(step, 2) == pytest.approx(found["threshold"], rel=1e-12)
    np.testing.assert_allclose(
        method.show["uncertainty"], numbers[f"{name}_uncertainty"], atol=1e-6
    )
    np.testing.assert_array_equal(method.show["certain"], numbers[f"{name}_mask"])
    sum(terms.values()).backward()
    assert golden.largest_difference(method.student.logits[0].grad, numbers[f"{name}_grad"]) < 1e-4


@pytest.mark.parametrize("steps", [6000, 15000, 30000])
def test_the_threshold_equals_the_official_one(steps):
    numbers = golden.load("ramps")
    method = UAMT(LA.model_copy(update={"steps": steps}), small_unet())
    ours = [method.threshold(int(step), 2) for step in numbers["iterations"]]
    np.testing.assert_allclose(ours, numbers[f"threshold_max{steps}"], rtol=1e-12)


def make(classes=4, **options):
    torch.manual_seed(0)
    return UAMT(UAMT.Options(name="ua_mt", **options), small_unet(classes)).train()


def batch(classes=4, **looked_at):
    random = torch.Generator().manual_seed(1)
    image, unlabelled = (torch.randn(2, 1, 16, 16, generator=random) for _ in range(2))
    label = torch.randint(0, classes, (2, 16, 16), generator=random)
    return Batch(image, label, unlabelled, Randomness(7), **looked_at)


def with_answers(uncertain, classes=4, **options):
    """Return a method whose teacher is certain of class 1, except for the voxels ``uncertain``.

    There all classes are equally probable.
    """
    made = batch(classes)
    method = make(classes, **options)
    answer = certain(torch.ones(2, 16, 16), classes)
    answer[:, :, uncertain] = 0
    method.student = Answers(torch.randn(4, classes, 16, 16, dtype=torch.float64))
    method.teacher = Answers(answer, torch.cat([answer, answer])).requires_grad_(False)
    return method, method.loss(made, method.stages[0], method.options.steps // 2)


@pytest.mark.parametrize("classes", [2, 4])
def test_consistency_counts_only_where_the_teacher_is_certain(classes):
    uncertain = torch.zeros(16, 16, dtype=torch.bool)
    uncertain[:5] = True
    method, terms = with_answers(uncertain, classes)
    terms["consistency"].backward()
    (logits,) = method.student.logits
    gradient = logits.grad[2:].abs().sum(1)
    assert (gradient[:, uncertain] == 0).all()
    assert (gradient[:, ~uncertain] > 0).all()
    assert logits.grad[:2].abs().sum() == 0
    expected = (
        (logits.softmax(1)[2:] - certain(torch.ones(2, 16, 16), classes).softmax(1))
        .square()
        .mean(1)[:, ~uncertain]
        .mean()
    )
    torch.testing.assert_close(terms["consistency"], 0.1 * expected)


def test_where_nothing_is_certain_there_is_no_consistency():
    _, terms = with_answers(torch.ones(16, 16, dtype=torch.bool))
    assert terms["consistency"] == 0
    assert torch.isfinite(terms["labelled"])


def test_the_mask_knows_the_number_of_classes():
    method = make()
    assert method.threshold(method.options.steps, 4) == pytest.approx(math.log(4))
    assert method.threshold(0, 4) == pytest.approx((0.75 + 0.25 * math.exp(-5)) * math.log(4))
    nowhere = torch.zeros(16, 16, dtype=torch.bool)
    _, ours = with_answers(nowhere)
    _, released = with_answers(nowhere, binary_uncertainty=True)
    torch.testing.assert_close(released["consistency"], 2 * ours["consistency"])


def test_passes_are_pairs_with_noise_of_their_own():
    method = make(passes=6)
    method.teacher = Answers(torch.zeros(2, 4, 16, 16), torch.zeros(4, 4, 16, 16)).requires_grad_(
        False
    )
    made = batch()
    method.loss(made, method.stages[0], 0)
    first, *pairs = method.teacher.asked
    assert len(first) == 2
    assert [len(pair) for pair in pairs] == [4, 4, 4]
    noises = [image - made.unlabelled for pair in pairs for image in pair.split(2)] + [
        first - made.unlabelled
    ]
    assert all(noise.abs().max() <= 0.2 + 1e-6 for noise in noises)
    assert all(not torch.equal(a, b) for i, a in enumerate(noises) for b in noises[:i])


def test_consistency_on_all_images_reaches_the_labelled_ones():
    for which, reached in (("unlabelled", False), ("all", True)):
        method = make(consistency_on=which, consistency_weight=1.0, ramp_share=0)
        method.student = Answers(torch.randn(4, 4, 16, 16))
        images = {"unlabelled": 2, "all": 4}[which]
        answer = certain(torch.ones(images, 16, 16), 4).float()
        method.teacher = Answers(answer, torch.cat([answer, answer])).requires_grad_(False)
        terms = method.loss(batch(show=True), method.stages[0], 0)
        terms["consistency"].backward()
        assert bool(method.student.logits[0].grad[:2].abs().sum() > 0) == reached
        assert len(method.show["uncertainty"]) == 2


def test_an_odd_number_of_passes_is_refused():
    with pytest.raises(ValueError, match="passes"):
        UAMT.Options(name="ua_mt", passes=3)


def test_the_teacher_warms_up_and_the_student_answers():
    method = make()
    for parameter in method.student.parameters():
        parameter.data.add_(1)
    method.after_step(method.stages[0], 0)
    assert all(
        torch.equal(a, b)
        for a, b in zip(method.student.parameters(), method.teacher.parameters(), strict=True)
    )
    image = batch().image
    method.eval()
    torch.testing.assert_close(
        method.combine(method.views(image)), method.views(image)["student"].softmax(1)
    )
