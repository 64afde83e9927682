"""Pictures that training and evaluation draw into a run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from crossview.batch import Batch
from crossview.data.case import Case, Splits
from crossview.evaluation import pictures
from crossview.inference.predict import Prediction
from crossview.resolve import Recipe


def draw_batch(batch: Batch, show: Mapping[str, Tensor], path: Path) -> None:
    """Draw a batch, and the tensors ``show`` of its method, into a picture file."""

    def array(tensor: Tensor) -> NDArray[Any]:
        return (
            tensor.detach().float().cpu().numpy()
            if tensor.is_floating_point()
            else tensor.detach().to(torch.uint8).cpu().numpy()
        )

    unlabelled = None if batch.unlabelled is None else array(batch.unlabelled)
    pictures.batch_picture(
        array(batch.image),
        array(batch.label),
        unlabelled,
        {name: array(t) for name, t in show.items()},
        path,
    )


def case_drawer(
    recipe: Recipe, splits: Splits
) -> Callable[[Case, NDArray[Any], NDArray[Any], Prediction, Path | None], None]:
    """Return a function that draws a case with its label and prediction.

    The picture goes into ``pictures/`` of the folder passed to it; None draws nothing.
    """
    axis = 0 if len(recipe.data.patch) == 2 else -1
    names = dict(enumerate(splits.class_names))

    def draw(
        case: Case,
        image: NDArray[Any],
        label: NDArray[Any],
        prediction: Prediction,
        folder: Path | None,
    ) -> None:
        if folder is not None:
            path, views = folder / "pictures" / f"{case.id}.png", prediction.views
            pictures.case_picture(
                image,
                label,
                prediction.label,
                views,
                path,
                title="",
                slice_axis=axis,
                affine=case.affine,
                names=names,
            )

    return draw
