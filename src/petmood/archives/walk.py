"""The members of an archive whose directory is lost, from the header before each of them, as far as they go."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Iterator

import numpy as np

from petmood.archives.table import DEFLATED, ELSEWHERE, FAR, HEAD, LOCAL, MEMBER, STORED, Content, Table, zip64

_HEAD = struct.Struct("<4s5H3L2H")
#: Bytes that are looked through at once.
_STEP = 1 << 20
#: What may follow a member whose header does not tell its size: its sizes, or what comes next.
_AFTER = re.compile(rb"PK(?:\x07\x08|\x03\x04|\x01\x02)")
#: Longer members whose headers do not tell their size are given up.
_FURTHEST = 256 << 20
#: Versions of the format that exist so far, times ten.
_NEWEST = 63


@dataclasses.dataclass(frozen=True)
class _Head:
    """A local header, and what of its member it tells."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    data: int
    """Where the member's bytes begin."""


def walk(content: Content, damage: str) -> Table:
    """All members that have a local header; damaged stretches are passed over.

    Raises:
        OSError: the archive cannot be read.
    """
    rows: list[tuple[int, ...]] = []
    names = bytearray()
    at: int | None = _next_head(content, 0)
    while at is not None:
        head = _head(content, at)
        if head is None:
            at = _next_head(content, at + 4)
            continue
        head, behind = _measured(content, head)
        rows.append(
            (at, head.packed, head.size, len(names), head.crc, head.method, head.flags, 0, len(head.name))  # in MEMBER
        )
        names += head.name
        told_behind = head.flags & 8
        at = behind if content.at(behind, 4) == LOCAL else _next_head(content, behind if told_behind else head.data)
    return Table(np.array(rows, MEMBER), bytes(names), damage)


def _head(content: Content, at: int) -> _Head | None:
    """The local header at an offset; None if what is there makes no sense as one."""
    fixed = content.at(at, HEAD)
    if len(fixed) < HEAD:
        return None
    signature, version, flags, method, _, _, crc, packed, size, name_length, extra_length = _HEAD.unpack(fixed)
    if signature != LOCAL or version & 0xFF > _NEWEST or not name_length:
        return None
    texts = content.at(at + HEAD, name_length + extra_length)
    if len(texts) < name_length + extra_length:
        return None
    if ELSEWHERE in (packed, size):
        size, packed = [*zip64(texts[name_length:], 2), size, packed][:2]
    data = at + HEAD + name_length + extra_length
    return _Head(texts[:name_length], flags, method, crc, packed, size, data)


def _measured(content: Content, head: _Head) -> tuple[_Head, int]:
    """The header with the member's sizes, which may stand behind the member, and where the next one should begin."""
    if head.flags & 8 == 0 or head.packed or head.name.endswith(b"/"):
        return head, head.data + head.packed
    if head.method not in (STORED, DEFLATED):
        return head, head.data
    for at in _marks(content, head.data):
        for form, told_at in (("<3L", at + 4), ("<L2Q", at + 4), ("<3L", at - 12), ("<L2Q", at - 20)):
            length = struct.calcsize(form)
            told = content.at(told_at, length)
            if len(told) < length:
                continue
            crc, packed, size = struct.unpack(form, told)
            if head.data + packed == min(at, told_at):
                return dataclasses.replace(head, crc=crc, packed=packed, size=min(size, FAR)), told_at + length
    return dataclasses.replace(head, packed=content.size - head.data), head.data  # cut off, or damaged


def _marks(content: Content, start: int) -> Iterator[int]:
    """Where a member's end may be."""
    for at in range(start, min(content.size, start + _FURTHEST), _STEP):
        yield from (at + match.start() for match in _AFTER.finditer(content.at(at, _STEP + 3)))


def _next_head(content: Content, start: int) -> int | None:
    """Where the next local header begins, or None."""
    for at in range(start, content.size, _STEP):
        found = content.at(at, _STEP + 3).find(LOCAL)
        if found >= 0:
            return at + found
    return None
