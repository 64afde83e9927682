"""What a recipe leaves to a measurement: keys of [training] that are "auto"."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from crossview.methods.method import Method
from crossview.recipe import TrainingOptions
from crossview.training.compiling import choose_compiled, networks_of, try_compiled
from crossview.training.device import choose_precision


def measure(
    options: TrainingOptions, method: Method, images: Tensor, say: Callable[[str], None] = lambda _: None
) -> tuple[list[str], dict[str, dict[str, float]]]:
    """The precision and whether to compile, as --set texts, and the seconds that decided where a measurement did.

    images: real ones of a batch, (B, C, *S), on the method's device. The method is left as it was. say: is told where "auto" can't
    compile. Raises UserError where the recipe asks to compile and torch can't.
    """
    networks = networks_of(method)
    precision, seconds = options.precision, dict[str, dict[str, float]]()
    if precision == "auto":
        precision, seconds["precision"] = choose_precision(networks[0], images[:1])
    compiled = options.compile
    if compiled == "auto":
        passes = len(networks) * sum(stage.steps for stage in method.stages)
        compiled, seconds["compile"] = choose_compiled(networks[0], images, precision, passes, say)
    elif compiled:
        seconds["compile"] = try_compiled(networks[0], images, precision).as_seconds()
    return [f"training.precision={precision}", f"training.compile={str(compiled).lower()}"], seconds
