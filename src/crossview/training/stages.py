"""How long stages are, where one may take steps of the next.

Whether networks have learned what they are about to teach: their Dice on labelled crops, network by network and class by class.

A network that still predicts background writes empty pseudo-labels, and another one that learns from them forgets what it knew. So a
labelled stage can be told to go on until no network is in that state (``Stage.ready_dice``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from crossview.core.tensors import Batch
from crossview.data.stream import Stream
from crossview.methods.method import Method, Stage
from crossview.training.checkpoint import Position
from crossview.training.distributed import World

CHECKS = 5
"""A stage that waits may end so many times in as many steps as it was meant to have."""


@dataclass(frozen=True)
class Length:
    """The steps of a stage. meant: those of the recipe, less what the stage before took of them. most: with all that it may take."""

    meant: int
    most: int

    @property
    def waits(self) -> bool:
        return self.most > self.meant

    def may_end(self, done: int) -> bool:
        """Whether the stage can end after ``done`` of its steps."""
        late = done - self.meant
        return done == self.most or (late >= 0 and late % max(1, self.meant // CHECKS) == 0)


def length(stages: Sequence[Stage], index: int, begun: int) -> Length:
    """Of a stage that began after ``begun`` steps in all. The run is as long as all stages together, whichever takes them."""
    meant = max(0, sum(stage.steps for stage in stages[: index + 1]) - begun)
    waits = stages[index].ready_dice > 0 and index + 1 < len(stages)
    return Length(meant, meant + stages[index + 1].steps if waits else meant)


CROPS = 32
"""Labelled crops, at least, that are looked at: the last ones that were trained on."""


Learned = dict[str, dict[str, float]]
"""{"view1": {"1": Dice of class 1}}."""


def learned(method: Method, batches: Iterable[Batch], world: World) -> Learned:
    """The Dice of the networks in training over all labelled crops taken together, in evaluation mode; waits for the device.

    A class that none of the crops holds is left out. With several processes: over the crops of all of them.
    """
    sums: dict[tuple[str, int], torch.Tensor] = {}
    training = method.training
    method.eval()
    with torch.no_grad():
        for batch in batches:
            for name, logits in method.learners(batch.image).items():
                predicted = logits.argmax(1)
                for index in range(1, logits.shape[1]):
                    mine, true = predicted == index, batch.label == index
                    voxels = torch.stack([(mine & true).sum(), mine.sum(), true.sum()])
                    sums[name, index] = (
                        sums[name, index] + voxels if (name, index) in sums else voxels
                    )
    method.train(training)
    means = world.mean(
        {
            (*key, part): count
            for key, voxels in sums.items()
            for part, count in enumerate(voxels.tolist())
        }
    )
    dice: Learned = {name: {} for name, _ in sums}
    for name, index in sums:
        shared, predicted_voxels, true_voxels = (means[name, index, part] for part in range(3))
        if true_voxels:
            dice[name][str(index)] = 2 * shared / (predicted_voxels + true_voxels)
    return dice


def last_crops(stream: Stream, position: Position) -> Iterator[Batch]:
    """The labelled batches of the stage's last steps, as many as hold ``CROPS`` crops."""
    batches = -(-CROPS // stream.labelled_batch)
    for step in range(max(0, position.step - batches), position.step):
        yield stream.batch(position.stage, step, unlabelled=False)


def lacking(dice: Learned, needed: float) -> Learned:
    """What of it is below ``needed``: empty where all is well. A network whose crops held no class at all has shown nothing."""
    low = {
        name: {c: value for c, value in classes.items() if value < needed}
        for name, classes in dice.items()
    }
    return {name: classes for name, classes in low.items() if classes or not dice[name]}


def told(low: Learned, needed: float, names: Sequence[str] = ()) -> str:
    """The networks that lag behind, in words; empty for none. names: of the classes, background first; "class k" where there is none."""
    if not low:
        return ""

    def of_class(index: str, value: float) -> str:
        return f"{100 * value:.1f} % for {names[int(index)] if int(index) < len(names) else f'class {index}'}"

    networks = [
        f"{name} "
        + (
            "has seen no class"
            if not classes
            else f"reaches {' and '.join(of_class(*each) for each in classes.items())}"
        )
        for name, classes in low.items()
    ]
    return f"on labelled crops {'; '.join(networks)}, and a Dice of {100 * needed:g} % is needed"


def in_vain(stage: str, behind: str) -> str:
    """The warning of a stage that took all steps."""
    advice = "more steps, a lower method.ready_dice, or method.name=supervised"
    return f"stage {stage} has taken all steps, and the unlabelled scans were not used: {behind}. What helps: {advice}"
