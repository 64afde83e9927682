"""Keys that make the published settings small enough for a test: one filter, short sides."""

SMALL_3D = (
    "network.filters=1",
    "data.patch=[32,32,32]",
    "training.labelled_batch=2",
    "training.unlabelled_batch=2",
)
SMALL_2D = (
    "network.filters=1",
    "data.patch=[32,32]",
    "inference.stride=[32,32]",
    "training.labelled_batch=4",
    "training.unlabelled_batch=4",
)
