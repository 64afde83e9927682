"""predicted-by.json: the model of each prediction in a folder.

The keys of the file itself are of the folder's first model. ``other_models`` lists models that
replaced single predictions later, each with its ``files``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossview.core.files import write_text
from crossview.core.parse import from_json

ORIGIN_FILE = "predicted-by.json"

OTHERS = "other_models"

Origin = Mapping[str, Any]
"""method, step, weights (a digest) and the keys of [inference] that affect the result; as JSON.

Of several models: method "ensemble", and ``models`` with the first three of each.
"""


@dataclass(frozen=True)
class Record:
    """The models of the predictions in a folder.

    Attributes:
        main: The model of every file that is not another's; None if nothing is recorded.
        others: Other models, each with the names of its files.
    """

    main: Any = None
    others: tuple[tuple[Origin, frozenset[str]], ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Return the record of a folder, without models if there is none that can be read."""
        try:
            content = from_json((folder / ORIGIN_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return cls()
        if not isinstance(content, dict) or not isinstance(content.get(OTHERS, []), list):
            return cls(content)
        others = [
            ({key: value for key, value in each.items() if key != "files"}, _names(each))
            for each in content.pop(OTHERS, [])
            if isinstance(each, dict)
        ]
        return cls(content, tuple(others))

    def of(self, file: str) -> Any:
        """Return the model of a file."""
        return next((origin for origin, files in self.others if file in files), self.main)

    def assign(self, file: str, origin: Origin) -> Record:
        """Return the record with a file of this model."""
        others = [(model, files - {file}) for model, files in self.others]
        if self.main is None:
            return Record(origin, _kept(others))
        if origin == self.main:
            return Record(self.main, _kept(others))
        for index, (model, files) in enumerate(others):
            if model == origin:
                others[index] = model, files | {file}
                return Record(self.main, _kept(others))
        return Record(self.main, (*_kept(others), (origin, frozenset({file}))))

    def lead(self, origin: Origin, files: Collection[str]) -> Record:
        """Return the record with this main model; ``files`` keep theirs until they are assigned."""
        record = Record(origin)
        for file in sorted(files):
            model = self.of(file)
            record = record.assign(file, model if isinstance(model, Mapping) else UNKNOWN)
        return record

    def write(self, folder: Path) -> None:
        """Write the record into its folder. OSError."""
        others = [{**origin, "files": sorted(files)} for origin, files in self.others]
        main = self.main if isinstance(self.main, Mapping) else UNKNOWN
        content = {**main, **({OTHERS: others} if others else {})}
        write_text(folder / ORIGIN_FILE, json.dumps(content, indent=1) + "\n")


UNKNOWN: Origin = {"method": "unknown"}


def _names(model: Mapping[str, Any]) -> frozenset[str]:
    files = model.get("files")
    return frozenset(map(str, files)) if isinstance(files, list) else frozenset()


def _kept(
    others: Collection[tuple[Origin, frozenset[str]]],
) -> tuple[tuple[Origin, frozenset[str]], ...]:
    return tuple((origin, files) for origin, files in others if files)


def origin_of(
    method: str, step: int, weights: Mapping[str, Tensor], inference: Mapping[str, Any]
) -> Origin:
    """Return the origin. weights: of the checkpoint. inference: the recipe's table."""
    # Folders of earlier versions say nothing of equal windows, and of small pieces that are kept.
    silent: dict[str, Any] = {"window": "uniform", "minimum_volume": []}
    silent["batch"] = inference.get("batch")
    table = {
        key: value for key, value in inference.items() if key not in silent or value != silent[key]
    }
    digest = weights_digest(weights)
    return {"method": method, "step": step, "weights": digest, "inference": table}


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return a digest of the names and values of weights."""
    digest = sha256()
    for name, value in weights.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def of_several(origins: Sequence[Origin]) -> Origin:
    """Return the origin of the mean of several models, which share their [inference]."""
    models = [{key: value for key, value in each.items() if key != "inference"} for each in origins]
    return {"method": "ensemble", "models": models, "inference": origins[0]["inference"]}


def described(origin: Any) -> str:
    """Return an origin in words."""
    if not isinstance(origin, Mapping):
        return "an unreadable record"
    models = origin.get("models")
    every = models if isinstance(models, list) else [origin]
    model = "; ".join(
        f"{each.get('method')}, step {each.get('step')}, weights {each.get('weights')}"
        for each in every
        if isinstance(each, Mapping)
    )
    if len(every) > 1:
        model = f"the mean of {len(every)} models ({model})"
    inference = origin.get("inference")
    options = inference.items() if isinstance(inference, Mapping) else ()
    return ", ".join([model, *(f"{key} {value}" for key, value in options)])
