"""The head: skull, muzzle, jaw, teeth, tongue, eyes, ears and whiskers, turned a little towards the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from petmood.synth.geometry import Points, curve, ellipse, profile, rotation, strip, xy
from petmood.synth.looks import Colour, Look, mix, shade
from petmood.synth.parts import EDGE, Part
from petmood.synth.pose import Cues

_MOUTH: Colour = (112, 34, 44)
_TONGUE: Colour = (232, 122, 132)
_TOOTH: Colour = (252, 250, 240)
_EAR_INSIDE: Colour = (222, 158, 150)


@dataclass(frozen=True)
class Place:
    """Where the head is: head space has the skull's centre at 0, its radius 1, the snout towards +x."""

    centre: Points
    tilt: float
    """Degrees, snout up."""
    radius: float

    def put(self, points: ArrayLike) -> Points:
        """From head space to body lengths."""
        return self.centre + np.asarray(points, dtype=np.float64) @ rotation(self.tilt).T * self.radius


class _Pen:
    """Makes parts from shapes in head space."""

    def __init__(self, place: Place, edge: Colour) -> None:
        self.place = place
        self.edge = edge
        self._grow = EDGE / place.radius

    def limb(self, line: Points, width: ArrayLike, colour: Colour) -> Part:
        grown = strip(line, np.asarray(width) + self._grow)
        return Part(self.place.put(strip(line, width)), colour, outline=self.place.put(grown), edge=self.edge)

    def oval(self, centre: ArrayLike, radii: tuple[float, float], colour: Colour, angle: float = 0.0) -> Part:
        grown = ellipse(centre, (radii[0] + self._grow, radii[1] + self._grow), angle)
        fill = self.place.put(ellipse(centre, radii, angle))
        return Part(fill, colour, outline=self.place.put(grown), edge=self.edge)

    def flat(self, shape: Points | Sequence[ArrayLike], colour: Colour) -> Part:
        """Without an outline, but part of the body (it may stand out of the skull)."""
        return Part(self.place.put(np.asarray(shape, dtype=np.float64)), colour)

    def hair(self, line: Points, width: float, colour: Colour) -> Part:
        return Part(self.place.put(strip(line, width)), colour, "hair")


@dataclass(frozen=True)
class _Muzzle:
    """Bones of the mouth, in head space."""

    root: Points
    tip: Points
    hinge: Points
    jaw: Points
    """Tip of the lower jaw."""
    widths: tuple[float, float]

    def lip(self, share: float) -> Points:
        """A point on the lower edge of the upper jaw, from its root (0) to its tip (1)."""
        width = self.widths[0] * (1 - share) + self.widths[1] * share
        return self.root * (1 - share) + self.tip * share + np.array([0, -0.86 * width])


def head_layers(look: Look, cues: Cues, place: Place) -> tuple[list[Part], list[list[Part]], list[Points]]:
    """Parts behind the neck, layers in front of it, and four joints: nose, forehead, mouth corner, lower lip."""
    pen = _Pen(place, look.edge)
    muzzle = _muzzle(look, cues)
    skull = (1.06, 0.93) if look.species == "cat" else (0.98, 0.92)
    face = look.coat
    head = [pen.oval((0, 0), skull, face)]
    if look.species == "cat":
        head.append(pen.oval((-0.1, -0.3), (0.98, 0.62), face))
    front = [
        head,
        _face_marks(look, pen),
        _mouth(look, cues, muzzle, pen),
        _snout(look, cues, muzzle, pen),
        _eyes(look, cues, pen),
        _ear(look, cues, pen, far=False),
    ]
    behind = _ear(look, cues, pen, far=True)
    corner = muzzle.lip(0.15)
    lip = muzzle.jaw + np.array([0.05, 0.0])
    joints = [place.put(point) for point in (muzzle.tip + np.array([0.2, 0.12]), (0.25, 0.62), corner, lip)]
    return behind, front, joints


def _muzzle(look: Look, cues: Cues) -> _Muzzle:
    snout = look.shape.snout
    if look.species == "dog":
        root, tip, widths = np.array([0.4, -0.2]), np.array([0.68 + 0.75 * snout, -0.3]), (0.5, 0.3)
    else:
        root, tip, widths = np.array([0.42, -0.3]), np.array([0.7 + snout, -0.36]), (0.4, 0.29)
    hinge = np.array([0.3, -0.52])
    closed = tip + xy(-0.12, -0.26) - hinge
    jaw = hinge + closed @ rotation((-50.0 if look.species == "cat" else -38.0) * cues.mouth).T
    return _Muzzle(root, tip, hinge, jaw, widths)


