"""Predictions of plain arrays, and scans read as a model wants them."""

from crossview.data.io import ScanFiles, split_name
from crossview.data.sources.source import DataOptions
from crossview.inference.inputs import read_input
from crossview.inference.items import ArrayItem
from crossview.inference.outputs import Outputs


def read_scan(*files, name=None, channels=1, dimensions=(3,), **data):
    """Reads the files of a scan to predict it. data: keys of the table [data]."""
    table = {"sampling": "crop", "augmentation": "none", "patch": (8,) * dimensions[0]} | data
    options = DataOptions(source="folder", labelled=1, classes=2, **table)
    scan = ScanFiles(name or split_name(files[0].name)[0], files)
    return read_input(scan, options, channels, dimensions)


def write_scan(found, arrays, folder):
    """Writes the arrays of a prediction as ``crossview predict`` does."""
    maps = tuple(name for name in arrays if name != "label")
    found.write(arrays, Outputs(folder, maps).files(found.scan))


def predictions(predictor, images, shapes=None):
    """Yields the prediction of each array, on its own grid or on grids of ``shapes``."""
    items = (
        map(ArrayItem.on_own_grid, images)
        if shapes is None
        else (ArrayItem(*each) for each in zip(images, shapes, strict=True))
    )
    return (prediction for _, prediction in predictor.predict(items))
