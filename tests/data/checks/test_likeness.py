"""The signatures of an image: the same for one scan however it is saved, and for no other."""

import numpy as np
import pytest

from crossview.data.checks.likeness import (
    NONE,
    SCREENED,
    Known,
    Likeness,
    alike,
    in_one_order,
    likeness,
    reversed_share,
    without_margin,
)

RANDOM = np.random.default_rng(0)


def scan(seed=0, shape=(20, 18, 12)):
    """A bright ball in noise, (1, *shape), whole numbers up to 4,000."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij"))
    values = 1000 + 1000 * ((grid**2).sum(0) < 0.5) + random.normal(0, 150, shape)
    return values.clip(0, 4000).round()[None].astype(np.float32)


SCAN = scan()


def to_bytes(image):
    return (image / image.max() * 255).round()


def clipped(image):
    low, high = np.percentile(image, (0.5, 99.5))
    return ((image.clip(low, high) - low) / (high - low) * 255).round()


def equalised(image):
    return np.searchsorted(np.sort(image, axis=None), image) / image.size


def standardised(image):
    return (image - image.mean()) / image.std()


@pytest.mark.parametrize("change", [to_bytes, clipped, equalised, standardised])
@pytest.mark.parametrize("shape", [(20, 18, 12), (64, 48)])
def test_a_monotone_change_of_intensities_is_seen_through(change, shape):
    image = scan(shape=shape)
    again = change(image).astype(np.float32)
    assert not np.array_equal(again, image)
    one, other = likeness(image).ranks[0], likeness(again).ranks[0]
    assert (reversed_share(one, other), in_one_order(one, other)) == (0, True)
    assert alike([likeness(image), likeness(scan(1, shape)), likeness(again)]) == [(0, 2)]


@pytest.mark.parametrize("value", [0.0, -1024.0])
def test_a_constant_margin_is_left_out(value):
    padded = np.pad(SCAN, ((0, 0), (3, 4), (0, 9), (2, 2)), constant_values=value)
    np.testing.assert_array_equal(without_margin(padded), SCAN)
    assert alike([likeness(SCAN), likeness(to_bytes(SCAN)), likeness(padded)]) == [
        (0, 1),
        (0, 2),
        (1, 2),
    ]


def test_an_added_slice_and_lost_ones_are_seen_through():
    """dcm2niix adds a copy with even slices where a series lacks one: the new one is a mean."""
    mean = ((SCAN[..., 5] + SCAN[..., 6]) / 2).round()
    even = np.insert(SCAN, 6, mean, axis=-1)
    assert alike([likeness(SCAN), likeness(even)]) == [(0, 1)]
    assert alike([likeness(SCAN), likeness(SCAN[..., 3:])]) == [(0, 1)]
    assert alike([likeness(SCAN), likeness(SCAN[..., :2])]) == []


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_an_added_slice_is_seen_through_whichever_side_is_shortest(axis):
    """The slice that is added can make another side the shortest."""
    cube = np.random.default_rng(3).normal(500, 90, (1, 12, 12, 12)).astype(np.float32)
    lacking = np.delete(cube, 6, axis)
    pair = [likeness(lacking), likeness(cube)]
    assert alike(pair) == [(0, 1)]
    assert Known({"lacking": pair[0]}).showing(pair[1]) == ["lacking"]


def test_scans_of_one_shape_with_other_noise_are_not_alike():
    assert alike([likeness(scan(seed)) for seed in range(6)]) == []


def test_of_noise_half_of_the_neighbours_are_reversed():
    one, other = (
        likeness(np.random.default_rng(seed).normal(size=(1, 90, 90)).astype(np.float32)).ranks[0]
        for seed in range(2)
    )
    assert reversed_share(one, other) == pytest.approx(0.5, abs=0.05)
    assert not in_one_order(one, other)


def test_smooth_scans_without_noise_that_differ_in_a_spot_are_not_alike():
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 32)] * 3, indexing="ij"))
    smooth = -(grid**2).sum(0)[None].astype(np.float32)
    spots = [smooth.copy() for _ in range(4)]
    for number, spot in enumerate(spots):
        spot[0, 6 * number : 6 * number + 5, 10:15, 8:13] += 1
    assert alike([likeness(image) for image in spots]) == []


def test_flat_and_tiny_images_are_not_compared():
    flat, square = np.zeros((1, 30, 30), np.float32), np.zeros((1, 30, 30), np.float32)
    square[0, 10:14, 10:14] = 1
    tiny = RANDOM.normal(size=(1, 5, 5)).astype(np.float32)
    every = [flat, flat, square, square + 1, tiny, tiny]
    assert alike([likeness(image) for image in every]) == []
    assert without_margin(flat).shape == flat.shape


def test_every_channel_counts():
    one, two = np.concatenate([SCAN, scan(1)]), np.concatenate([SCAN, scan(2)])
    assert alike([likeness(one), likeness(two)]) == []
    assert alike([likeness(one), likeness(to_bytes(one))]) == [(0, 1)]


def test_stored_signatures_know_a_scan_again():
    padded = np.pad(SCAN, ((0, 0), (3, 4), (0, 9), (2, 2)))
    images = {"padded": padded, "other": scan(1), "flat": np.zeros((1, 9, 9, 9), np.float32)}
    texts = {name: likeness(image).as_text() for name, image in images.items()}
    assert len(texts["padded"]) < 12 * SCREENED
    known = Known({name: Likeness.from_text(text) for name, text in texts.items()})
    assert known.showing(likeness(to_bytes(SCAN).astype(np.float32))) == ["padded"]
    assert known.showing(likeness(SCAN[..., 2:-2])) == ["padded"]  # by its slices
    assert known.showing(likeness(scan(2))) == []
    assert known.showing(NONE) == Known({}).showing(likeness(SCAN)) == []


@pytest.mark.parametrize("text", ["", "no base64", "AAAA", "/w==", "AQ=="])
def test_damaged_signatures_are_none(text):
    found = Likeness.from_text(text)
    assert (len(found.ranks), Known({"a": found}).showing(likeness(SCAN))) == (0, [])


def test_known_images_follow_the_rule_of_the_check():
    images = [scan(seed % 4)[:, :, :, : 12 - seed // 4] for seed in range(8)]
    images += [to_bytes(images[3]).astype(np.float32), scan(9, (64, 48))]
    signatures = [likeness(image) for image in images]
    known = Known({str(place): each for place, each in enumerate(signatures)})
    found = {
        (min(place, int(name)), max(place, int(name)))
        for place, each in enumerate(signatures)
        for name in known.showing(each)
        if int(name) != place
    }
    assert found == set(alike(signatures))
    assert (3, 8) in found
