"""ONNX files: a method's forward pass, what a user of the file must know, and its check.

The pass is traced by torch's TorchScript exporter. The newer one (``dynamo=True``) computes the
same, but it takes ten times as long, needs one more library, and writes the paths of the source
files on this machine into the file.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crossview.core.environment import VERSION
from crossview.core.errors import first_line
from crossview.core.regions import of_data
from crossview.data.io.extras import need
from crossview.data.io.label_map import written_values
from crossview.data.sources.source import DataOptions
from crossview.methods.method import Method
from crossview.networks import required_multiple
from crossview.runs.weights import TrainedMethod

EXTRA = "onnx"

OPSET = 17
"""Version of ONNX's operators: new enough for all layers, old enough for most programs."""

SIDES = {2: ("height", "width"), 3: ("depth", "height", "width")}
"""Names of spatial sides that may vary, by their number."""

NORMALISATION = {
    "none": "as stored",
    "z_score": "per channel: minus the scan's mean, by its standard deviation",
    "min_max": "per channel: the scan's lowest value becomes 0, its highest 1",
    "z_score_clipped": "per channel: clipped to the scan's 0.5th and 99.5th percentile, then minus "
    "the mean, by the standard deviation",
    "z_score_unpadded": "the scan without its constant border, per channel: clipped to its 0.5th "
    "and 99.5th percentile, then minus the mean, by the standard deviation",
    "foreground": "per channel, by the numbers in intensities: clipped to the lowest and highest "
    "value, then minus the mean, by the standard deviation",
}


class Forward(nn.Module):
    """A method's forward pass: images (B, C, *S) to class probabilities (B, K, *S)."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> Tensor:
        return self.method.combine(self.method.views(image))


def traced(forward: Forward, example: Tensor, any_size: bool) -> bytes:
    """Return the pass as an ONNX file of any number of images.

    Args:
        forward: In evaluation mode, on the CPU.
        example: Images (B, C, *S).
        any_size: False: the file takes images of the example's sides only.
    """
    sides = SIDES[example.ndim - 2] if any_size else ()
    axes = {0: "batch", **dict(enumerate(sides, 2))}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # That the exporter is an older one, and can't follow Python's own numbers, is answered by
        # the comparison with the method itself.
        warnings.simplefilter("ignore")
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            forward,
            (example,),
            file,
            input_names=["image"],
            output_names=["probabilities"],
            dynamic_axes={"image": axes, "probabilities": axes},
            opset_version=OPSET,
            dynamo=False,
        )
        return file.read_bytes()


def largest_difference(content: bytes, forward: Forward, batches: Sequence[Tensor]) -> float:
    """Return the largest difference of a probability between file and method, infinite if it fails.

    The file is run by onnxruntime on the CPU.
    """
    runtime = need("onnxruntime", EXTRA)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
    largest = 0.0
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for batch in batches:
            with torch.no_grad():
                expected = forward(batch).numpy()
            (found,) = session.run(None, {"image": batch.numpy()})
            if found.shape != expected.shape:
                return float("inf")
            largest = float(np.maximum(largest, np.abs(found - expected).max()))
    except Exception:  # onnxruntime's errors, and those of a plugin's fixed shapes, share no class
        return float("inf")
    return largest


def described(content: bytes, about: Mapping[str, Any]) -> bytes:
    """Return the file with facts of these names; those that are no text are written as JSON."""
    model = need("onnx", EXTRA).load_from_string(content)
    for name, value in about.items():
        entry = model.metadata_props.add()
        entry.key = name
        entry.value = value if isinstance(value, str) else json.dumps(value)
    result: bytes = model.SerializeToString()
    return result


def facts(trained: TrainedMethod, any_size: bool) -> dict[str, Any]:
    """Return what a user of the file must know. No name or path of a scan, a person or a folder."""
    recipe, data = trained.recipe, trained.recipe.data
    classes, regions = trained.class_names, of_data(data)
    values = written_values(getattr(data, "label_values", ()))
    window = recipe.inference.model_dump(mode="json", exclude={"batch"})
    return {
        "crossview": VERSION,
        "method": recipe.method.name,
        "step": trained.step,
        "classes": list(classes),
        "class_values": list(values or range(len(classes))),
        "channels": trained.channels,
        "axes": ["batch", "channel", *_axes(data)],
        "orientation": data.orientation,
        "nifti_axes": list(data.nifti_axes),
        "patch": list(data.patch),
        "sides": f"multiples of {required_multiple(recipe.network.levels)}"
        if any_size
        else "those of patch",
        "spacing_mm": list(data.spacing),
        "normalisation": data.normalisation,
        "normalisation_in_words": NORMALISATION[data.normalisation],
        "intensities": [list(each) for each in data.intensities],
        "inference": window,
        **({"regions": [asdict(region) for region in regions]} if regions else {}),
        "output": f"probabilities of the {'regions' if regions else 'classes'}, the mean of the "
        f"method's networks; no {'sigmoid' if regions else 'softmax'} is needed",
    }


def _axes(data: DataOptions) -> list[str]:
    """Return the names of a window's spatial axes."""
    if len(data.patch) == 2:
        return ["row", "column"]
    towards = ("right", "front", "head") if data.orientation == "canonical" else None
    return [towards[axis] if towards else f"axis {axis} of the file" for axis in data.nifti_axes]


def reason(error: Exception) -> str:
    """Return why torch can't export a pass, in a line."""
    return f"{type(error).__name__}: {first_line(error)}"
