"""The batch of step k, a pure function of (seed, stage, k)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossview.core.errors import Problem, fail, raise_all
from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.data import crops, slices
from crossview.data.foreground import Centres
from crossview.data.labelled_voxels import LabelledVoxels
from crossview.data.mild import mild_batch, mild_plan
from crossview.data.sources.source import Augmentation, Sampling
from crossview.data.store import Store, moved
from crossview.data.strong import strong_batch, strong_plan


class Stream:
    """Batches from a labelled store and an optional unlabelled store.

    Labelled items come in epochs: each is a fresh permutation in chunks of ``labelled_batch``,
    without the incomplete last chunk. Unlabelled items come in reshuffled passes without a break:
    item p of the run is element p mod n of permutation p div n. Every draw is keyed by (seed,
    stage, step, slot in the batch), every permutation by (seed, stage, its number).

    Args:
        labelled: Store with labels.
        unlabelled: Store without labels, or None.
        patch: Sides of a patch.
        sampling: Key ``data.sampling``.
        augmentation: Key ``data.augmentation``.
        labelled_batch: Labelled items per step.
        unlabelled_batch: Unlabelled items per step.
        seed: Seed of the run.
        foreground_share: Share of the labelled crops that are centred on foreground (``Centres``).
            It changes no draw of the other crops.
        device: Device of the batches; None for that of the labelled store.
        rank: Number of this process.
        ranks: Number of processes that share a batch. Each has its pairs (i, i + n/2), in order;
            see ``share``.

    Raises:
        ValueError: If the labelled store has no labels or the unlabelled one has some.
        UserError: If a batch needs more items than exist or the patch does not fit the images.
    """

    def __init__(
        self,
        labelled: Store,
        unlabelled: Store | None,
        *,
        patch: Sequence[int],
        sampling: Sampling,
        augmentation: Augmentation,
        labelled_batch: int,
        unlabelled_batch: int,
        seed: int,
        foreground_share: float = 0.0,
        device: torch.device | str | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if labelled.labels is None or (unlabelled is not None and unlabelled.labels is not None):
            raise ValueError("the labelled store must hold labels and the unlabelled store none")
        _check(labelled, unlabelled, tuple(patch), labelled_batch)
        self.labelled, self.unlabelled = labelled, unlabelled
        self.patch = tuple(patch)
        self.sampling: Sampling = sampling
        self.augmentation: Augmentation = augmentation
        self.labelled_batch, self.unlabelled_batch = labelled_batch, unlabelled_batch
        self.seed = seed
        self.centres = Centres(labelled, foreground_share) if foreground_share else None
        # A whole slice that is resized always holds some; the store drops those with none.
        cropped = labelled.partial is not None and sampling != "resize"
        self.labelled_voxels = LabelledVoxels(labelled) if cropped else None
        self.device = labelled.device if device is None else torch.device(device)
        self.rank, self.ranks = rank, ranks

    def batch(self, stage: int, step: int, *, unlabelled: bool, show: bool = False) -> Batch:
        """Return this process's share of the batch of a step, on ``self.device``.

        ``stage`` counts from 0, ``step`` from 0 within the stage. Raise UserError if unlabelled
        images are requested and there are none.
        """
        randomness = Randomness(self.seed, stage, step)
        image, label = self._drawn(
            self.labelled, self.labelled_positions(stage, step), randomness, "labelled"
        )
        assert label is not None  # __init__ checks that a labelled store has labels
        without = None
        if unlabelled:
            without, _ = self._drawn(
                self._unlabelled(), self.unlabelled_positions(stage, step), randomness, "unlabelled"
            )
        partial = self.labelled.partial
        return Batch(image, label, without, randomness, show=show, partial=partial)

    def labelled_positions(self, stage: int, step: int) -> list[int]:
        """Return where the whole batch's items are in the labelled store."""
        epoch, chunk = divmod(step, len(self.labelled) // self.labelled_batch)
        order = self._permutation(stage, "labelled order", epoch, len(self.labelled))
        chosen = order[chunk * self.labelled_batch : (chunk + 1) * self.labelled_batch].tolist()
        if self.centres is None:
            return list(chosen)
        randomness = Randomness(self.seed, stage, step)
        return [
            self.centres.item(at, randomness.host("foreground item", slot)) if centred else at
            for slot, (at, centred) in enumerate(zip(chosen, self._centred(step), strict=True))
        ]

    def unlabelled_positions(self, stage: int, step: int) -> list[int]:
        """Return the positions in the unlabelled store of the whole batch."""
        count = len(self._unlabelled())
        places = [
            divmod(step * self.unlabelled_batch + slot, count)
            for slot in range(self.unlabelled_batch)
        ]
        orders = {
            number: self._permutation(stage, "unlabelled order", number, count)
            for number in {number for number, _ in places}
        }
        return [int(orders[number][place]) for number, place in places]

    def case_ids(self, stage: int, step: int, unlabelled: bool) -> list[str]:
        """Return the cases of a step's whole batch without drawing it."""
        ids = [self.labelled.ids[position] for position in self.labelled_positions(stage, step)]
        if unlabelled and self.unlabelled is not None:
            ids += [
                self.unlabelled.ids[position] for position in self.unlabelled_positions(stage, step)
            ]
        return ids

    def _centred(self, step: int) -> list[bool]:
        """Return for each slot of a labelled batch if its crop is centred on foreground."""
        first = step * self.labelled_batch
        crops = range(first, first + self.labelled_batch)
        return [self.centres is not None and self.centres.centred(crop) for crop in crops]

    def _permutation(self, stage: int, purpose: str, number: int, count: int) -> NDArray[np.int64]:
        return Randomness(self.seed, stage).host(purpose, number).permutation(count)

    def _unlabelled(self) -> Store:
        if self.unlabelled is None:
            fail(
                "this method needs unlabelled images",
                "data",
                found="none",
                expected="at least one",
                fix="add scans without labels, or train with method.name = supervised",
            )
        return self.unlabelled

    def _drawn(
        self, store: Store, positions: Sequence[int], randomness: Randomness, kind: str
    ) -> tuple[Tensor, Tensor | None]:
        """Return the patches of this process's share, made on the store's device, then moved."""
        image, label = self._patches(store, positions, randomness, kind)
        return moved(image, self.device), None if label is None else moved(label, self.device)

    def _patches(
        self, store: Store, every: Sequence[int], randomness: Randomness, kind: str
    ) -> tuple[Tensor, Tensor | None]:
        slots = share(len(every), self.rank, self.ranks)
        positions = [every[slot] for slot in slots]
        draws = [randomness.host(f"{kind} patch", slot) for slot in slots]
        if self.sampling == "resize":
            turns = [slices.resize_plan(self.augmentation, generator) for generator in draws]
            return slices.resize_batch(store, positions, turns, self.patch)
        plans = [
            self._plan(store.shapes[position], generator)
            for position, generator in zip(positions, draws, strict=True)
        ]
        if self.labelled_voxels is not None and kind == "labelled":
            plans = [
                self.labelled_voxels.met(plan, at, randomness.host("labelled voxel", slot))
                for plan, at, slot in zip(plans, positions, slots, strict=True)
            ]
        if self.centres is not None and kind == "labelled":
            centred = self._centred(randomness.step)
            plans = [
                self.centres.moved(plan, at, randomness.host("foreground centre", slot))
                if centred[slot]
                else plan
                for plan, at, slot in zip(plans, positions, slots, strict=True)
            ]
        if self.augmentation in ("mild", "strong"):
            make = mild_batch if self.augmentation == "mild" else strong_batch
            noise = randomness.device(f"{kind} noise", self.device)
            part = slots if self.ranks > 1 else None
            return make(store, positions, plans, self.patch, noise, part, len(every))
        return crops.crop_batch(store, positions, plans, self.patch)

    def _plan(self, shape: Sequence[int], generator: np.random.Generator) -> Any:
        if self.augmentation == "mild":
            return mild_plan(shape, self.patch, generator)
        if self.augmentation == "strong":
            return strong_plan(shape, self.patch, generator)
        return crops.crop_plan(
            shape,
            self.patch,
            released=self.sampling == "crop_released",
            rot90_flip=self.augmentation == "rot90_flip",
            generator=generator,
        )


def share(size: int, rank: int, ranks: int) -> list[int]:
    """Return the slots of a batch of n that a process computes.

    They are the pairs (i, i + n/2) with rank n/(2 ranks) <= i < (rank + 1) n/(2 ranks). All i come
    first, then all i + n/2, so the halves of a share are the shares of the halves. Raise ValueError
    if the batch cannot be divided evenly.
    """
    if ranks == 1:
        return list(range(size))
    if size % (2 * ranks):
        raise ValueError(f"{ranks} processes cannot share a batch of {size} evenly")
    pairs = size // (2 * ranks)
    first = range(rank * pairs, (rank + 1) * pairs)
    return [*first, *(slot + size // 2 for slot in first)]


def _check(
    labelled: Store, unlabelled: Store | None, patch: tuple[int, ...], labelled_batch: int
) -> None:
    problems = []
    if len(labelled) < labelled_batch:
        problems.append(
            Problem(
                "there are fewer labelled items than a batch needs",
                "training.labelled_batch",
                f"{len(labelled)} labelled items",
                f"at least training.labelled_batch = {labelled_batch}",
                f"set training.labelled_batch to {len(labelled)} or less, or label more cases",
            )
        )
    axes = {store.dimensions for store in (labelled, unlabelled) if store is not None}
    for dimensions in axes - {len(patch)}:
        network = "vnet" if dimensions == 3 else "unet"
        problems.append(
            Problem(
                "the patch does not fit the images",
                "data.patch",
                f"{len(patch)} numbers: {list(patch)}",
                f"{dimensions} numbers, one per image axis",
                f"use a {dimensions}D network (network.name={network}) "
                f"and a patch of {dimensions} sides",
            )
        )
    raise_all(problems)
