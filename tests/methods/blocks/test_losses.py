"""Losses equal the official ones and MONAI's, and stay finite where those do not."""

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from tests.helpers import golden_numbers as golden
from torch import Tensor

from crossview.methods.blocks.losses import (
    batch_dice_loss,
    cross_entropy,
    cross_entropy_batch_dice,
    cross_entropy_dice,
    dice_loss,
    feature_discrepancy,
)

CASES = ("c2_3d", "c4_2d", "c2_2d", "c4_3d")
VARIANTS = {
    "plain": ("labels", None),
    "weighted": ("labels", "weight"),
    "absent": ("labels_absent", None),
    "absent_weighted": ("labels_absent", "weight"),
}
LOSSES = {"sup": cross_entropy_dice, "dice": dice_loss}


def value_and_gradient(loss, logits: Tensor, *arguments: Tensor | None) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, *arguments)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_official_loss(case: str, variant: str, name: str) -> None:
    numbers = golden.load("cml_losses")
    label_key, weight_key = VARIANTS[variant]
    logits, label = (torch.from_numpy(numbers[f"{case}_{key}"]) for key in ("logits", label_key))
    weight = None if weight_key is None else torch.from_numpy(numbers[f"{case}_{weight_key}"])
    value, gradient = value_and_gradient(LOSSES[name], logits, label, weight)
    expected = numbers[f"{case}_{name}_{variant}"]
    assert abs(value.item() - expected) < 5e-6 * abs(expected)
    assert golden.largest_difference(gradient, numbers[f"{case}_{name}_{variant}_grad"]) < 1e-5


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_a_weight_of_zero_gives_zero(case: str, name: str) -> None:
    numbers = golden.load("cml_losses")
    logits, label = (torch.from_numpy(numbers[f"{case}_{key}"]) for key in ("logits", "labels"))
    value, gradient = value_and_gradient(LOSSES[name], logits, label, torch.zeros(label.shape))
    assert abs(value.item() - numbers[f"{case}_{name}_zero_weight"]) < 1e-6
    np.testing.assert_allclose(gradient, numbers[f"{case}_{name}_zero_weight_grad"], atol=1e-6)


@pytest.mark.parametrize(("classes", "sides"), [(2, (6, 5, 4)), (4, (9, 7)), (3, (8, 8, 8))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_monai(classes: int, sides: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(3, classes, *sides, dtype=dtype)
    label = torch.randint(classes, (3, *sides))
    monai = DiceCELoss(
        softmax=True, to_onehot_y=True, include_background=True, squared_pred=False,
        smooth_nr=1e-5, smooth_dr=1e-5, reduction="mean",
        lambda_dice=0.5, lambda_ce=0.5,
    )  # fmt: skip
    expected, expected_gradient = value_and_gradient(
        lambda z, y: monai(z, y.unsqueeze(1)), logits, label
    )
    value, gradient = value_and_gradient(cross_entropy_dice, logits, label)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=0)
    assert (
        gradient - expected_gradient
    ).abs().max() < 10 * tolerance * expected_gradient.abs().max()


@pytest.mark.parametrize("weighted", [False, True])
def test_is_the_mean_of_its_parts(weighted: bool) -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 3, 8, 6), torch.randint(3, (2, 8, 6))
    weight = torch.rand(2, 8, 6) if weighted else None
    parts = cross_entropy(logits, label, weight) + dice_loss(logits, label, weight)
    torch.testing.assert_close(cross_entropy_dice(logits, label, weight), parts / 2)


def test_batch_dice_sums_over_the_batch_with_squares() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(3, 2, 6, 5, dtype=torch.float64), torch.randint(2, (3, 6, 5))
    p, t = logits.softmax(1), torch.stack([label == 0, label == 1], 1).double()
    dice = [
        (2 * (p * t)[:, c].sum() + 1e-5) / ((p * p)[:, c].sum() + t[:, c].sum() + 1e-5)
        for c in range(2)
    ]
    both, foreground = 1 - sum(dice) / 2, 1 - dice[1]
    torch.testing.assert_close(batch_dice_loss(logits, label), both)
    torch.testing.assert_close(
        cross_entropy_batch_dice(logits, label), (cross_entropy(logits, label) + both) / 2
    )
    without = cross_entropy_batch_dice(logits, label, background=False)
    torch.testing.assert_close(without, (cross_entropy(logits, label) + foreground) / 2)


def test_a_region_of_batch_dice_is_the_loss_of_that_region_alone() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 4, 8, 6, dtype=torch.float64), torch.randint(4, (2, 8, 6))
    region = torch.zeros(2, 8, 6, dtype=torch.int64)
    region[:, 2:5, 1:4] = 1
    alone = cross_entropy_batch_dice(logits[:, :, 2:5, 1:4], label[:, 2:5, 1:4], smooth=1e-10)
    torch.testing.assert_close(cross_entropy_batch_dice(logits, label, region, smooth=1e-10), alone)


