"""The table [training] of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from crossview.core.table import Table


class TrainingOptions(Table):
    """The table [training]."""

    seed: int = Field(1337, ge=0, lt=2**63, description="seed of every random draw")
    labelled_batch: int = Field(4, ge=1, le=4096, description="labelled items per step")
    unlabelled_batch: int = Field(
        4, ge=0, le=4096, description="unlabelled items per step, in stages that use them"
    )
    learning_rate: float = Field(0.01, gt=0, description="SGD's learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD's momentum")
    weight_decay: float = Field(1e-4, ge=0, description="SGD's weight decay, on all weights")
    schedule: Literal["constant", "step", "polynomial"] = Field(
        "constant",
        description="step: multiply by decay_factor every decay_every steps; "
        "polynomial: (1 - t/T)^decay_power",
    )
    decay_after: int = Field(
        0, ge=0, description="steps at the full rate before the schedule's counter starts"
    )
    decay_every: int = Field(2500, ge=1, description="steps between drops of the step schedule")
    decay_factor: float = Field(
        0.1, gt=0, le=1, description="factor of each drop of the step schedule"
    )
    decay_power: float = Field(0.9, gt=0, description="power of the polynomial schedule")
    selection: Literal["last", "validation", "test"] = Field(
        "last", description="checkpoint that is the result; stated in every output"
    )
    evaluate_every: int = Field(
        200,
        ge=1,
        description="steps between scorings of the validation cases, counted per stage; "
        "the last step of a stage is scored too",
    )
    checkpoint_every: float = Field(
        60.0, ge=0, description="seconds between checkpoints; 0: after every step"
    )
    log_every: int = Field(20, ge=1, description="steps between rows of the journal")
    picture_every: int = Field(
        1000,
        ge=1,
        description="steps between pictures of a batch; "
        "the first batch of each stage is always drawn",
    )
    precision: Literal["auto", "float32", "bf16"] = Field(
        "auto",
        description="auto: the faster one in a quick measurement, or the choice of an earlier run "
        "next to this one with the same data, device, patch and network",
    )
    compile: Literal["auto", "graphs", False] = Field(
        "auto",
        description="graphs: record the networks' passes as CUDA graphs and replay them; "
        "auto: graphs on a GPU if the method allows it, one process trains "
        "and deterministic is false, else false",
    )
    parallel: Literal["auto", "views", "off"] = Field(
        "auto",
        description="views: run networks that do not depend on each other at the same time "
        "on a CPU (cml, cps); the rounding and the draws of dropout differ from off; "
        "auto: views if a quick measurement says it is faster by a fifth",
    )
    device: str = Field("auto", description="auto (CUDA, else CPU), cpu, cuda, cuda:1 ..., mps")
    deterministic: bool = Field(
        False, description="use deterministic kernels on CUDA too; this costs speed"
    )
    workers: int = Field(
        1,
        ge=0,
        le=1024,
        description="threads that prepare batches ahead; does not affect the result",
    )

    @field_validator("compile", mode="before")
    @classmethod
    def _compile(cls, value: object) -> object:
        if value is True:
            raise ValueError("auto, graphs or false; torch.compile was slower on CPU and GPU")
        return value

    @model_validator(mode="before")
    @classmethod
    def _former(cls, table: Any) -> Any:
        if isinstance(table, Mapping) and "memory_gb" in table:
            raise ValueError(
                "the key 'memory_gb' no longer exists: remove it; prepared volumes are mapped "
                "from disk, and the operating system keeps them in memory as long as it can"
            )
        return table


CHANGEABLE_ON_RESUME = (
    "device",
    "checkpoint_every",
    "evaluate_every",
    "log_every",
    "picture_every",
    "workers",
)


MEASURED = ("precision", "compile", "parallel")
"""Keys of [training] that a request may leave at "auto". A run's own recipe holds the value."""


def current(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored recipe's tables with [training] as this version reads it.

    Version 0.1 before its release had memory_gb, where volumes were kept, and compile = true, which
    compiled the networks by torch.compile. Neither changes what was trained. It had no parallel:
    networks ran one after the other.
    """
    tables = dict(recipe)
    if isinstance(training := tables.get("training"), Mapping):
        tables["training"] = {"parallel": "off"} | {
            key: False if (key, value) == ("compile", True) else value
            for key, value in training.items()
            if key != "memory_gb"
        }
    return tables
