"""Measured keys of [training]: the values of those that are "auto"."""

from __future__ import annotations

from torch import Tensor

from crossview.errors import Problem, UserError
from crossview.methods.method import Method
from crossview.recipe import TrainingOptions
from crossview.training.compiling import networks_of, try_compiled
from crossview.training.device import choose_precision


def measure(
    options: TrainingOptions, method: Method, images: Tensor, alone: bool = True
) -> tuple[list[str], dict[str, dict[str, float]]]:
    """Return training.precision and training.compile as --set texts, and the measured seconds.

    images: real ones of a batch, (B, C, *S), on the method's device. alone: one process trains.
    The method is left unchanged. Raises UserError if the recipe asks for an impossible setting.
    """
    networks = networks_of(method)
    precision, seconds = options.precision, dict[str, dict[str, float]]()
    if precision == "auto":
        precision, seconds["precision"] = choose_precision(networks[0], images[:1])
    compiled = options.compile
    reason = _why_not_recorded(method, images, alone)
    if compiled == "auto":
        compiled = False if reason or options.deterministic else "graphs"
    elif compiled == "graphs" and reason:
        raise UserError(
            Problem(
                "passes cannot be recorded as CUDA graphs",
                "[training] compile",
                reason,
                fix="set training.compile=auto",
            )
        )
    elif compiled is True:
        seconds["compile"] = try_compiled(networks[0], images, precision).as_seconds()
    return [f"training.precision={precision}", f"training.compile={str(compiled).lower()}"], seconds


def _why_not_recorded(method: Method, images: Tensor, alone: bool) -> str:
    if images.device.type != "cuda":
        return f"the device is {images.device}"
    if not method.recordable:
        return f"method {type(method).__name__} does not allow it (recordable)"
    return "" if alone else "several processes train together"
