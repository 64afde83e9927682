"""Several trained methods as one: the mean of their probabilities; each method is a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from crossview.methods.method import Method

Precision = Literal["float32", "bf16"]


class Ensemble(Method):
    """Trained methods whose probabilities are averaged.

    Its views are the combined predictions of its members, "run1", "run2" and so on, as logarithms
    of probabilities, of regions log-odds. So a map of disagreement shows where the members differ.

    Args:
        members: The trained methods.
        precisions: The precision of each member's forward passes.
    """

    def __init__(self, members: Sequence[Method], precisions: Sequence[Precision]) -> None:
        super().__init__(None, lambda *_, **__: nn.Identity())
        self.head = members[0].head
        self.members, self.precisions = nn.ModuleList(members), tuple(precisions)

    def views(self, image: Tensor) -> Mapping[str, Tensor]:
        found = {}
        for number, (member, precision) in enumerate(
            zip(self.members, self.precisions, strict=True), start=1
        ):
            assert isinstance(member, Method)
            with torch.autocast(image.device.type, torch.bfloat16, enabled=precision == "bf16"):
                views = member.views(image)
            views = {name: logits.float() for name, logits in views.items()}
            found[f"run{number}"] = member.head.as_logits(member.combine(views))
        return found

    def combine(self, views: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.head.from_logits(view) for view in views.values()]).mean(0)
