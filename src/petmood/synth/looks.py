"""What an animal looks like whatever it feels: breed shape, coat and colours. All of it is nuisance to a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from petmood.labels import Species

Colour = tuple[int, int, int]
Pattern = Literal["plain", "bicolour", "tabby", "saddle", "patches", "points"]
EarKind = Literal["prick", "folded", "hanging"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A breed's build; lengths in body lengths (hip to shoulder = 1), snout and ear in head radii."""

    leg: float
    depth: float
    """Half the thickness of the trunk."""
    limb: float
    """Half the thickness of a leg."""
    neck: float
    head: float
    """Radius of the skull."""
    snout: float
    ear: float
    ear_kind: EarKind
    tail: float
    tail_width: float
    shaggy: float
    """Roughness of the outline, 0 to 1."""
    foreshortening: float
    """Width of the body as seen, 1 straight from the side."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """Build and coat of one animal."""

    species: Species
    shape: Shape
    coat: Colour
    second: Colour
    """Colour of markings."""
    belly: Colour
    edge: Colour
    """Colour of outlines."""
    eye: Colour
    nose: Colour
    collar: Colour | None
    pattern: Pattern
    marks: int
    """Seed of the markings' places."""


_COATS: tuple[Colour, ...] = (
    (208, 156, 96),
    (233, 196, 140),
    (160, 104, 62),
    (120, 82, 58),
    (70, 62, 62),
    (132, 136, 146),
    (244, 232, 212),
    (226, 134, 66),
    (186, 178, 168),
    (98, 108, 124),
)
_EYES: dict[Species, tuple[Colour, ...]] = {
    "dog": ((86, 52, 28), (110, 70, 34), (60, 40, 30)),
    "cat": ((150, 178, 70), (222, 178, 62), (98, 160, 190), (120, 170, 110)),
}
_PATTERNS: dict[Species, tuple[Pattern, ...]] = {
    "dog": ("plain", "bicolour", "saddle", "patches"),
    "cat": ("plain", "bicolour", "tabby", "tabby", "patches", "points"),
}
_COLLARS: tuple[Colour, ...] = ((196, 52, 56), (48, 104, 176), (60, 140, 84), (232, 178, 52))


def shade(colour: Colour, factor: float) -> Colour:
    """A darker (below 1) or lighter (above 1) tone."""
    red, green, blue = (int(np.clip(part * factor, 0, 255)) for part in colour)
    return red, green, blue


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """A blend with this share of the other colour."""
    red, green, blue = (round(a * (1 - share) + b * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def look_of(species: Species, rng: np.random.Generator) -> Look:
    """A random breed's shape and coat."""
    coat = _COATS[int(rng.integers(len(_COATS)))]
    coat = shade(coat, float(rng.uniform(0.88, 1.1)))
    dark = sum(coat) < 330
    white = (246, 240, 230)
    pattern = _PATTERNS[species][int(rng.integers(len(_PATTERNS[species])))]
    second = white if pattern in {"bicolour", "patches"} and not sum(coat) > 620 else shade(coat, 1.5 if dark else 0.58)
    return Look(
        species=species,
        shape=_dog_shape(rng) if species == "dog" else _cat_shape(rng),
        coat=coat,
        second=second,
        belly=mix(coat, white, 0.75 if pattern == "bicolour" else 0.35),
        edge=shade(coat, 0.42),
        eye=_EYES[species][int(rng.integers(len(_EYES[species])))],
        nose=(52, 42, 44) if species == "dog" or dark else (206, 128, 124),
        collar=_COLLARS[int(rng.integers(len(_COLLARS)))] if rng.random() < 0.35 else None,
        pattern=pattern,
        marks=int(rng.integers(2**31)),
    )


def _dog_shape(rng: np.random.Generator) -> Shape:
    kinds: tuple[EarKind, ...] = ("prick", "folded", "hanging")
    return Shape(
        leg=float(rng.uniform(0.52, 0.86)),
        depth=float(rng.uniform(0.19, 0.25)),
        limb=float(rng.uniform(0.062, 0.082)),
        neck=float(rng.uniform(0.38, 0.5)),
        head=float(rng.uniform(0.22, 0.27)),
        snout=float(rng.uniform(0.45, 0.95)),
        ear=float(rng.uniform(0.85, 1.15)),
        ear_kind=kinds[int(rng.integers(3))],
        tail=float(rng.uniform(0.58, 0.85)),
        tail_width=float(rng.uniform(0.05, 0.085)),
        shaggy=float(np.clip(rng.normal(0.25, 0.25), 0, 1)),
        foreshortening=float(rng.uniform(0.82, 1.05)),
    )


def _cat_shape(rng: np.random.Generator) -> Shape:
    return Shape(
        leg=float(rng.uniform(0.5, 0.68)),
        depth=float(rng.uniform(0.165, 0.215)),
        limb=float(rng.uniform(0.05, 0.066)),
        neck=float(rng.uniform(0.3, 0.38)),
        head=float(rng.uniform(0.225, 0.27)),
        snout=float(rng.uniform(0.02, 0.16)),
        ear=float(rng.uniform(0.8, 1.1)),
        ear_kind="prick",
        tail=float(rng.uniform(0.8, 1.1)),
        tail_width=float(rng.uniform(0.04, 0.06)),
        shaggy=float(np.clip(rng.normal(0.25, 0.25), 0, 1)),
        foreshortening=float(rng.uniform(0.82, 1.02)),
    )
