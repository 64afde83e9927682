"""Output of every network, and the options that all networks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor


@dataclass(frozen=True)
class Output:
    """Output of a network for images (B, C, *S).

    Args:
        logits: (B, K, *S).
        bottleneck: Deepest features (B, F, *S / 2^(levels-1)), after dropout in training.
        decoder: Features (B, filters, *S) that enter the last convolution, before its dropout.
        scales: Logits of the coarser levels at the input's size, each (B, K, *S), finest first, if
            a method asks for them.
        dropped: ``decoder`` after dropout, or None if the network has no dropout there.
    """

    logits: Tensor
    bottleneck: Tensor
    decoder: Tensor
    scales: tuple[Tensor, ...] = ()
    dropped: Tensor | None = None


class NetworkOptions(BaseModel):
    """Keys of [network] that every network has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scales: int = Field(
        0,
        ge=0,
        le=3,
        description="auxiliary heads on the coarser levels, fewer if there are fewer levels; "
        "set by the method that uses them",
    )

    @model_serializer(mode="wrap")
    def _without_heads_nothing_is_written(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """Omit ``scales`` if it is 0, so that recipes and checkpoints without it still match."""
        table: dict[str, Any] = handler(self)
        return (
            table
            if self.scales
            else {key: value for key, value in table.items() if key != "scales"}
        )
