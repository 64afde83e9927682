"""Lengths of stages, and the readiness of networks that lets a labelled stage end.

A network is ready to write pseudo-labels if its Dice on labelled crops is high enough for each
class. A network that still predicts background writes empty pseudo-labels, and a network that
learns from them forgets what it knew. A labelled stage can therefore continue until no network is
in that state (``Stage.ready_dice``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from crossview.core.tensors import Batch
from crossview.data.stream import Stream
from crossview.methods.heads import Pair
from crossview.methods.method import Method, Stage
from crossview.training.checkpoint import Position
from crossview.training.distributed import World

CHECKS = 5
"""Times that a stage that waits is checked per its planned number of steps."""


@dataclass(frozen=True)
class Length:
    """The steps of a stage.

    meant: steps in the recipe minus those that the previous stage borrowed. most: meant plus the
    steps that this stage may borrow.
    """

    meant: int
    most: int

    @property
    def waits(self) -> bool:
        return self.most > self.meant

    def may_end(self, done: int) -> bool:
        """True if the stage can end after ``done`` of its steps."""
        late = done - self.meant
        return done == self.most or (late >= 0 and late % max(1, self.meant // CHECKS) == 0)


def length(stages: Sequence[Stage], index: int, begun: int) -> Length:
    """Return the length of a stage that began after ``begun`` steps of the run.

    The run is as long as all stages together, whichever of them uses the steps.
    """
    meant = max(0, sum(stage.steps for stage in stages[: index + 1]) - begun)
    waits = stages[index].ready_dice > 0 and index + 1 < len(stages)
    return Length(meant, meant + stages[index + 1].steps if waits else meant)


CROPS = 32
"""Minimum number of labelled crops to score: the last ones trained on."""


Learned = dict[str, dict[str, float]]
"""{"view1": {"1": Dice of class 1}}."""


def learned(method: Method, batches: Iterable[Batch], world: World) -> Learned:
    """Return the Dice of the trained networks, in evaluation mode. Waits for the device.

    The Dice is over all labelled crops of all processes taken together. A class that no crop
    contains is omitted.
    """
    sums: dict[str, torch.Tensor] = {}
    training = method.training
    method.eval()
    with torch.no_grad():
        for batch in batches:
            for name, logits in method.learners(batch.image).items():
                voxels = _voxels(method.head.pairs(logits, batch.label, batch.partial))
                sums[name] = sums[name] + voxels if name in sums else voxels
    method.train(training)
    rows = {
        (name, str(index)): row
        for name, voxels in sums.items()
        for index, row in enumerate(voxels.tolist(), start=1)
    }
    means = world.mean({(*key, part): n for key, row in rows.items() for part, n in enumerate(row)})
    dice: Learned = {name: {} for name in sums}
    for name, index in rows:
        shared, predicted, true = (means[name, index, part] for part in range(3))
        if true:
            dice[name][index] = 2 * shared / (predicted + true)
    return dice


def _voxels(pairs: Iterable[Pair]) -> torch.Tensor:
    """Return the voxels of each foreground class or region: shared, predicted and true, (M, 3)."""
    return torch.stack(
        [torch.stack([(mine & true).sum(), mine.sum(), true.sum()]) for mine, true in pairs]
    )


def last_crops(stream: Stream, position: Position) -> Iterator[Batch]:
    """Yield the labelled batches of the stage's last steps, with at least ``CROPS`` crops."""
    batches = -(-CROPS // stream.labelled_batch)
    for step in range(max(0, position.step - batches), position.step):
        yield stream.batch(position.stage, step, unlabelled=False)


def lacking(dice: Learned, needed: float) -> Learned:
    """Return the entries of ``dice`` below ``needed``.

    A network whose crops contained no class counts as not ready; it has no entries.
    """
    low = {
        name: {c: value for c, value in classes.items() if value < needed}
        for name, classes in dice.items()
    }
    return {name: classes for name, classes in low.items() if classes or not dice[name]}


def behind(low: Learned, needed: float, names: Sequence[str] = ()) -> str:
    """Return the networks that are not ready in words, "" for none.

    names: of the classes, background first. A class without a name is "class k".
    """
    if not low:
        return ""

    def of_class(index: str, value: float) -> str:
        name = names[int(index)] if int(index) < len(names) else f"class {index}"
        return f"{100 * value:.1f} % for {name}"

    def of_network(classes: Mapping[str, float]) -> str:
        reached = " and ".join(of_class(*each) for each in classes.items())
        return f"reaches {reached}" if classes else "saw no class"

    networks = "; ".join(f"{name} {of_network(classes)}" for name, classes in low.items())
    return f"on labelled crops {networks}; a Dice of {100 * needed:g} % is needed"


def in_vain(stage: str, behind: str) -> str:
    """Return the warning of a stage that used all steps of the run."""
    advice = (
        "train more steps, train on from this run (--from), or, if labels are all there is, set "
        "method.name=supervised"
    )
    return (
        f"stage {stage} used all steps, and the unlabelled scans were not used: {behind}. "
        f"To fix this, {advice}"
    )
