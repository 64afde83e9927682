"""Changed copies of files: a few bytes of any file, a node of a JSON or TOML file, a gzip's inside.

Each copy is a function of the generator alone.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

import tomli_w

VALUES = (0, 1, 127, 128, 255)
"""Bytes to write: the ends of the number types, and what is next to them."""

STRANGE: tuple[Any, ...] = (
    *(None, True, [], {}, "", "x", "../../etc", "<script>", "\0", "9" * 5000),
    *(0, -1, 1.5, 2**31, 2**63, 2**64, 1e308, float("nan"), float("inf"), [[[[]]]], {"": {}}),
)
"""Values in place of a node of a JSON or TOML file."""

DEEP = 3000
"""Nested lists in some files: more than Python's readers can follow."""


def changed_bytes(content: bytes, generator: Random, end: int = 0) -> bytes:
    """Return the bytes with one to eight changes before ``end``: bits, values, cuts, additions."""
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 8))):
        at = generator.randrange(max(1, min(end or len(changed), len(changed))))
        kind = generator.random()
        if kind < 0.5 and changed:
            changed[at] ^= 1 << generator.randrange(8)
        elif kind < 0.85:
            width = generator.choice((1, 2, 4, 8))
            changed[at : at + width] = bytes([generator.choice(VALUES)]) * width
        elif kind < 0.92:
            del changed[at : at + generator.randrange(1, 9)]
        elif kind < 0.97:
            changed[at:at] = generator.randbytes(generator.randrange(1, 9))
        else:
            del changed[at:]
    return bytes(changed)


def changed_gzip(content: bytes, generator: Random, end: int = 0) -> bytes:
    """Change the bytes inside a gzip file and pack them again, or those of the packed file."""
    if generator.random() < 0.3:
        return changed_bytes(content, generator)
    return gzip.compress(changed_bytes(gzip.decompress(content), generator, end), 1)


def changed_zip(content: bytes, generator: Random) -> bytes:
    """Change one file in a zip file and pack all again, or change the bytes of the zip file."""
    if generator.random() < 0.5:
        return changed_bytes(content, generator)
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        names = old.namelist()
        chosen = generator.choice(names)
        for name in names:
            data = old.read(name)
            # The time of a member is that of 1980, so that a copy follows the seed alone.
            member = zipfile.ZipInfo(name)
            new.writestr(member, changed_bytes(data, generator) if name == chosen else data)
    return packed.getvalue()


def changed_png(content: bytes, generator: Random) -> bytes:
    """Change the bytes of a PNG; in most copies the checksums are right again.

    Without that, nearly every copy would be refused by its checksum alone.
    """
    changed = changed_bytes(content, generator)
    if generator.random() < 0.2:
        return changed
    at, parts = 8, [changed[:8]]
    while at + 12 <= len(changed):
        size = struct.unpack(">I", changed[at : at + 4])[0]
        body = changed[at + 4 : at + 8 + size]
        parts.append(changed[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + size
    return b"".join(parts) + changed[at:]


def changed_json(content: bytes, generator: Random) -> bytes:
    """Replace, remove or repeat nodes of a JSON file, or change its bytes."""
    if generator.random() < 0.3:
        return changed_bytes(content, generator)
    if generator.random() < 0.01:
        return b"[" * DEEP + b"]" * DEEP
    return json.dumps(_changed_nodes(json.loads(content), generator)).encode()


def changed_toml(content: bytes, generator: Random) -> bytes:
    """Replace, remove or repeat nodes of a TOML file, or change its bytes."""
    if generator.random() < 0.3:
        return changed_bytes(content, generator)
    if generator.random() < 0.01:
        return b"a = " + b"[" * DEEP + b"]" * DEEP
    try:
        return tomli_w.dumps(_changed_nodes(tomllib.loads(content.decode()), generator)).encode()
    except (TypeError, AttributeError):  # null, or no table at the top
        return changed_bytes(content, generator)


def changed_lines(content: bytes, generator: Random) -> bytes:
    """Change one line of JSON Lines as JSON, or the bytes of the file."""
    lines = content.splitlines()
    if not lines or generator.random() < 0.3:
        return changed_bytes(content, generator)
    at = generator.randrange(len(lines))
    lines[at] = changed_json(lines[at], generator)
    return b"\n".join(lines) + b"\n"


def _changed_nodes(tree: Any, generator: Random) -> Any:
    for _ in range(generator.choice((1, 1, 2, 4))):
        places = list(_places(tree))
        if not places:
            return deepcopy(generator.choice(STRANGE))
        parent, key = generator.choice(places)
        kind = generator.random()
        if kind < 0.7:
            parent[key] = deepcopy(generator.choice(STRANGE))
        elif kind < 0.85:
            del parent[key]
        elif isinstance(parent, list):
            parent.append(deepcopy(parent[key]))
        else:
            parent[f"{key}2"] = deepcopy(parent[key])
    return tree


def _places(tree: Any) -> Any:
    """Yield every (parent, key) of a tree of lists and dicts."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


Change = Callable[[bytes, Random], bytes]
