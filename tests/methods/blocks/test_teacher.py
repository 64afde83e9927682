"""The averaged teacher equals the official ones; noise and entropy follow their equations."""

import math

import numpy as np
import pytest
import torch
from tests.helpers import golden_numbers as golden
from torch import nn

from crossview.methods.blocks.teacher import average, entropy, noisy, teacher_of, warmed_up
from crossview.training.optimiser import make_optimiser
from crossview.training.options import TrainingOptions


def network(who):
    """The golden convolution and batch norm, as ``student`` or ``teacher``."""
    numbers = golden.load("bcp_losses")
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    module.load_state_dict(
        {
            name: torch.from_numpy(numbers[f"ema_{who}_{name.replace('.', '_')}"])
            for name in module.state_dict()
        }
    )
    return module


@pytest.mark.parametrize(("script", "buffers"), [("la", False), ("acdc", True)])
def test_average_equals_the_official_one(script, buffers):
    student, teacher = network("student"), network("teacher")
    average(teacher, student, 0.99, buffers=buffers)
    numbers = golden.load("bcp_losses")
    for name, value in teacher.state_dict().items():
        np.testing.assert_allclose(
            value,
            numbers[f"ema_{script}_{name.replace('.', '_')}"],
            rtol=1e-6,
            atol=1e-8,
            err_msg=name,
        )


def test_the_decay_equals_the_official_one():
    numbers = golden.load("ramps")
    ours = [warmed_up(int(step), 0.99) for step in numbers["iterations"]]
    np.testing.assert_allclose(ours, numbers["ema_alpha"], rtol=1e-12)


def test_at_step_0_the_teacher_becomes_the_student():
    student, teacher = network("student"), network("teacher")
    average(teacher, student, warmed_up(0, 0.99), buffers=True)
    assert all(
        torch.equal(value, student.state_dict()[name])
        for name, value in teacher.state_dict().items()
    )


def test_a_warmed_up_teacher_is_the_mean_of_all_students():
    student = nn.Linear(2, 1, bias=False).double()
    teacher = teacher_of(student)
    seen = []
    for step in range(10):
        student.weight.data.normal_()
        seen.append(student.weight.detach().clone())
        average(teacher, student, warmed_up(step, 0.99), buffers=False)
    torch.testing.assert_close(teacher.weight.detach(), torch.stack(seen).mean(0))


def test_counters_come_from_the_student():
    student, teacher = network("student"), network("teacher")
    student[1].num_batches_tracked += 5
    average(teacher, student, 0.99, buffers=True)
    assert teacher[1].num_batches_tracked == student[1].num_batches_tracked


def test_a_teacher_is_a_copy_that_never_reaches_the_optimiser():
    student = network("student")
    teacher = teacher_of(student)
    assert all(not parameter.requires_grad for parameter in teacher.parameters())
    both = nn.ModuleList([student, teacher])
    trained = make_optimiser(both.parameters(), TrainingOptions()).param_groups[0]["params"]
    assert {id(parameter) for parameter in trained} == {
        id(parameter) for parameter in student.parameters()
    }
    student[0].weight.data.zero_()
    assert teacher[0].weight.abs().sum() > 0


def test_noise_is_normal_and_clipped_at_two_deviations():
    image = torch.full((2, 1, 100, 100), 3.0)
    noise = noisy(image, 0.1, torch.Generator().manual_seed(0)) - image
    assert noise.abs().max() <= 0.2 + 1e-6
    assert (noise.abs() > 0.2 - 1e-6).float().mean() == pytest.approx(0.0455, abs=0.01)
    assert noise.std() == pytest.approx(0.0959, abs=0.002)  # sqrt(E clip(N, -2, 2)^2) = 0.959
    assert noise.mean() == pytest.approx(0, abs=0.003)
    assert torch.equal(image, torch.full_like(image, 3.0))


def test_noise_is_the_generators_alone():
    image = torch.zeros(2, 1, 8, 8)
    torch.manual_seed(0)
    first = noisy(image, 0.1, torch.Generator().manual_seed(5))
    torch.manual_seed(1)
    assert torch.equal(first, noisy(image, 0.1, torch.Generator().manual_seed(5)))
    assert not torch.equal(first, noisy(image, 0.1, torch.Generator().manual_seed(6)))
    assert torch.equal(noisy(image, 0.0, torch.Generator()), image)


@pytest.mark.parametrize("classes", [2, 4])
def test_entropy_runs_from_zero_to_the_logarithm_of_the_classes(classes):
    even = torch.full((1, classes, 1), 1 / classes)
    sure = torch.eye(classes)[:1, :, None]
    assert entropy(even).item() == pytest.approx(math.log(classes), abs=1e-5)
    assert entropy(sure).item() == pytest.approx(0, abs=1e-5)
    assert entropy(even).shape == (1, 1)
