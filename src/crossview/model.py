"""A trained model for programs: arrays in, predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossview.data.preprocess import Preprocessing
from crossview.errors import Problem, UserError
from crossview.folder import Run, stored_precision, trained_method
from crossview.inference.predict import Prediction, Predictor
from crossview.job import make_predictor
from crossview.resolve import Recipe
from crossview.training.device import find_device, set_kernels


@dataclass(frozen=True)
class Model:
    """What :func:`load` returns. step: of training, that the weights are of. class_names: background first."""

    recipe: Recipe
    channels: int
    class_names: tuple[str, ...]
    step: int
    predictor: Predictor

    def predict(self, image: ArrayLike, spacing: Sequence[float] | None = None) -> Prediction:
        """The prediction of one image, on its own grid, as ``crossview predict`` makes it of a file.

        image: (C, *S), or (*S) of one channel: intensities as the files hold them, axes in the order that the model was trained in (for
        NIfTI files right, anterior, superior in the order of data.nifti_axes). spacing: voxel sides in mm, one an axis of S; needed where
        the recipe has a data.spacing. Normalised and resampled as the recipe says. For maps of a file's own orientation, and for many
        files at once, take :func:`crossview.predict`.
        Raises UserError: another number of axes or channels, values that are no numbers, a spacing that is missing.
        """
        array = self._with_channels(np.asarray(image, dtype=np.float32))
        if not np.isfinite(array).all():
            raise UserError(
                Problem(
                    "the image holds values that are no numbers",
                    found="NaN or infinity",
                    fix="set them to the background's",
                )
            )
        prepared = Preprocessing.of(self.recipe.data).image(array, spacing, "the image")
        (prediction,) = self.predictor.predict([prepared], [array.shape[1:]])
        return prediction

    def _with_channels(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        axes = self.predictor.dimensions
        if array.size and array.ndim - 1 in axes and array.shape[0] == self.channels:
            return array
        if array.size and array.ndim in axes and self.channels == 1:
            return array[None]
        spatial = " or ".join(map(str, axes))
        expected = f"{self.channels} channel(s) in front of {spatial} axes" + (
            ", or these alone" if self.channels == 1 else ""
        )
        raise UserError(
            Problem("the image has an unexpected shape", found=str(array.shape), expected=expected)
        )


def load(run: Run | Path | str, device: str = "auto") -> Model:
    """The model of a run folder (the checkpoint that its selection names) or of a model.pt alone. Raises UserError."""
    where = find_device(device)
    set_kernels(deterministic=False)
    found = trained_method(run, where)
    found.method.eval()
    names = found.state.get("class_names") or [
        "background",
        *(f"class {number}" for number in range(1, found.recipe.data.classes)),
    ]
    predictor = make_predictor(found.recipe, found.method, where, stored_precision(found.recipe))
    return Model(found.recipe, found.channels, tuple(names), found.step, predictor)
