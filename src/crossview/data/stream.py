"""The batch of step k, a pure function of (seed, stage, k), and its preparation in advance."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossview.batch import Batch
from crossview.data import augment
from crossview.data.foreground import Centres
from crossview.data.mild import mild_batch, mild_plan
from crossview.data.sources.source import Augmentation, Sampling
from crossview.data.store import Store, moved
from crossview.errors import Problem, UserError
from crossview.rng import Randomness


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
        return Batch(image=image, label=label, unlabelled=without, rng=randomness, show=show)

    def labelled_positions(self, stage: int, step: int) -> list[int]:
        """Return the positions in the labelled store of the whole batch."""
        epoch, chunk = divmod(step, len(self.labelled) // self.labelled_batch)
        order = self._permutation(stage, "labelled order", epoch, len(self.labelled))
        positions = [
            int(position)
            for position in order[chunk * self.labelled_batch : (chunk + 1) * self.labelled_batch]
        ]
        randomness = Randomness(self.seed, stage, step)
        return [
            position
            if centres is None
            else centres.item(position, randomness.host("foreground item", slot))
            for slot, (position, centres) in enumerate(
                zip(positions, self._centres(step), strict=True)
            )
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

    def _centres(self, step: int) -> list[Centres | None]:
        """Return for each slot of a labelled batch the ``Centres`` of its crop, or None."""
        first = step * self.labelled_batch
        slots = range(first, first + self.labelled_batch)
        return [
            self.centres if self.centres is not None and self.centres.centred(crop) else None
            for crop in slots
        ]

    def _permutation(self, stage: int, purpose: str, number: int, count: int) -> NDArray[np.int64]:
        return Randomness(self.seed, stage).host(purpose, number).permutation(count)

    def _unlabelled(self) -> Store:
        if self.unlabelled is None:
            fix = "add scans without labels, or train with method.name = supervised"
            raise UserError(
                Problem(
                    "this method needs unlabelled images",
                    where="data",
                    found="none",
                    expected="at least one",
                    fix=fix,
                )
            )
        return self.unlabelled

    def _drawn(
        self, store: Store, positions: Sequence[int], randomness: Randomness, kind: str
    ) -> tuple[Tensor, Tensor | None]:
        """Return the patches of this process's share, made on the store's device, then moved."""
        image, label = self._patches(
            store, positions, share(len(positions), self.rank, self.ranks), randomness, kind
        )
        return moved(image, self.device), None if label is None else moved(label, self.device)

    def _patches(
        self,
        store: Store,
        every: Sequence[int],
        slots: Sequence[int],
        randomness: Randomness,
        kind: str,
    ) -> tuple[Tensor, Tensor | None]:
        positions = [every[slot] for slot in slots]
        generators = [randomness.host(f"{kind} patch", slot) for slot in slots]
        if self.sampling == "resize":
            plans = [augment.resize_plan(self.augmentation, generator) for generator in generators]
            return augment.resize_batch(store, positions, plans, self.patch)
        centres = self._centres(randomness.step) if kind == "labelled" else [None] * len(every)
        chosen = [(centres[slot], randomness.host("foreground centre", slot)) for slot in slots]
        if self.augmentation == "mild":
            mild_plans = [
                mild_plan(store.shapes[at], self.patch, draws)
                for at, draws in zip(positions, generators, strict=True)
            ]
            for place, (centre, draws) in enumerate(chosen):
                if centre is not None:
                    box = centre.moved(
                        augment.CropPlan(mild_plans[place].start, self.patch),
                        positions[place],
                        draws,
                    )
                    mild_plans[place] = replace(mild_plans[place], start=box.start)
            noise = randomness.device(f"{kind} noise", self.device)
            return mild_batch(
                store,
                positions,
                mild_plans,
                self.patch,
                noise,
                slots if self.ranks > 1 else None,
                len(every),
            )
        image = torch.empty((len(positions), store.channels, *self.patch), device=store.device)
        label = None
        if store.labels is not None:
            label = torch.empty(
                (len(positions), *self.patch), dtype=torch.int64, device=store.device
            )
        for place, (position, generator, (centre, draws)) in enumerate(
            zip(positions, generators, chosen, strict=True)
        ):
            released, rot90_flip = (
                self.sampling == "crop_released",
                self.augmentation == "rot90_flip",
            )
            plan = augment.crop_plan(
                store.shapes[position],
                self.patch,
                released=released,
                rot90_flip=rot90_flip,
                generator=generator,
            )
            if centre is not None:
                plan = centre.moved(plan, position, draws)
            augment.crop_image(store, position, plan, image[place])
            if label is not None:
                augment.crop_label(store, position, plan, label[place])
        return image, label


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
        found, expected = (
            f"{len(labelled)} labelled items",
            f"at least training.labelled_batch = {labelled_batch}",
        )
        fix = f"set training.labelled_batch to {len(labelled)} or less, or label more cases"
        problems.append(
            Problem(
                "there are fewer labelled items than a batch needs",
                where="training.labelled_batch",
                found=found,
                expected=expected,
                fix=fix,
            )
        )
    axes = {
        store.dimensions
        for store in (labelled, unlabelled)
        if store is not None and store.dimensions != len(patch)
    }
    for dimensions in axes:
        found, expected = (
            f"{len(patch)} numbers: {list(patch)}",
            f"{dimensions} numbers, one per image axis",
        )
        fix = (
            f"use a {dimensions}D network (network.name={'vnet' if dimensions == 3 else 'unet'}) "
            f"and a patch of {dimensions} sides"
        )
        problems.append(
            Problem("the patch does not fit the images", "data.patch", found, expected, fix)
        )
    if problems:
        raise UserError(problems)


@dataclass(frozen=True)
class Request:
    """The arguments of ``Stream.batch``."""

    stage: int
    step: int
    unlabelled: bool


class Prefetcher:
    """An iterator over requested batches, in order, that prepares the next ones in threads.

    The batches are the same for any number of workers; with 0 each is prepared on request. An error
    in a worker is raised in place of its batch. ``waited``: seconds that the caller has waited for
    batches so far.
    """

    def __init__(
        self, stream: Stream, requests: Iterable[Request], *, workers: int = 1, ahead: int = 2
    ) -> None:
        self.waited = 0.0
        self._stream = stream
        self._requests = iter(requests)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batch") if workers else None
        self._pending: deque[Future[Batch]] = deque()
        if self._pool:
            for _ in range(max(workers, ahead)):
                self._submit()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        started = time.perf_counter()
        try:
            if self._pool is None:
                return self._prepare(next(self._requests))
            if not self._pending:
                raise StopIteration
            future = self._pending.popleft()
            self._submit()
            return future.result()
        finally:
            self.waited += time.perf_counter() - started

    def rest(self) -> None:
        """Wait until no batch is in preparation, so that nothing else uses the device meanwhile."""
        wait(self._pending)

    def close(self) -> None:
        """Stop preparing and drop unfinished batches."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._pending.clear()

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _submit(self) -> None:
        request = next(self._requests, None)
        if request is not None and self._pool is not None:
            self._pending.append(self._pool.submit(self._prepare, request))

    def _prepare(self, request: Request) -> Batch:
        return self._stream.batch(request.stage, request.step, unlabelled=request.unlabelled)
