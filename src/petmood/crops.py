"""Crops on disk: uncompressed tar parts that any tar or webdataset reader opens, and random access by memory map."""

from __future__ import annotations

import hashlib
import io
import itertools
import mmap
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from petmood.errors import UserError
from petmood.media import decode
from petmood.pictures import Pixels
from petmood.settings import fingerprint
from petmood.workspace import Workspace, read_table, replacing

#: One row a crop (``crops/crops.parquet``), in the order of ``frames.parquet``.
CROP_SCHEMA: dict[str, pl.DataType] = {
    "frame_id": pl.String(),
    "part": pl.String(),  # file name of the tar
    "offset": pl.Int64(),  # of the JPEG's first byte in the part
    "size": pl.Int64(),  # bytes
    "width": pl.Int32(),
    "height": pl.Int32(),
    "hash": pl.UInt64(),  # difference hash, 64 bits: near-copies differ in few of them
    "sharpness": pl.Float32(),  # variance of the Laplacian of the grey crop at half size; higher is sharper
    "damaged": pl.Boolean(),  # the decoder repaired something
    "stamp": pl.UInt64(),  # of what it was made from: the picture file, the box, the way of cutting
}


def crops_state(workspace: Workspace) -> str:
    """Sixteen hex digits of what the crops are: pack's mark, and size and hash of each (`pack --force` changes some).

    Raises:
        UserError: nothing is packed.
    """
    made_from = workspace.require("pack")["made_from"]
    table = read_table(workspace.crops / "crops.parquet", columns=("frame_id", "size", "hash"))
    if table.is_empty():
        raise UserError(f"work folder {workspace.root} has no crops.", hint="see why in rejects.parquet")
    digest = hashlib.sha256("\n".join(table["frame_id"].to_list()).encode())
    digest.update(table["size"].to_numpy().tobytes())
    digest.update(table["hash"].to_numpy().tobytes())
    return fingerprint(made_from, digest.hexdigest())


class PartWriter:
    """Appends JPEGs to one tar part; the same crops in the same order give the same bytes."""

    def __init__(self, tar: tarfile.TarFile, file: io.BufferedWriter) -> None:
        self._tar = tar
        self._file = file

    def add(self, name: str, jpeg: bytes) -> int:
        """Append one file; returns the offset of its first byte."""
        member = tarfile.TarInfo(name)
        member.size = len(jpeg)
        self._tar.addfile(member, io.BytesIO(jpeg))
        padding = -len(jpeg) % tarfile.BLOCKSIZE
        return self._file.tell() - padding - len(jpeg)


@contextmanager
def writing_part(path: Path) -> Iterator[PartWriter]:
    """Write one part atomically: it appears under its name when the block ends well."""
    with replacing(path) as temporary, temporary.open("wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        yield PartWriter(tar, file)


def is_whole_part(path: Path, offsets: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether a part is as long as its crops (in their order) make it, and each of them is there from end to end."""
    # Padded, two empty blocks, filled up to a record.
    blocks = -(-(offsets[-1] + sizes[-1]) // tarfile.BLOCKSIZE) + 2
    size = -(-blocks * tarfile.BLOCKSIZE // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return len(data) == size and all(map(is_whole_jpeg, itertools.repeat(data), offsets, sizes))
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


def is_whole_jpeg(data: bytes | mmap.mmap, offset: int, size: int) -> bool:
    """Whether at an offset there are as many bytes and a JPEG begins and ends with them."""
    end = offset + size
    return len(data) >= end and data[offset : offset + 2] == b"\xff\xd8" and data[end - 2 : end] == b"\xff\xd9"


class CropStore:
    """Random access to the crops of a workspace; reading and decoding release the GIL, so threads scale.

    Rows are numbered as in ``table``. Instances can be sent to other processes: they open the parts again there.
    """

    def __init__(self, folder: Path, table: pl.DataFrame | None = None) -> None:
        """Open the crops in ``folder``; ``table`` restricts and orders them (columns of ``CROP_SCHEMA``).

        Raises:
            UserError: crops.parquet or one of the parts is missing.
        """
        index = folder / "crops.parquet"
        if table is None and not index.is_file():
            raise UserError(f"{folder} has no crops.parquet.", hint="run `petmood pack` on the work folder")
        self.folder = folder
        self.table = read_table(index) if table is None else table
        self._parts = self.table["part"].to_list()
        self._offsets = self.table["offset"].to_list()
        self._sizes = self.table["size"].to_list()
        self._maps: dict[str, mmap.mmap] = {}
        missing = [name for name in sorted(set(self._parts)) if not (folder / name).is_file()]
        if missing:
            hint = "run `petmood pack` on the work folder again, with --force"
            raise UserError(f"{folder} lacks the part {missing[0]}.", hint=hint)

    def __len__(self) -> int:
        return len(self._parts)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": {}}

    def jpeg(self, row: int) -> memoryview:
        """Bytes of one crop, straight from the memory map."""
        start = self._offsets[row]
        return memoryview(self._map(self._parts[row]))[start : start + self._sizes[row]]

    def pixels(self, row: int) -> Pixels:
        """RGB pixels of one crop: uint8, height × width × 3."""
        return decode(self.jpeg(row))

    def _map(self, part: str) -> mmap.mmap:
        if part not in self._maps:
            with (self.folder / part).open("rb") as file:
                self._maps[part] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[part]
