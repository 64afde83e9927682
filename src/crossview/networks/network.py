"""What every network returns, and the options they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor


@dataclass(frozen=True)
class Output:
    """What a network makes of an image (B, C, *S).

    logits: (B, K, *S). bottleneck: the deepest features (B, F, *S / 2^(levels-1)), after dropout in training.
    decoder: features of the input's size that enter the last convolution (B, filters, *S), before dropout.
    scales: logits of the coarser levels at the input's size (B, K, *S), finer to coarser, where a method asks for them.
    dropped: the decoder's features after dropout, or None where the network has no dropout there.
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
        description="auxiliary heads on the coarser levels, fewer where those are; set by the method that uses them",
    )

    @model_serializer(mode="wrap")
    def _without_heads_nothing_is_written(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """A network without auxiliary heads is written as before there were any: its recipes and checkpoints stay the same."""
        table: dict[str, Any] = handler(self)
        return (
            table
            if self.scales
            else {key: value for key, value in table.items() if key != "scales"}
        )
