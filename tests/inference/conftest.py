"""Small methods with known answers, and a predictor around one."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossview.inference.options import InferenceOptions
from crossview.inference.predict import Predictor
from crossview.methods.method import Method, MethodOptions


class Convolution(Method):
    """One 3x3(x3) convolution from one channel to the logits of ``views`` networks in turn."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, views: int = 2) -> None:
        super().__init__(MethodOptions(name="convolution"), nn.Identity)
        self.weight, self.bias = (
            nn.Parameter(torch.tensor(weight)),
            nn.Parameter(torch.tensor(bias)),
        )
        self.count = views

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        convolution = F.conv3d if image.ndim == 5 else F.conv2d
        logits = convolution(image, self.weight, self.bias, padding=1)
        return {f"view{i}": part for i, part in enumerate(logits.chunk(self.count, dim=1), 1)}


class Logits(Method):
    """Logits that are given functions of a voxel's first channel, {view: [one per class]}."""

    def __init__(self, **views: list[Callable[[Tensor], Tensor]]) -> None:
        super().__init__(MethodOptions(name="logits"), nn.Identity)
        self.functions = views

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        return {
            name: torch.stack([each(image[:, 0]) for each in functions], dim=1)
            for name, functions in self.functions.items()
        }


@pytest.fixture
def convolution() -> Callable[..., Method]:
    """Builds a method of random weights: convolution(classes=2, views=2, axes=3)."""

    def build(classes: int = 2, views: int = 2, axes: int = 3) -> Method:
        random = np.random.default_rng(7)
        weight = random.normal(size=(classes * views, 1, *[3] * axes)).astype(np.float32)
        return Convolution(weight, random.normal(size=classes * views).astype(np.float32), views)

    return build


@pytest.fixture
def logits() -> type[Logits]:
    """The class of methods with given logits."""
    return Logits


@pytest.fixture
def threshold() -> Method:
    """One network of two classes: foreground where the first channel is above zero."""
    return Logits(network=[torch.zeros_like, lambda x: 20 * x])


@pytest.fixture
def predictor() -> Callable[..., Predictor]:
    """Builds a predictor of 8x8x6 windows; keywords replace its settings."""

    def build(method: Method, patch=(8, 8, 6), **settings: Any) -> Predictor:
        defaults = {"stride": (3, 3, 2), "largest_component": False}
        keys = set(InferenceOptions.model_fields)
        options = defaults | {key: value for key, value in settings.items() if key in keys}
        others = {key: value for key, value in settings.items() if key not in keys}
        return Predictor(
            method, InferenceOptions(**options), patch, device=torch.device("cpu"), **others
        )

    return build
