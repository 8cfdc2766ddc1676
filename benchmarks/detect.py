"""How often a detector finds the animal of a photo, and how long a photo takes.

    python benchmarks/detect.py FOLDER [--detector FILE] [--changes]

FOLDER holds ``boxes.csv`` (image, class, x, y, width, height; one animal a photo) and its photos. Right is a photo
whose surest animal has the right species and shares at least half with the box (intersection over union). ``--changes``
asks again for the photos made smaller and larger, grey, dark, turned (with and without EXIF saying so) and cut out.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageEnhance
from scipy.stats import binomtest

from measuring import machine
from petmood.detect import LEAST, Animal, Detector, animals_in, open_detector
from petmood.detect.animal import overlap
from petmood.geometry import Box, crop_window
from petmood.media import glance

SHARED = 0.5


@dataclass(frozen=True)
class Photo:
    """A photo file and what it shows."""

    name: str
    data: bytes
    species: str
    box: Box

    @property
    def picture(self) -> Image.Image:
        """Its pixels."""
        return Image.open(io.BytesIO(self.data)).convert("RGB")

    def changed(self, picture: Image.Image, box: Box, orientation: int = 1) -> Photo:
        """The same with another picture."""
        file, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = orientation
        picture.save(file, "JPEG", quality=95, exif=exif if orientation > 1 else b"")
        return Photo(self.name, file.getvalue(), self.species, box)


def photos(folder: Path) -> list[Photo]:
    with (folder / "boxes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = ("x", "y", "width", "height")
    return [
        Photo(row["image"], (folder / row["image"]).read_bytes(), row["class"], Box(*(int(row[n]) for n in numbers)))
        for row in rows
    ]


def is_right(photo: Photo, found: list[Animal]) -> bool:
    return bool(found) and found[0].species == photo.species and overlap(found[0].box, photo.box) >= SHARED


def measured(
    some: list[Photo], detector: Detector, least: float
) -> tuple[list[tuple[Photo, list[Animal]]], list[float]]:
    """What is found in each photo, and seconds for each (decoding and looking)."""
    found, seconds = [], []
    for photo in some:
        start = time.perf_counter()
        animals = animals_in(photo.data, detector, least=least)
        seconds.append(time.perf_counter() - start)
        found.append((photo, animals))
    return found, seconds


def row(name: str, found: list[tuple[Photo, list[Animal]]]) -> str:
    right = sum(is_right(photo, animals) for photo, animals in found)
    low, high = binomtest(right, len(found)).proportion_ci(0.95, "wilson")
    none = sum(not animals for _, animals in found)
    other = sum(bool(animals) and animals[0].species != photo.species for photo, animals in found)
    several = sum(len(animals) > 1 for _, animals in found)
    share = f"{right / len(found):.0%} ({low:.0%} to {high:.0%})"
    return f"| {name} | {right} of {len(found)} | {share} | {none} | {other} | {several} |"


def scaled(factor: float) -> Callable[[Photo], Photo]:
    def change(photo: Photo) -> Photo:
        picture = photo.picture
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        box = Box(*(round(value * factor) for value in (photo.box.x, photo.box.y, photo.box.width, photo.box.height)))
        return photo.changed(picture.resize(size, Image.Resampling.LANCZOS), box)

    return change


def turned(photo: Photo) -> Photo:
    """Lying on its side: a quarter to the left."""
    box, width = photo.box, photo.picture.width
    moved = Box(box.y, width - box.x - box.width, box.height, box.width)
    return photo.changed(photo.picture.transpose(Image.Transpose.ROTATE_90), moved)


def turned_as_exif_says(photo: Photo) -> Photo:
    """The same pixels, but the file says how to set them upright, as phones do."""
    return photo.changed(photo.picture.transpose(Image.Transpose.ROTATE_90), photo.box, orientation=6)


def grey(photo: Photo) -> Photo:
    return photo.changed(photo.picture.convert("L").convert("RGB"), photo.box)


def dark(photo: Photo) -> Photo:
    return photo.changed(ImageEnhance.Brightness(photo.picture).enhance(0.3), photo.box)


def cut_out(photo: Photo) -> Photo:
    """As crops are made for training."""
    picture, box = photo.picture, photo.box
    window = crop_window(box, 0.1, picture.width, picture.height)
    edges = (window.x, window.y, window.x + window.width, window.y + window.height)
    return photo.changed(picture.crop(edges), Box(box.x - window.x, box.y - window.y, box.width, box.height))


CHANGES: Mapping[str, Callable[[Photo], Photo]] = {
    "a quarter of the size": scaled(0.25),
    "half the size": scaled(0.5),
    "4 times the size": scaled(4),
    "8 times the size": scaled(8),
    "grey": grey,
    "dark (0.3 of the brightness)": dark,
    "lying on its side": turned,
    "the same, and EXIF says so": turned_as_exif_says,
    "cut out as for training": cut_out,
}


def misses(found: list[tuple[Photo, list[Animal]]]) -> Iterator[str]:
    for photo, animals in found:
        if not is_right(photo, animals):
            best = animals[0] if animals else None
            told = f"{best.species} {best.score:.2f}, shares {overlap(best.box, photo.box):.2f}" if best else "nothing"
            yield f"- {photo.name}: {told}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", default="", help="as --detector of petmood")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--changes", action="store_true", help="ask again for photos that were changed")
    options = parser.parse_args()
    detector = open_detector(options.detector, threads=options.threads)
    some = photos(options.folder)
    measured(some[:3], detector, LEAST)  # the first call is slow
    print("| photos | right | share (95 %) | nothing found | other species | several animals |")
    print("|---|---|---|---:|---:|---:|")
    for least in (0.1, 0.2, LEAST, 0.4, 0.5, 0.6):
        print(row(f"as they are, score from {least}", measured(some, detector, least)[0]), flush=True)
    if options.changes:
        for name, change in CHANGES.items():
            print(row(name, measured([change(photo) for photo in some], detector, LEAST)[0]), flush=True)
    found, seconds = measured(some, detector, LEAST)
    looking = statistics.median(_seconds(photo, detector) for photo in some)
    print(f"\nwrong at {LEAST}:", *misses(found), sep="\n")
    print(f"\n{statistics.median(seconds) * 1e3:.1f} ms a photo (median), {looking * 1e3:.1f} ms of it the detector's")
    print(f"{options.threads or 'all'} threads; {machine()}")


def _seconds(photo: Photo, detector: Detector) -> float:
    pixels, _ = glance(photo.data, least=832)
    start = time.perf_counter()
    detector.animals(pixels)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
