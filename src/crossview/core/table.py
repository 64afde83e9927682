"""The base of a recipe's tables: unknown keys and numbers beyond any use are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotated_types import Le, Lt
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

LARGEST = {int: 2**31 - 1, float: 1e30}
"""What a number of a key without an upper bound of its own may be at most.

Larger ones overflow in sizes of arrays, in 32-bit floats or in text, far from the key.
"""


class Table(BaseModel):
    """A table of a recipe, as typed by its owner."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _of_usual_size(cls, value: Any, key: ValidationInfo) -> Any:
        field = cls.model_fields[str(key.field_name)]
        if any(isinstance(bound, Le | Lt) for bound in field.metadata):
            return value
        for number in _numbers(value):
            largest = LARGEST[type(number)]
            if not abs(number) <= largest:  # this holds for nan too
                raise ValueError(f"a number from {-largest} to {largest}")
        return value


def _numbers(value: Any) -> Iterator[int | float]:
    """Yield the numbers of a value, and of the lists in it."""
    if type(value) in LARGEST:
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(each)
