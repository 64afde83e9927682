"""Record of the model whose predictions a folder contains, so that models are never mixed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossview.errors import Problem, UserError
from crossview.files import write_text

FILE = "predicted-by.json"

Origin = Mapping[str, Any]
"""method, step, weights (a digest) and the keys of [inference] that affect the result."""


def origin_of(
    method: str, step: int, weights: Mapping[str, Tensor], inference: Mapping[str, Any]
) -> Origin:
    """Return the origin. weights: of the checkpoint. inference: the recipe's table."""
    digest = sha256()
    for name, value in weights.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    table = {key: value for key, value in inference.items() if key != "batch"}
    return {"method": method, "step": step, "weights": digest.hexdigest()[:16], "inference": table}


def note_origin(out: Path, origin: Origin) -> None:
    """Write the origin to the folder ``out``. OSError."""
    write_text(out / FILE, json.dumps(origin, indent=1) + "\n")


def check_origin(out: Path, origin: Origin) -> None:
    """Raise UserError if ``out`` records a different origin; pass if it records none."""
    try:
        noted = json.loads((out / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if noted != json.loads(json.dumps(origin)):
        fix = (
            "choose another --out, or add --overwrite to replace the predictions of the given scans"
        )
        raise UserError(
            Problem(
                "this folder already contains predictions of a different model",
                str(out),
                _told(noted),
                _told(origin),
                fix,
            )
        )


def _told(origin: Any) -> str:
    if not isinstance(origin, Mapping):
        return "an unreadable record"
    inference = origin.get("inference")
    how = (
        [f"{key} {value}" for key, value in inference.items()]
        if isinstance(inference, Mapping)
        else []
    )
    return ", ".join(
        [
            f"{origin.get('method')}, step {origin.get('step')}, weights {origin.get('weights')}",
            *how,
        ]
    )
