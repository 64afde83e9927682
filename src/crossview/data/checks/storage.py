"""Rules for image files of one set that store their pixels in different ways."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence

from crossview.core.errors import Problem
from crossview.core.text import first_few
from crossview.data.checks.case import CaseFacts
from crossview.data.checks.findings import Finding, about
from crossview.data.io.storage import Storage

BLACK_AND_WHITE = {(0, 0, 0), (255, 255, 255)}

FEW_BITS = ("2-bit", "4-bit")

SHOWN_AS = {False: "0 is black", True: "0 is white"}


def findings(every: Sequence[CaseFacts], where: str, highest: int) -> list[Finding]:
    """Return the findings about number types, palettes and the meaning of 0 in image files.

    highest: Highest class number of the labels that are maps of classes.
    """
    images = [fact for fact in every if fact.storage]
    masks = [fact for fact in every if fact.label_storage]
    return [
        *_unlike(images, "image", lambda stored: stored.inverted, SHOWN_AS.__getitem__),
        *_unlike(images, "image", lambda stored: stored.numbers, str),
        *_inverted_masks(masks),
        *_mask_bits(masks),
        *_white_masks(masks, highest),
        *_palettes(masks, where),
        *_white_background(masks),
    ]


def _unlike(
    images: Sequence[CaseFacts],
    noun: str,
    property_of: Callable[[Storage], Hashable],
    shown: Callable[..., str],
) -> list[Finding]:
    """Warn of images whose property is not that of most."""

    def value(fact: CaseFacts) -> Hashable:
        return property_of(fact.storage) if fact.storage else None

    counts = Counter(map(value, images))
    if len(counts) < 2:
        return []
    usual = counts.most_common(1)[0][0]
    return about(
        "warning",
        [fact for fact in images if value(fact) != usual],
        f"{noun} stores|{noun}s store",
        "intensities in another way than the others",
        shown=lambda fact: shown(value(fact)),
        expected=f"{shown(usual)}, as in most images",
        fix="values are read as stored: save all images in one way, or ignore this if the same "
        "tissue has the same values in all of them",
    )


def _inverted_masks(masks: Sequence[CaseFacts]) -> list[Finding]:
    odd = [fact for fact in masks if fact.label_storage and fact.label_storage.inverted]
    return about(
        "warning",
        odd,
        "mask says|masks say",
        "that 0 is white (TIFF photometric 0); values count as stored, so a structure shown in "
        "black is a class",
        shown=lambda fact: f"{_share(fact):.2g} % of the pixels are above 0",
        expected="values above 0 where the structures are",
        fix="check one mask: if class 1 is the surroundings of the structure, invert the values",
    )


def _share(fact: CaseFacts) -> float:
    above = sum(count for value, count in fact.label_counts.items() if value)
    return 100 * above / (sum(fact.label_counts.values()) or 1)


def _mask_bits(masks: Sequence[CaseFacts]) -> list[Finding]:
    """Warn of grey masks with 2 or 4 bits among others: programs that shrink files make them."""

    def bits(fact: CaseFacts) -> str:
        stored = fact.label_storage
        return "" if stored is None or stored.palette else stored.numbers

    if len({bits(fact) for fact in masks} - {"", "1-bit"}) < 2:
        return []
    return about(
        "warning",
        [fact for fact in masks if bits(fact) in FEW_BITS],
        "mask has|masks have",
        "fewer bits than others",
        shown=lambda fact: f"{bits(fact)}, values {', '.join(map(str, fact.label_counts))}",
        expected="one number of bits, or the same class numbers in all masks",
        fix="values are read as stored: check that a class has the same number in all masks",
    )


def _white_masks(masks: Sequence[CaseFacts], highest: int) -> list[Finding]:
    """Warn of masks of 0 and 255, read as class 1, among masks that number several classes."""
    odd = [fact for fact in masks if fact.label_storage and fact.label_storage.white]
    return about(
        "warning",
        [fact for fact in odd if highest > 1 and 1 in fact.label_counts],
        "mask holds|masks hold",
        "only 0 and 255, which is read as class 1, where others number the classes",
        expected=f"class numbers up to {highest}",
        fix="save these masks with class numbers; if 255 marks pixels that nobody labelled, write "
        "ignore = 255 in split.toml",
    )


def _palettes(masks: Sequence[CaseFacts], where: str) -> list[Finding]:
    """Find classes whose colour is not the same in the palettes of all masks."""
    colours: dict[int, dict[tuple[int, int, int], list[str]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for fact in masks:
        palette = _coloured(fact)
        for value in fact.label_counts:
            if value < len(palette):
                colours[value][palette[value]].append(fact.case.id)
    differing = {value: by_colour for value, by_colour in colours.items() if len(by_colour) > 1}
    if not differing:
        return []
    value, by_colour = min(differing.items())
    found = first_few(
        [f"{', '.join(map(str, colour))} in {names[0]}" for colour, names in by_colour.items()]
    )
    problem = Problem(
        "the palettes of the masks differ: a class has another colour in another mask",
        where,
        f"entry {value} is {found}",
        "one palette for all masks: entries are class numbers",
        "save all masks with the same palette, or as grey images of class numbers",
    )
    names = {name for by_colour in differing.values() for of in by_colour.values() for name in of}
    return [Finding("error", problem, tuple(sorted(names)))]


def _white_background(masks: Sequence[CaseFacts]) -> list[Finding]:
    """Warn of palettes whose entry 0, the background, is white and a class is black."""
    odd = []
    for fact in masks:
        palette = _coloured(fact)
        used = {palette[value] for value in fact.label_counts if 0 < value < len(palette)}
        if palette[:1] == ((255, 255, 255),) and (0, 0, 0) in used:
            odd.append(fact)
    return about(
        "warning",
        odd,
        "mask has|masks have",
        "a palette whose entry 0, the background, is white, and a class in black",
        expected="entry 0 for the background",
        fix="ignore this if black is a structure; else save the masks as grey images of class "
        "numbers",
    )


def _coloured(fact: CaseFacts) -> tuple[tuple[int, int, int], ...]:
    """Return the palette of a mask whose entries are class numbers, else ()."""
    palette = fact.label_storage.palette if fact.label_storage else ()
    return () if {*palette} == BLACK_AND_WHITE else palette
