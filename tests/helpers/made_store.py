"""Stores of made cases, whose arrays a test knows."""

import numpy as np

from crossview.data.case import Case
from crossview.data.store import Store


def store_of(*shapes, channels=1, levels=50, labelled=True, device="cpu"):
    """A store of cases with values that all differ from 0, and their arrays."""
    generator = np.random.default_rng(sum(map(sum, shapes)))
    images = [
        generator.integers(1, levels, (channels, *shape)).astype(np.float32) for shape in shapes
    ]
    labels = [generator.integers(1, 4, shape).astype(np.uint8) for shape in shapes]
    cases = [
        Case(
            str(n),
            str(n),
            None,
            lambda image=image: image,
            (lambda label=label: label) if labelled else None,
        )
        for n, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    return Store(cases, classes=4, channels=channels, device=device), images, labels