def _mouth(look: Look, cues: Cues, muzzle: _Muzzle, pen: _Pen) -> list[Part]:
    """Lower jaw, inside of the mouth, tongue and lower teeth: all that the upper jaw covers when closed."""
    jaw_line = curve([muzzle.hinge, (muzzle.hinge + muzzle.jaw) / 2 + xy(0, -0.05), muzzle.jaw], 8)
    parts = [pen.limb(jaw_line, profile([0.3, 0.22, 0.15], 8), shade(look.coat, 0.9))]
    if cues.mouth < 0.06:
        return parts
    inside = [muzzle.root, muzzle.lip(0.95) + xy(0, 0.05), muzzle.jaw + xy(0.04, 0.1), muzzle.hinge + xy(0.08, 0.06)]
    parts.append(pen.flat(inside, _MOUTH))
    if cues.tongue > 0.15:
        out = muzzle.jaw + xy(0.1 * cues.tongue, 0.1)
        fall = out + np.array([0.1, -0.5]) * cues.tongue
        tongue = curve([(muzzle.hinge + muzzle.jaw) / 2 + xy(0, 0.14), out, fall], 10)
        parts.append(pen.flat(strip(tongue, profile([0.1, 0.15, 0.13], 10)), _TONGUE))
    if cues.teeth > 0.2:
        parts += [
            _tooth(pen, muzzle.jaw + xy(-0.02 - 0.16 * n, 0.1), 0.24 * cues.teeth * (1 - 0.3 * n)) for n in range(2)
        ]
    return parts


def _tooth(pen: _Pen, base: Points, height: float) -> Part:
    half = 0.065
    return pen.flat([base + xy(-half, 0), base + xy(half, 0), base + xy(0.01, height)], _TOOTH)


def _snout(look: Look, cues: Cues, muzzle: _Muzzle, pen: _Pen) -> list[Part]:
    dark = look.pattern == "points"
    colour = look.second if dark or look.pattern == "bicolour" else mix(look.coat, look.belly, 0.6)
    line = curve([muzzle.root, (muzzle.root + muzzle.tip) / 2, muzzle.tip], 10)
    parts = [pen.limb(line, profile([muzzle.widths[0], sum(muzzle.widths) / 2 * 0.96, muzzle.widths[1]], 10), colour)]
    # The muzzle's outline would cut across the cheek: cover its root in the colour of the face.
    parts.append(pen.flat(ellipse(muzzle.root + xy(-0.2, 0.1), (0.42, 0.46)), look.coat))
    lip = np.stack([muzzle.lip(share) for share in (0.1, 0.5, 0.97)])
    bent = np.array([[0, 0.1 - 0.14 * cues.brow], [0, -0.04], [0, 0.02]])
    parts.append(pen.flat(strip(curve(lip + bent, 8), 0.03), look.edge))
    if cues.teeth > 0.2:
        gum = curve(lip + xy(0, 0.02), 8)
        parts.append(pen.flat(strip(gum, 0.075 * cues.teeth), _MOUTH))
        for number, share in enumerate((0.93, 0.72, 0.52, 0.34)):
            drop = cues.teeth * (0.34 if number == 0 else 0.2)
            parts.append(_tooth(pen, muzzle.lip(share) + xy(0, 0.05), -drop))
        bridge = (muzzle.root + muzzle.tip) / 2 + xy(0, muzzle.widths[1] * 0.8)
        for number in range(2):
            wrinkle = np.stack([bridge + xy(0.14 * number - 0.1, 0.1), bridge + xy(0.14 * number - 0.04, -0.12)])
            parts.append(pen.flat(strip(wrinkle, 0.024), shade(look.coat, 0.55)))
    nose = (0.19, 0.15) if look.species == "dog" else (0.12, 0.09)
    parts.append(pen.oval(muzzle.tip + xy(muzzle.widths[1] * 0.72, 0.13), nose, look.nose))
    if look.species == "cat":
        parts += _whiskers(muzzle, pen)
    return parts


def _whiskers(muzzle: _Muzzle, pen: _Pen) -> list[Part]:
    start = muzzle.tip + xy(-0.12, -0.04)
    hairs = []
    for angle in (12, -6, -24):
        way = rotation(angle) @ np.array([1.0, 0])
        droop = np.array([0, -0.1])
        for side in (1.0, -0.9):
            reach = way * [side, 1]
            line = curve([start + 0.1 * reach, start + 0.5 * reach, start + 0.95 * reach + droop], 7)
            hairs.append(pen.hair(line, 0.014, (250, 248, 244)))
    return hairs


def _eyes(look: Look, cues: Cues, pen: _Pen) -> list[Part]:
    parts = []
    cat = look.species == "cat"
    size = 0.2 if cat else 0.165
    places = (((0.26, 0.14), 1.0), ((0.84, 0.13), 0.62)) if cat else (((0.36, 0.2), 1.0), ((0.8, 0.24), 0.5))
    for (x, y), width in places:
        high = size * (0.42 + 0.75 * cues.eyes)
        wide = size * width
        parts.append(pen.oval((x, y), (wide, high), (250, 248, 240) if cues.eyes > 0.68 else look.eye))
        look_ahead = 0.03 if cues.eyes > 0.68 else 0.0
        parts.append(pen.flat(ellipse((x + look_ahead, y), (wide * 0.8, high * 0.86)), look.eye))
        slit = 0.3 + 0.5 * max(cues.eyes - 0.5, 0) * 2 if cat else 0.58
        parts.append(pen.flat(ellipse((x + look_ahead, y), (wide * slit, high * 0.8)), (24, 20, 22)))
        parts.append(pen.flat(ellipse((x + look_ahead + 0.04, y + high * 0.35), (0.045, 0.045)), (255, 255, 255)))
        parts.append(_brow(cues, pen, (x, y + high + 0.05), wide * 1.25, look.edge))
    return parts