def test_cross_entropy_equals_torch() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 5, 8, 6, dtype=torch.float64), torch.randint(5, (2, 8, 6))
    torch.testing.assert_close(
        cross_entropy(logits, label), torch.nn.functional.cross_entropy(logits, label)
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_the_derivative(weighted: bool) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    label = torch.randint(3, (2, 4, 3))
    weight = torch.rand(2, 4, 3, dtype=torch.float64) if weighted else None
    assert torch.autograd.gradcheck(lambda z: cross_entropy_dice(z, label, weight), logits)


def test_low_precision_logits_are_computed_in_float32() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 2, 40, 40, 40).bfloat16(), torch.randint(2, (2, 40, 40, 40))
    with torch.autocast("cpu", torch.bfloat16):
        value = cross_entropy_dice(logits, label)
        discrepancy = feature_discrepancy(logits, logits.roll(1, 1))
    assert value.dtype == discrepancy.dtype == torch.float32
    torch.testing.assert_close(
        value, cross_entropy_dice(logits.double(), label).float(), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(
        discrepancy,
        feature_discrepancy(logits.double(), logits.double().roll(1, 1)).float(),
        rtol=1e-6,
        atol=0,
    )


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])[:, :, None]
    value, gradient = value_and_gradient(cross_entropy_dice, logits, torch.tensor([[1], [1]]))
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dimensions", ["f2d", "f3d"])
@pytest.mark.parametrize("kind", ["signed", "relu"])
def test_discrepancy_equals_the_official_one(dimensions: str, kind: str) -> None:
    numbers = golden.load("cml_losses")
    a, b = (torch.from_numpy(numbers[f"{dimensions}_{kind}_{key}"]) for key in "ab")
    value, gradient = value_and_gradient(feature_discrepancy, a, b)
    assert abs(value.item() - numbers[f"{dimensions}_{kind}_dis"]) < 5e-6
    assert golden.largest_difference(gradient, numbers[f"{dimensions}_{kind}_dis_grad_a"]) < 1e-5


@pytest.mark.parametrize("dimensions", ["f2d", "f3d"])
@pytest.mark.parametrize("size", [0.0, 1e-20])
def test_a_zero_vector_has_a_zero_gradient(dimensions: str, size: float) -> None:
    numbers = golden.load("cml_losses")
    a, b = (torch.from_numpy(numbers[f"{dimensions}_relu_{key}"].copy()) for key in "ab")
    a[:, :, 0, 0] *= size
    value, gradient = value_and_gradient(feature_discrepancy, a, b)
    assert abs(value.item() - numbers[f"{dimensions}_zero_dis"]) < 5e-6
    assert gradient[:, :, 0, 0].eq(0).all()
    assert gradient.isfinite().all()
    assert gradient.ne(0).any()


def test_discrepancy_stops_the_gradient_of_the_other() -> None:
    features, other = (
        torch.randn(2, 3, 4, requires_grad=True),
        torch.randn(2, 3, 4, requires_grad=True),
    )
    feature_discrepancy(features, other).backward()
    assert features.grad is not None
    assert other.grad is None


def test_discrepancy_runs_from_opposite_to_equal() -> None:
    features = torch.randn(2, 5, 4, 4)
    torch.testing.assert_close(feature_discrepancy(features, 3 * features), torch.tensor(2.0))
    torch.testing.assert_close(
        feature_discrepancy(features, -features), torch.tensor(0.0), atol=1e-6, rtol=0
    )
