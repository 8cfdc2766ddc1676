"""What a user asks about: photos, videos, folders, patterns, lists, label files, addresses; as inputs, in order.

Nothing is decoded here. What cannot be used as an input at all is an error before anything is started; a file that is
not there or broken becomes a row with a reason later.
"""

from __future__ import annotations

import csv
import dataclasses
import glob
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from petmood import places
from petmood.errors import RunError, UserError
from petmood.geometry import Box
from petmood.pictures import BadPictureError

#: Files of a folder that are taken for pictures, and for videos. Other files are taken by their content if named.
PICTURES = frozenset({
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif",
})  # fmt: skip
VIDEOS = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".3gp", ".ts", ".mts", ".wmv"})
#: How the names of frames tell their number (AI Hub).
_FRAME = re.compile(r"frame_(\d+)_timestamp_(\d+)")
#: Folders of labels and of pictures in AI Hub's trees, which are otherwise alike.
_SIDES = (("라벨링데이터", "원천데이터"), ("labels", "images"), ("label", "image"), ("라벨", "원천"))
#: Columns of a CSV that may hold the path.
_PATH_COLUMNS = ("path", "image", "image_path")
#: Largest file that is taken from an address, and seconds without a word from there.
_MOST_BYTES, _TIMEOUT = 200_000_000, 20


@dataclasses.dataclass(frozen=True)
class Photo:
    """One picture."""

    source: str
    """Name that its answers carry: the path as it was given."""
    file: Path | bytes | BadPictureError
    box: Box | None = None


@dataclasses.dataclass(frozen=True)
class Film:
    """One video."""

    source: str
    file: Path | bytes


@dataclasses.dataclass(frozen=True)
class Remote:
    """A photo or video at an address that is fetched when it is its turn."""

    source: str
    box: Box | None = None

    def fetched(self) -> Photo | Film:
        """What is there; a photo with a reason if nothing is."""
        try:
            content = _fetched(self.source) if _is_web(self.source) else _stored(self.source)
        except BadPictureError as error:
            return Photo(self.source, error)
        name = self.source.partition("?")[0]
        is_film = self.box is None and (Path(name).suffix.lower() in VIDEOS or _begins_like_a_video(content[:64]))
        return Film(self.source, content) if is_film else Photo(self.source, content, self.box)


Input = Photo | Film | Remote


def find_inputs(words: Sequence[str], *, box: Box | None = None, urls: bool = False) -> list[Input]:
    """What the words stand for, in their order.

    Args:
        words: files, folders (all that is in them, by name), patterns such as ``*.jpg``, lists (``@list.txt``, .txt,
            .csv with a column path and maybe x, y, width, height; paths relative to the list), label files (.json of
            AI Hub, with the frames beside them), zips and what is in them (``x.zip!/folder/a.jpg``), addresses.
        box: where the animal is in each photo that comes without a box of its own.
        urls: whether addresses may be asked for.

    Raises:
        UserError: a word that stands for nothing, an unreadable list, an address although they are not allowed.
    """
    found = [one for word in words for one in _of_word(word, urls=urls)]
    if box is None:
        return found
    boxed = [dataclasses.replace(one, box=one.box or box) if isinstance(one, Photo) else one for one in found]
    if any(not isinstance(one, Photo) for one in boxed):
        raise UserError("a box is given, but not all inputs are photos; animals of videos are found in each frame.")
    return boxed


def _of_word(word: str, *, urls: bool) -> Iterator[Input]:
    path = Path(word)
    if word.startswith("@"):
        yield from _of_list(Path(word[1:]), urls=urls)
    elif _is_address(word):
        yield _remote(word, urls=urls)
    elif path.is_dir():
        yield from _of_folder(path)
    elif _is_zipped_folder(word):
        yield from _of_archive(word)
    elif path.suffix.lower() in {".txt", ".csv"}:
        yield from _of_list(path, urls=urls)
    elif path.suffix.lower() == ".json":
        yield from _of_label(path)
    elif not path.exists() and re.search(r"[*?\[]", word):
        yield from _of_pattern(word)
    else:
        yield _of_file(word, path)


def _of_file(source: str, path: Path, box: Box | None = None) -> Photo | Film:
    if path.suffix.lower() in PICTURES or box is not None:
        return Photo(source, path, box)
    return Film(source, path) if path.suffix.lower() in VIDEOS or _is_video(path) else Photo(source, path)