def _brow(cues: Cues, pen: _Pen, middle: tuple[float, float], half: float, colour: Colour) -> Part:
    """Upper lid: its front end falls in anger and rises in worry."""
    slope = -0.14 * cues.brow
    lower = 0.07 * max(cues.brow, 0)
    back = np.array([middle[0] - half, middle[1] - slope - lower])
    front = np.array([middle[0] + half, middle[1] + slope - lower])
    return pen.flat(
        strip(curve([back, (back + front) / 2 + xy(0, 0.06), front], 7), 0.026 + 0.03 * abs(cues.brow)), colour
    )


def _face_marks(look: Look, pen: _Pen) -> list[Part]:
    match look.pattern:
        case "tabby":
            bars = [np.array([[0.1 + 0.2 * n, 0.84], [0.14 + 0.2 * n, 0.5]]) for n in range(-1, 3)]
            return [pen.flat(strip(bar, np.array([0.05, 0.02])), look.second) for bar in bars]
        case "points":
            return [pen.flat(ellipse((0.45, -0.15), (0.55, 0.5)), look.second)]
        case "bicolour":
            return [pen.flat(strip(curve([(0.62, 0.7), (0.6, 0.3), (0.62, 0)], 8), 0.1), look.second)]
        case "patches":
            return [pen.flat(ellipse((0.2, 0.2), (0.36, 0.38)), look.second)]
        case _:
            return []


def _ear(look: Look, cues: Cues, pen: _Pen, *, far: bool) -> list[Part]:
    colour = look.second if look.pattern in {"points", "saddle"} else look.coat
    colour = shade(colour, 0.78 if far else 0.95)
    if look.shape.ear_kind == "hanging":
        return _hanging_ear(look, cues, pen, colour, far=far)
    return _standing_ear(look, cues, pen, colour, far=far)


def _standing_ear(look: Look, cues: Cues, pen: _Pen, colour: Colour, *, far: bool) -> list[Part]:
    """A triangle that turns from forwards over upright to flat on the neck; a folded one breaks at two thirds."""
    base = np.array([0.42, 0.66] if far else [-0.32, 0.62])
    angle = 98 - 20 * cues.ears if cues.ears > 0 else 98 - 78 * cues.ears
    angle -= 12 if far else 0
    length = look.shape.ear * (1.0 - 0.22 * max(-cues.ears, 0))
    way = rotation(angle) @ np.array([1.0, 0])
    across = np.array([way[1], -way[0]])
    tip = base + way * length
    line = curve([base - way * 0.2, base + way * length * 0.4, tip], 12)
    half = 0.36 - 0.08 * max(-cues.ears, 0)
    ear = pen.limb(line, profile([half, half * 0.72, 0.035], 12), colour)
    inside = curve([base + across * 0.04, base + way * length * 0.4 + across * 0.03, base + way * length * 0.82], 10)
    inner = pen.flat(strip(inside, profile([half * 0.6, half * 0.42, 0.02], 10)), _EAR_INSIDE)
    if look.shape.ear_kind == "prick":
        return [ear, inner]
    bend = base + way * length * 0.62
    drop = bend + across * 0.5 * length + way * 0.06 * length
    flap = curve([bend - across * 0.12, bend + across * 0.25, drop], 8)
    short = pen.limb(line[:9], profile([half, half * 0.85, half * 0.6], 12)[:9], colour)
    return [short, pen.limb(flap, profile([0.2, 0.2, 0.05], 8), shade(colour, 0.86))]


def _hanging_ear(look: Look, cues: Cues, pen: _Pen, colour: Colour, *, far: bool) -> list[Part]:
    """A lobe that hangs; it is lifted at the root when pricked and swept back along the neck when flat."""
    lift = 0.22 * cues.ears
    base = np.array([0.5, 0.62 + lift] if far else [-0.28, 0.56 + lift])
    angle = -96 + 42 * cues.ears if cues.ears > 0 else -96 + 74 * cues.ears
    way = rotation(angle + (14 if far else 0)) @ np.array([1.0, 0])
    length = look.shape.ear * 1.15
    outward = np.array([-0.2, 0.16]) if not far else np.array([0.16, 0.12])
    line = curve([base, base + outward * 0.6 + way * length * 0.35, base + way * length], 12)
    return [pen.limb(line, profile([0.15, 0.3, 0.2], 12), shade(colour, 0.86))]
