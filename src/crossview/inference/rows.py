"""Resampling of maps that arrive in blocks of rows along one axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from crossview.data.resampling import resampled


class RowResampling:
    """Resamples maps (..., *S') to (..., *S) in blocks of rows along ``axis`` of S'.

    The numbers are those of :func:`crossview.data.resampling.resampled` for the whole maps. Only
    the last rows, which the next block is interpolated with, are kept.
    """

    def __init__(self, there: Sequence[int], shape: Sequence[int], axis: int) -> None:
        self.there, self.shape, self.axis = tuple(there), tuple(shape), axis
        self.kept: Tensor | None = None
        self.first = self.next = 0  # row of S' that is kept first, row of S that comes next

    def add(self, maps: Tensor) -> Tensor:
        """Return the rows of (..., *S) that the next rows ``maps`` complete, maybe none."""
        axes = len(self.shape)
        if tuple(maps.shape[-axes:]) == self.there:
            return resampled(maps, self.shape)
        before = (*self.shape[: self.axis], *maps.shape[maps.ndim - axes + self.axis :])
        maps = self._along(resampled(maps, before))
        whole = (*maps.shape[maps.ndim - axes :][: self.axis + 1], *self.shape[self.axis + 1 :])
        return resampled(maps, whole) if maps.shape[self.axis - axes] else maps.new_empty(0)

    def _along(self, maps: Tensor) -> Tensor:
        side, axis = self.shape[self.axis], self.axis - len(self.shape)
        if self.there[self.axis] == side:
            return maps
        weights = _weights(self.there[self.axis], side)
        begin = (weights != 0).int().argmax(1)
        taps = (weights != 0).sum(1)
        maps = maps if self.kept is None else torch.cat([self.kept, maps], dim=axis)
        known = self.first + maps.shape[axis]
        last = self.next
        while last < side and int(begin[last] + taps[last]) <= known:
            last += 1
        rows = slice(self.next, last)
        result = maps.new_zeros(())
        for tap in range(int(taps[rows].max()) if last > self.next else 0):
            place = (begin[rows] + tap).clamp(max=known - 1)
            weight = weights[rows].gather(1, place[:, None])[:, 0] * (tap < taps[rows])
            weight = weight.to(maps.device).reshape(-1, *(1,) * (-axis - 1))
            values = maps.index_select(axis, (place - self.first).to(maps.device))
            # torch's own kernel adds the taps in this order, each with one rounding.
            result = values * weight if tap == 0 else torch.addcmul(result, values, weight)
        if last == self.next:
            result = maps.narrow(axis, 0, 0)
        drop = (int(begin[last]) if last < side else known) - self.first
        drop = min(drop, maps.shape[axis])
        self.kept = maps.narrow(axis, drop, maps.shape[axis] - drop).clone()
        self.first, self.next = self.first + drop, last
        return result


def _weights(there: int, side: int) -> Tensor:
    """Return the weights of ``there`` rows in ``side`` resampled rows, (side, there)."""
    image = torch.eye(there)[None, None]
    return F.interpolate(
        image, size=(side, there), mode="bilinear", align_corners=False, antialias=True
    )[0, 0]