def _of_folder(folder: Path) -> Iterator[Input]:
    inside = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in PICTURES | VIDEOS and not file.name.startswith(".") and file.is_file()
    )
    if not inside:
        looked_for = ", ".join(sorted(PICTURES | VIDEOS))
        raise UserError(f"folder {folder} holds no pictures and no videos; looked for {looked_for}.")
    yield from (_of_file(str(file), file) for file in inside)


def _is_zipped_folder(word: str) -> bool:
    """Whether a word names a zip, or a folder in one."""
    try:
        found = places.split(places.inside(word, "") if places.is_archive(word) else word)
        return found is not None and (not found[1] or bool(_below(*found)))
    except OSError:
        return False


def _below(archive: str, folder: str) -> list[str]:
    """Folders of an archive that hold files: one, and those below it."""
    start = folder.strip("/")
    return [name for name in places.archive(archive).folders if not start or f"{name}/".startswith(f"{start}/")]


def _of_archive(word: str) -> Iterator[Input]:
    archive, start = places.split(word) or (word, "")
    try:
        found = [
            Photo(place, Path(place))
            for folder in _below(archive, start)
            for name in places.archive(archive).files(folder)
            if Path(name).suffix.lower() in PICTURES and not name.startswith(".")
            for place in [f"{places.inside(archive, folder)}/{name}"]
        ]
    except OSError as error:
        raise UserError(f"archive {archive} cannot be read: {error.strerror}.") from None
    if not found:
        raise UserError(f"archive {word} holds no pictures; looked for {', '.join(sorted(PICTURES))}.")
    yield from found


def _of_pattern(pattern: str) -> Iterator[Input]:
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - a pattern may be absolute
    if not found:
        raise UserError(f"pattern {pattern!r} fits no file.", hint="** stands for any folders below: 'photos/**/*.jpg'")
    for name in found:
        path = Path(name)
        yield from _of_folder(path) if path.is_dir() else [_of_file(name, path)]


def _of_list(path: Path, *, urls: bool) -> Iterator[Input]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UserError(f"list {path} cannot be read: {problem}.", hint="one path a line, or a CSV") from None
    if path.suffix.lower() == ".csv":
        yield from _of_table(path, text, urls=urls)
        return
    lines = (line.strip() for line in text.splitlines())
    for line in lines:
        if line and not line.startswith("#"):
            yield _of_entry(path.parent, line, None, urls=urls)


def _of_table(path: Path, text: str, *, urls: bool) -> Iterator[Input]:
    rows = csv.DictReader(text.splitlines())
    names = rows.fieldnames or []
    column = next((name for name in _PATH_COLUMNS if name in names), None)
    if column is None:
        raise UserError(
            f"list {path} has the columns {', '.join(names) or 'none'}; one of {', '.join(_PATH_COLUMNS)} is needed.",
            hint="where the animal is goes into x, y, width, height (pixels)",
        )
    for row in rows:
        entry = (row[column] or "").strip()
        if not entry:
            continue
        try:
            box = _box_of_row(row)
        except BadPictureError as error:
            yield Photo(entry, error)
        else:
            yield _of_entry(path.parent, entry, box, urls=urls)


def _of_entry(folder: Path, entry: str, box: Box | None, *, urls: bool) -> Input:
    return _remote(entry, box, urls=urls) if _is_address(entry) else _of_file(entry, folder / entry, box)


def _box_of_row(row: dict[str, str]) -> Box | None:
    texts = [(row.get(name) or "").strip() for name in ("x", "y", "width", "height")]
    if not any(texts):
        return None
    try:
        numbers = [round(float(text)) for text in texts]
    except (ValueError, OverflowError):
        raise BadPictureError("no_box", f"the list's box is {','.join(texts)}") from None
    if numbers[2] <= 0 or numbers[3] <= 0:
        raise BadPictureError("empty_box", f"the list's box is {','.join(texts)}")
    return Box(*numbers)


class _BoxOfLabel(msgspec.Struct):
    x: float
    y: float
    width: float
    height: float


class _FrameOfLabel(msgspec.Struct):
    frame_number: int
    bounding_box: _BoxOfLabel | None = None


class _Label(msgspec.Struct):
    annotations: list[_FrameOfLabel]


