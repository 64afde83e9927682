"""The verb predict, and trained models for programs: arrays in, predictions out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossview.core.errors import UserError, fail
from crossview.core.progress import Progress
from crossview.core.regions import of_data
from crossview.data.io.label_map import written_values
from crossview.data.io.scan import check_finite
from crossview.data.io.segments import Segments
from crossview.data.preprocess import Preprocessing
from crossview.inference.assembly import MapName
from crossview.inference.files import predict_files
from crossview.inference.items import ArrayItem, volume_of_voxel
from crossview.inference.outputs import Outputs
from crossview.inference.predict import Prediction, Predictor
from crossview.recipe.resolve import Recipe, resolve
from crossview.runs.ensemble import Runs, check_alike, origin, together, trained_methods
from crossview.runs.estimated import estimates_of
from crossview.runs.minimum_volume import with_minimum_volume
from crossview.runs.run import Run, make_predictor
from crossview.training.device import find_device, set_kernels


def predict(
    run: Runs,
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    probabilities: bool = False,
    disagreement: bool = False,
    entropy: bool = False,
    flips: bool | None = None,
    minimum_volume: Sequence[float] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    form: str | None = None,
    estimate: bool = True,
    device: str = "auto",
    progress: Progress | None = None,
    done: Callable[[Path], None] = lambda _: None,
    remark: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Segment scans into the folder ``out``. A prediction keeps its scan's grid, affine and name.

    Args:
        run: A run, its folder, or a model file. Of several in a list, the probabilities are
            averaged; they must share data preparation, windows and classes.
        inputs: Files or folders of scans: NIfTI, NRRD, MetaImage, DICOM, PNG, TIFF, or h5 in the
            LA and ACDC layouts. A folder of DICOM files is one scan.
        out: The folder of the predictions. A folder with a different model's predictions is
            refused unless ``overwrite`` is true.
        probabilities: Also write the probabilities of the classes; of regions, a map for each in
            the folder of its name.
        disagreement: Also write a map of where the views differ; of several runs, where the runs
            differ.
        entropy: Also write a map of where the prediction is uncertain.
        flips: Average over reflections, see :class:`Predictor`. Default: by the run's recipe.
        minimum_volume: Remove smaller pieces, as the key inference.minimum_volume does. Default: by
            the run's recipe.
        resume: Skip scans whose prediction exists.
        overwrite: Replace predictions that exist.
        form: Format of the labels of volumes, "seg.nrrd", "nrrd", "mha", "nifti" or "dicom-seg"
            (DICOM scans); by default NIfTI.
        estimate: Also write ``estimated-dice.json``, if the run can estimate the Dice of scans and
            neither ``flips`` nor ``minimum_volume`` is given.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        progress: Called with (done, total).
        done: Called with each file once it is written.
        remark: Called with a line per prediction that contains only background, per folder with
            images of other formats, and if a map is not what its name says.

    Returns:
        The files of the predictions.

    Raises:
        UserError: If files could not be predicted. It names all of them; the others are written.
            Before anything is written, if the probabilities of several runs cannot be averaged.
    """
    where = find_device(device, "--device")
    set_kernels(deterministic=False)
    every = trained_methods(run, where)
    recipes = [each.recipe if flips is None else _with_flips(each.recipe, flips) for each in every]
    if minimum_volume is not None:
        recipes = [with_minimum_volume(each, minimum_volume) for each in recipes]
    check_alike(every, recipes)
    found, recipe, (method, precision) = every[0], recipes[0], together(every)
    asked: dict[MapName, bool] = {
        "probability": probabilities,
        "disagreement": disagreement,
        "entropy": entropy,
    }
    table = recipe.inference.model_dump(mode="json")
    values = written_values(getattr(recipe.data, "label_values", ()))
    outputs = Outputs(
        Path(out),
        maps=tuple(name for name, wanted in asked.items() if wanted),
        resume=resume,
        overwrite=overwrite,
        origin=origin(every, table),
        label_values=values,
        segments=segments_of(form, found.class_names, recipe) if form else None,
        regions=tuple(region.name for region in of_data(recipe.data)),
    )
    estimates, known = None, ""
    # An estimate holds for predictions made as those of the held-out scans were.
    if estimate and flips is None and minimum_volume is None:
        weights = str(outputs.origin["weights"]) if len(every) == 1 and outputs.origin else ""
        estimates, known = estimates_of(
            [run] if isinstance(run, Run | Path | str) else run, found.step, weights
        )
    try:
        written = predict_files(
            make_predictor(recipe, method, where, precision),
            [Path(each) for each in inputs],
            outputs,
            data=recipe.data,
            channels=found.channels,
            numbered=found.numbered,
            progress=progress,
            done=done,
            remark=remark,
            expected=estimates.add if estimates else None,
        )
    finally:
        if estimates and estimates.scans:
            remark(f"{known} Scan by scan: {estimates.write(Path(out))}")
    if known and not (estimates and estimates.scans):
        remark(known)
    return written


