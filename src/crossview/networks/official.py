"""Weights of the official CML release, converted to a pair of views.

The release (SongwuJob/CML@1229a71) saves both networks in one state dict. Its names and ours, for
a view v:

    V-Net    encoder<v>.block_one, block_two, ... block_five         first, encoder.0 ... encoder.3
             encoder<v>.block_one_dw ... block_four_dw               down.0 ... down.3
             decoder<v>.block_five_up ... block_eight_up             up.0 ... up.3
             decoder<v>.block_six ... block_nine                     decoder.0 ... decoder.3
             decoder<v>.out_conv                                     last
    U-Net    encoder<v>.in_conv, down1 ... down4                     encoder.0 ... encoder.4
             decoder<v>.up1.up or .conv1x1, ... up4                  up.0 ... up.3
             decoder<v>.up1.conv, ... up4                            decoder.0 ... decoder.3
             decoder<v>.out_conv                                     last

V-Net: view 1 upsamples by transposed convolution, view 2 linearly. U-Net: the other way round. The
U-Net as released has one ``encoder`` and uses only ``decoder1``, so both its views are one network.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from crossview.core.errors import Problem, raise_all

Keys = dict[str, str]
"""Map from a tensor's official name to our name, within one view."""


State = dict[str, Tensor]


_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


_LEVELS = 5


_COUNTER = "num_batches_tracked"


def official_vnet_keys(view: int) -> Keys:
    """Return the names of one view of an official V-Net, with the counters of batch norm.

    view: 1 (transposed) or 2 (linear).
    """
    encoder, decoder = f"encoder{view}.block_", f"decoder{view}.block_"
    keys: Keys = {}
    for level in range(_LEVELS):
        for unit in range(min(level + 1, 3)):
            ours = f"encoder.{level - 1}.{unit}" if level else "first"
            keys |= _unit(f"{encoder}{_NUMBERS[level]}.conv", 3 * unit, ours)
    for level in range(_LEVELS - 1):
        keys |= _unit(f"{encoder}{_NUMBERS[level]}_dw.conv", 0, f"down.{level}")
    # Position 0 of linear upsampling is the interpolation itself.
    position = 0 if view == 1 else 1
    for stage in range(_LEVELS - 1):
        keys |= _unit(f"{decoder}{_NUMBERS[stage + 4]}_up.conv", position, f"up.{stage}")
        for unit in range(min(_LEVELS - 1 - stage, 3)):
            keys |= _unit(
                f"{decoder}{_NUMBERS[stage + 5]}.conv", 3 * unit, f"decoder.{stage}.{unit}"
            )
    return keys | _weight_and_bias(f"decoder{view}.out_conv", "last")


def official_unet_keys(encoder: str, decoder: str, transposed: bool) -> Keys:
    """Return the names of one view of an official U-Net with parts ``encoder`` and ``decoder``."""
    keys: Keys = {}
    for level in range(_LEVELS):
        theirs = (
            f"{encoder}.down{level}.maxpool_conv.1.conv_conv"
            if level
            else f"{encoder}.in_conv.conv_conv"
        )
        keys |= _block(theirs, f"encoder.{level}")
    for stage in range(_LEVELS - 1):
        theirs = f"{decoder}.up{stage + 1}"
        keys |= _weight_and_bias(
            f"{theirs}.up" if transposed else f"{theirs}.conv1x1", f"up.{stage}.convolution"
        )
        keys |= _block(f"{theirs}.conv.conv_conv", f"decoder.{stage}")
    return keys | _weight_and_bias(f"{decoder}.out_conv", "last")


def from_official_vnet(state: Mapping[str, Tensor]) -> tuple[State, State]:
    """Convert the state dict of an official V-Net, the network for LA.

    Args:
        state: State dict with the release's names.

    Returns:
        State dicts of view 1 (upsample = "transposed") and view 2 ("linear").

    Raises:
        UserError: If names are missing or unexpected; with these names.
    """
    return _rename(state, official_vnet_keys(1), official_vnet_keys(2))


def from_official_unet(state: Mapping[str, Tensor], shared: bool) -> tuple[State, State]:
    """Convert the state dict of an official U-Net, the network for ACDC.

    Args:
        state: State dict with the release's names.
        shared: True for the class as released, whose views are one network: both are ``encoder``
            with ``decoder1`` (linear), and the unused ``decoder2`` is skipped. False for two
            independent pairs encoder1, decoder1 and encoder2, decoder2.

    Returns:
        State dicts of view 1 (upsample = "linear") and view 2 ("transposed"); for ``shared`` both
        are linear.

    Raises:
        UserError: If names are missing or unexpected; with these names.
    """
    if shared:
        keys = official_unet_keys("encoder", "decoder1", transposed=False)
        unused = official_unet_keys("encoder", "decoder2", transposed=True)
        used = {
            name: tensor for name, tensor in state.items() if name in keys or name not in unused
        }
        return _rename(used, keys, keys)
    return _rename(
        state,
        official_unet_keys("encoder1", "decoder1", transposed=False),
        official_unet_keys("encoder2", "decoder2", transposed=True),
    )


def _rename(state: Mapping[str, Tensor], keys1: Keys, keys2: Keys) -> tuple[State, State]:
    known = keys1 | keys2
    # Old checkpoints have no counters, and nothing depends on them.
    missing = [name for name in known if name not in state and not name.endswith(_COUNTER)]
    unexpected = [name for name in state if name not in known]
    what = "these are not the weights of an official CML network"
    problems = [
        Problem(f"{what}: {why}", "weights", _few(found), _few(expected))
        for wrong, why, found, expected in (
            (missing, "names are missing", sorted(state), missing),
            (unexpected, "some names are unknown", unexpected, list(known)),
        )
        if wrong
    ]
    raise_all(problems)
    view1, view2 = (
        {ours: state[theirs] for theirs, ours in keys.items() if theirs in state}
        for keys in (keys1, keys2)
    )
    return view1, view2


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 5 else shown or "nothing"


def _weight_and_bias(theirs: str, ours: str) -> Keys:
    return {f"{theirs}.{part}": f"{ours}.{part}" for part in ("weight", "bias")}


def _norm(theirs: str, ours: str) -> Keys:
    return _weight_and_bias(theirs, ours) | {
        f"{theirs}.{part}": f"{ours}.{part}" for part in ("running_mean", "running_var", _COUNTER)
    }


def _unit(theirs: str, position: int, ours: str) -> Keys:
    """Return the names of a V-Net unit: the release's layers hold convolution, then norm."""
    return _weight_and_bias(f"{theirs}.{position}", f"{ours}.convolution") | _norm(
        f"{theirs}.{position + 1}", f"{ours}.norm"
    )


def _block(theirs: str, ours: str) -> Keys:
    """Return the names of a U-Net block.

    Its sequence is convolution 0, norm 1, activation, dropout, convolution 4, norm 5.
    """
    keys: Keys = {}
    for position, number in ((0, 1), (4, 2)):
        keys |= _weight_and_bias(f"{theirs}.{position}", f"{ours}.convolution{number}")
        keys |= _norm(f"{theirs}.{position + 1}", f"{ours}.norm{number}")
    return keys