def _of_label(path: Path) -> Iterator[Input]:
    """The frames of an AI Hub label file that are there, each with its box."""
    try:
        label = msgspec.json.decode(places.read(str(path), most=places.LABEL), type=_Label, strict=False)
    except (OSError, msgspec.MsgspecError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"label file {path} cannot be read: {problem}.", hint="AI Hub's: annotations with boxes"
        ) from None
    boxes = {one.frame_number: one.bounding_box for one in label.annotations}
    frames = _frames_beside(path)
    if not frames:
        raise UserError(
            f"label file {path} has no frames beside it; looked for frame_N_timestamp_T.jpg in "
            f"{', '.join(str(folder) for folder in _folders_beside(path))}.",
            hint="give the folder of the frames itself, or the photos with --box",
        )
    for number, frame in frames:
        if number not in boxes:
            yield Photo(str(frame), BadPictureError("no_label", f"{path.name} does not speak of this frame"))
            continue
        box = boxes[number]
        if box is None or box.width <= 0 or box.height <= 0:
            yield Photo(str(frame), BadPictureError("empty_box" if box else "no_box", f"so says {path.name}"))
        else:
            yield Photo(str(frame), frame, Box(round(box.x), round(box.y), round(box.width), round(box.height)))


def _frames_beside(path: Path) -> list[tuple[int, Path]]:
    """Number and path of the frames of the first folder that has some, in order of time."""
    for folder in _folders_beside(path):
        matches = [(match, file) for file in _listed(folder) if (match := _FRAME.search(file.name))]
        if matches:
            return sorted((int(match[1]), file) for match, file in matches)
    return []


def _listed(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in places.names(str(folder))]
    except OSError:
        return []


def _folders_beside(path: Path) -> list[Path]:
    """Where the frames of a label file may lie: in a folder of its name, in its own, or in the tree of the pictures."""
    folders = [path.with_suffix(""), path.parent]
    for label_side, picture_side in _SIDES:
        parts = [_other_side(part, label_side, picture_side) for part in path.parts]
        if parts != list(path.parts):
            folders.append(Path(*parts).with_suffix(""))
    return folders


def _other_side(part: str, label_side: str, picture_side: str) -> str:
    """A folder's or an archive's name on the side of the pictures: ``[라벨]ARCH.zip!`` becomes ``[원천]ARCH.zip!``."""
    return picture_side if part == label_side else part.replace(f"[{label_side}]", f"[{picture_side}]")


def _is_video(path: Path) -> bool:
    """Whether a file without a telling name begins as videos do."""
    try:
        with path.open("rb") as file:
            return _begins_like_a_video(file.read(64))
    except OSError:
        return False


def _begins_like_a_video(head: bytes) -> bool:
    brand = head[8:12]
    still = brand in {b"heic", b"heix", b"mif1", b"avif", b"avis", b"hevc"}
    return (
        (head[4:8] == b"ftyp" and not still) or head[:4] == b"\x1aE\xdf\xa3" or (head[:4], brand) == (b"RIFF", b"AVI ")
    )


def _is_address(word: str) -> bool:
    return places.is_remote(word)


def _is_web(address: str) -> bool:
    return address.lower().startswith(("http://", "https://"))


def _remote(address: str, box: Box | None = None, *, urls: bool) -> Remote:
    if not urls:
        raise UserError(f"input {address} is an address; petmood asks the network only if told to.", hint="add --urls")
    return Remote(address, box)


def _stored(address: str) -> bytes:
    """The bytes of a file on remote storage, or in an archive there."""
    try:
        return places.read(address, most=_MOST_BYTES)
    except FileNotFoundError as error:
        raise BadPictureError("no_image", error.strerror or str(error)) from None
    except OSError as error:
        raise BadPictureError("unreadable_image", error.strerror or str(error)) from None
    except RunError as error:
        raise BadPictureError("no_image", error.message) from None


def _fetched(address: str) -> bytes:
    request = urllib.request.Request(address, headers={"User-Agent": "petmood"})  # noqa: S310 - http and https alone
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            content: bytes = answer.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise BadPictureError("no_image", f"the server answers {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        raise BadPictureError("no_image", f"the address cannot be reached: {getattr(error, 'reason', error)}") from None
    if len(content) > _MOST_BYTES:
        raise BadPictureError("unreadable_image", f"more than {_MOST_BYTES:,} bytes")
    return content