def segments_of(form: str, names: Sequence[str], recipe: Recipe) -> Segments:
    """Return how the labels of a recipe are written in a format. UserError, see ``Segments.of``."""
    values = written_values(getattr(recipe.data, "label_values", ()))
    return Segments.of(form, names, values, recipe.method.name)


def _with_flips(recipe: Recipe, flips: bool) -> Recipe:
    """Return the recipe with mirror averaging on or off. Raise UserError if it does not fit."""
    try:
        return resolve(recipe.tables(), [f"inference.flips={str(flips).lower()}"])
    except UserError as error:
        raise UserError(
            replace(problem, where="--flips", fix=problem.fix.replace(OFF, "leave out --flips"))
            for problem in error.problems
        ) from None


OFF = "set inference.flips=false"
"""Beginning of the fix that a recipe's check gives; the option has its own."""


@dataclass(frozen=True)
class Model:
    """A trained model, as :func:`load` returns it.

    Attributes:
        recipe: The resolved recipe it was trained with; of several runs, the first one's.
        channels: Number of input channels.
        class_names: Names of the classes, background first.
        step: Training step of the weights; of several runs, the first one's.
        predictor: Sliding-window predictor of the method.
    """

    recipe: Recipe
    channels: int
    class_names: tuple[str, ...]
    step: int
    predictor: Predictor

    def predict(self, image: ArrayLike, spacing: Sequence[float] | None = None) -> Prediction:
        """Predict one image on its own grid, as ``crossview predict`` does for a file.

        The image is normalised and resampled as the recipe says. To predict many files, or to get
        maps in a file's own orientation, use :func:`crossview.predict`.

        Args:
            image: Intensities as in the files, (C, *S), or (*S) for one channel. The axes have the
                order that the model was trained with (for volumes right, anterior, superior in
                the order of data.nifti_axes).
            spacing: Voxel spacing in mm, one number per axis of S. Required if the recipe has a
                data.spacing.

        Returns:
            The prediction on the grid S.

        Raises:
            UserError: If the number of axes or channels is wrong, a value is NaN or infinite, or a
                required spacing is missing.
        """
        array = self._with_channels(np.asarray(image, dtype=np.float32))
        check_finite(array, "the image", "image")
        preprocessing = Preprocessing.of(self.recipe.data)
        prepared = preprocessing.image(array, spacing, "the image")
        voxel = volume_of_voxel(preprocessing, spacing)
        item = ArrayItem(prepared, array.shape[1:], preprocessing.box(array), voxel)
        ((_, prediction),) = self.predictor.predict([item])
        return prediction

    def _with_channels(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        axes = self.predictor.dimensions
        if array.size and array.ndim - 1 in axes and array.shape[0] == self.channels:
            return array
        if array.size and array.ndim in axes and self.channels == 1:
            return array[None]
        spatial = " or ".join(map(str, axes))
        expected = f"{self.channels} channel(s), then {spatial} axes" + (
            ", or the axes alone" if self.channels == 1 else ""
        )
        fail("the image has an unexpected shape", found=array.shape, expected=expected)


def load(run: Runs, device: str = "auto") -> Model:
    """Load a trained model.

    Args:
        run: A run folder, of which the checkpoint of its selection policy is loaded, or a model.pt.
            Of several in a list, the probabilities are averaged, and each is a view.
        device: auto, cpu, cuda, cuda:1 ...

    Returns:
        The model on this device, in evaluation mode.

    Raises:
        UserError: If the model cannot be read, the device does not exist, or the probabilities of
            several runs cannot be averaged.
    """
    where = find_device(device, "--device")
    set_kernels(deterministic=False)
    every = trained_methods(run, where)
    check_alike(every, [each.recipe for each in every])
    found, (method, precision) = every[0], together(every)
    method.eval()
    predictor = make_predictor(found.recipe, method, where, precision)
    return Model(found.recipe, found.channels, found.class_names, found.step, predictor)
