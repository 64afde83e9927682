from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class TrainingOptions(BaseModel):
    """The table [training]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(1337, ge=0, lt=2**63, description="seed of every random draw")
    labelled_batch: int = Field(4, ge=1, description="labelled items per step")
    unlabelled_batch: int = Field(
        4, ge=0, description="unlabelled items per step, in stages that use them"
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
        "auto", description="auto: the faster one in a quick measurement"
    )
    compile: Literal["auto", "graphs"] | bool = Field(
        "auto",
        description="graphs: record the networks' passes as CUDA graphs and replay them; "
        "true: torch.compile; auto: graphs on a GPU if the method allows it, one process trains "
        "and deterministic is false, else false",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 ...")
    deterministic: bool = Field(
        False, description="use deterministic kernels on CUDA too; this costs speed"
    )
    workers: int = Field(
        1, ge=0, description="threads that prepare batches ahead; does not affect the result"
    )
    memory_gb: float | Literal["auto"] = Field(
        "auto",
        description="memory for the prepared training volumes, in GB (10^9 bytes); "
        "volumes beyond it are kept in an unnamed file on the run folder's disk; 0: all of them; "
        "auto: half of the available memory; does not affect the result",
    )

    @field_validator("memory_gb", mode="plain")
    @classmethod
    def _memory(cls, value: object) -> float | Literal["auto"]:
        if value == "auto":
            return "auto"
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and 0 <= value < float("inf")
        ):
            return float(value)
        raise ValueError("auto, or a number of GB, 0 or more")


CHANGEABLE_ON_RESUME = (
    "device",
    "checkpoint_every",
    "evaluate_every",
    "log_every",
    "picture_every",
    "workers",
    "memory_gb",
)


MEASURED = ("precision", "compile")
"""Keys of [training] that a request may leave at "auto". A run's own recipe holds the value."""
