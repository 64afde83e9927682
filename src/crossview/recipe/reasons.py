"""Reasons of a plan that are the same for all data."""

MILD = (
    "small rotations, scaling, intensity changes and noise; scans share one orientation, so turns "
    "by 90 degrees would show images that never occur"
)

STRONG = (
    "large turns, changes of size, bends and poorer images: they keep a student from copying the "
    "mistakes of the model whose predictions it learns"
)

WIDER = "a student should be wider than the model whose predictions it learns"

Z_SCORE = (
    "intensities have no absolute scale: each scan is clipped to its 0.5th and 99.5th percentile "
    "and scaled by its own mean and standard deviation"
)

UNPADDED = ", all without its constant border, which is neither trained on nor predicted"

WHOLE = (
    "; with its constant border, if it has one, because in a labelled scan foreground is labelled "
    "there"
)

NUMBERS = (
    "per channel, 0.5th and 99.5th percentile, mean and standard deviation of the labelled "
    "foreground"
)

GREY = "the images stored in colour have three equal channels"

READY = (
    "the labelled stage runs on until each network reaches this Dice for each class; "
    "a network that misses a class would teach the others nothing about it"
)

FEW_STEPS = (
    "the labelled stage may take most of them, and pseudo-labels of networks that have just found "
    "a class may do harm, so compare with method.name=supervised (docs/explanation/cml.md)"
)

OURS = {
    "training.learning_rate": (
        "ten times the published 0.01: chosen for short runs, which have no time for 0.01. Tuned "
        "on phantoms (docs/explanation/cml.md), not on your scans"
    ),
    "method.discrepancy_weight": (
        "a quarter of the 0.2 published for LA (ACDC: 0.1), tuned together with the rate on the "
        "same phantoms; its effect alone has not been measured"
    ),
}
"""Reasons for shipped numbers of setting "folder" that are not the published ones."""
