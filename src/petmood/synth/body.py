"""From cues to a drawn body: spine, legs, tail, neck and markings, as layers of parts (`parts`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from petmood.synth.geometry import Points, curve, ellipse, knee, normals, profile, strip, xy
from petmood.synth.heads import Place, head_layers
from petmood.synth.looks import Colour, Look, shade
from petmood.synth.parts import Figure, Part, limb, mark, teeth_of_fur
from petmood.synth.pose import Cues

_SPINE = 61
_TAIL = 28
_NECK = 22


@dataclass(frozen=True, kw_only=True)
class Gait:
    """What the action adds to the body, whatever the emotion."""

    stride: float = 0.0
    """How far the feet swing, in leg lengths."""
    phase: float = 0.0
    """Radians of the step."""
    lifted: float = 0.0
    """How far the near forepaw is raised, 0 to 1."""
    sitting: float = 0.0
    """1 with the hindquarters on the floor."""


@dataclass(frozen=True)
class _Frame:
    """The bones that everything hangs on."""

    hip: Points
    shoulder: Points
    spine: Points
    upper: NDArray[np.float64]
    """Height of the back above the spine."""
    lower: NDArray[np.float64]
    """Depth of chest and belly below it."""


@dataclass(frozen=True)
class _Leg:
    root: Points
    bend: Points
    ankle: Points
    parts: list[Part]


def draw_animal(look: Look, cues: Cues, gait: Gait) -> Figure:
    """The animal in this state, as layers to paint from back to front."""
    frame = _frame(look, cues, gait)
    far = [_foreleg(look, cues, gait, frame, far=True), _hindleg(look, cues, gait, frame, far=True)]
    near = [_foreleg(look, cues, gait, frame, far=False), _hindleg(look, cues, gait, frame, far=False)]
    tail_line, tail = _tail(look, cues, frame)
    neck_line, neck = _neck(look, cues, frame)
    tilt = cues.nod - (8.0 if look.species == "dog" else 0.0)
    place = Place(neck_line[-1], tilt, look.shape.head)
    behind, face, points = head_layers(look, cues, place)
    layers = [
        [part for leg in far for part in leg.parts],
        tail,
        behind,
        [_trunk(look, cues, frame), neck],
        _markings(look, frame),
        near[1].parts,
        near[0].parts,
        _collar(look, neck_line),
        *face,
    ]
    legs = (near[0].root, far[0].root, near[0].ankle, far[0].ankle)
    hind = (near[1].bend, far[1].bend, near[1].ankle, far[1].ankle)
    nape = neck_line[len(neck_line) // 2]
    joints = np.stack([*points, nape, *legs, *hind, tail_line[0], tail_line[-1]])
    return Figure(layers, joints)


def _frame(look: Look, cues: Cues, gait: Gait) -> _Frame:
    shape = look.shape
    height = shape.leg * (1 - 0.52 * cues.crouch)
    length = shape.foreshortening * (1 - 0.14 * max(cues.arch, 0))
    hip = np.array([0.12 * gait.sitting, height * (1 + 0.1 * max(cues.bow, 0)) * (1 - 0.45 * gait.sitting)])
    shoulder = np.array([length, height * (1 - 0.75 * cues.bow) * (1 + 0.06 * gait.sitting)])
    middle = (hip + shoulder) / 2 + xy(0, 0.3 * cues.arch)
    rump, chest = hip + xy(-0.09 * length, -0.01), shoulder + xy(0.06 * length, 0.0)
    spine = curve([rump, hip, middle, shoulder, chest], _SPINE)
    depth = shape.depth
    slim = 1 - 0.2 * max(cues.arch, 0)
    upper = depth * profile([0.62, 0.95, 0.85, 0.98, 0.6], _SPINE)
    lower = depth * profile([0.62, 0.8, 0.82 * slim, 1.25, 0.9], _SPINE)
    return _Frame(hip, shoulder, spine, upper, lower)


def _trunk(look: Look, cues: Cues, frame: _Frame) -> Part:
    hackles = 0.075 * cues.fur * profile([0.4, 0.85, 0.8, 1.0, 0.9], _SPINE)
    rough = 0.016 * look.shape.shaggy
    upper = frame.upper + teeth_of_fur(_SPINE, np.maximum(hackles, rough))
    lower = frame.lower + teeth_of_fur(_SPINE, rough)
    return limb(frame.spine, upper, look.coat, look.edge, lower=lower)


def _neck(look: Look, cues: Cues, frame: _Frame) -> tuple[Points, Part]:
    shape = look.shape
    start = frame.shoulder + xy(-0.04, 0.1 * shape.depth)
    angle = np.deg2rad(cues.neck)
    reach = shape.neck * (0.62 + 0.38 * cues.reach) + 0.5 * shape.head
    end = start + reach * np.array([np.cos(angle), np.sin(angle)])
    bulge = (start + end) / 2 + 0.04 * np.array([-np.sin(angle), np.cos(angle)])
    line = curve([start, bulge, end], _NECK)
    width = profile([shape.depth * 0.95, shape.depth * 0.78, shape.head * 0.72], _NECK)
    hackles = 0.075 * cues.fur * profile([1, 1, 0.3], _NECK)
    upper = width + teeth_of_fur(_NECK, np.maximum(hackles, 0.014 * shape.shaggy))
    return line, limb(line, upper, look.coat, look.edge, lower=width)


def _tail(look: Look, cues: Cues, frame: _Frame) -> tuple[Points, list[Part]]:
    shape = look.shape
    root = frame.spine[1] + xy(0.02, frame.upper[1] * 0.35)
    along = np.linspace(0, 1, _TAIL)
    angle = np.deg2rad(cues.tail + cues.curl * along**1.4)
    steps = np.stack([-np.cos(angle), np.sin(angle)], axis=1) * shape.tail / (_TAIL - 1)
    line = root + np.cumsum(steps, axis=0) - steps[0]
    floor = shape.tail_width * 0.8
    line[:, 1] = np.maximum(line[:, 1], floor)
    bushy = 0.6 if look.species == "dog" else 0.25
    ends = [0.95, 1.05 + bushy * shape.shaggy, 1.1 + bushy * shape.shaggy, 0.9, 0.28]
    width = shape.tail_width * profile(ends, _TAIL) * (1 + 0.75 * cues.puff)
    rough = teeth_of_fur(_TAIL, width * (0.12 * shape.shaggy + 0.45 * cues.puff))
    colour = look.second if look.pattern == "points" else look.coat
    parts = [limb(line, width + rough, colour, look.edge, lower=width + rough)]
    if look.pattern in {"bicolour", "patches"}:
        parts.append(mark(strip(line[-8:], width[-8:]), look.second))
    if look.pattern == "tabby":
        parts += [mark(strip(line[at : at + 2], width[at] * 0.98), look.second) for at in range(5, _TAIL - 2, 5)]
    return line, parts


def _leg_colours(look: Look, *, far: bool) -> tuple[Colour, Colour]:
    """Colours of the upper leg and of the paw."""
    paw = look.second if look.pattern in {"bicolour", "points", "patches"} else look.coat
    dim = 0.74 if far else 1.0
    return shade(look.coat, dim), shade(paw, dim)


def _paint_leg(look: Look, line: Points, width: NDArray[np.float64], foot: Points, *, far: bool) -> list[Part]:
    upper, paw = _leg_colours(look, far=far)
    size = look.shape.limb
    toe = np.stack([foot + xy(-0.02, size * 0.62), foot + xy(0.05, size * 0.66), foot + xy(0.1, size * 0.55)])
    parts = [limb(line, width, upper, look.edge), limb(toe, np.array([0.9, 0.85, 0.62]) * size, paw, look.edge)]
    if paw != upper:
        parts.append(mark(strip(line[-7:], width[-7:]), paw))
    return parts


def _foreleg(look: Look, cues: Cues, gait: Gait, frame: _Frame, *, far: bool) -> _Leg:
    shape = look.shape
    root = frame.shoulder + xy(0.0, -0.12 * shape.depth)
    side = np.pi if far else 0.0
    swing = gait.stride * np.sin(gait.phase + side) * shape.leg
    rise = gait.stride * max(np.cos(gait.phase + side), 0) * 0.4 * shape.leg
    foot = np.array([frame.shoulder[0] + 0.02 + swing + (0.1 if far else 0) + 0.35 * max(cues.bow, 0), rise])
    if far:
        foot[1] += 0.03
    else:
        foot = foot + gait.lifted * np.array([0.26, 0.55]) * shape.leg
    ankle = foot + xy(-0.005, 0.13 * shape.leg)
    elbow = knee(root, ankle, (0.45 * shape.leg, 0.42 * shape.leg), -1)
    line = curve([root, elbow, ankle, foot + xy(0, shape.limb * 0.6)], 20)
    width = shape.limb * profile([1.55, 1.1, 0.82, 0.78], 20)
    return _Leg(root, elbow, ankle, _paint_leg(look, line, width, foot, far=far))


def _hindleg(look: Look, cues: Cues, gait: Gait, frame: _Frame, *, far: bool) -> _Leg:
    shape = look.shape
    root = frame.hip + xy(0.07, -0.2 * shape.depth)
    side = 0.6 if far else np.pi + 0.6
    swing = gait.stride * np.sin(gait.phase + side) * shape.leg
    rise = gait.stride * max(np.cos(gait.phase + side), 0) * 0.4 * shape.leg
    forward = 0.22 * gait.sitting + 0.1 * cues.crouch
    foot = np.array([-0.03 + forward + swing + (0.11 if far else 0), rise + (0.03 if far else 0)])
    ankle = foot + xy(
        -0.075 * (1 + 0.5 * cues.crouch), 0.3 * shape.leg * (1 - 0.45 * cues.crouch) * (1 - 0.4 * gait.sitting)
    )
    bend = knee(root, ankle, (0.37 * shape.leg, 0.35 * shape.leg), 1)
    line = curve([root, bend, ankle, foot + xy(0, shape.limb * 0.6)], 20)
    width = shape.limb * profile([2.35, 1.75, 0.84, 0.8], 20)
    return _Leg(root, bend, ankle, _paint_leg(look, line, width, foot, far=far))


def _collar(look: Look, neck: Points) -> list[Part]:
    if look.collar is None:
        return []
    at = int(len(neck) * 0.56)
    shape = look.shape
    width = (shape.depth * 0.78 + shape.head * 0.72) / 2 * 1.02
    return [mark(strip(neck[at : at + 3], width), look.collar)]


def _markings(look: Look, frame: _Frame) -> list[Part]:
    """Coat pattern of the trunk; the places come from the look's own seed, so that every frame has the same ones."""
    rng = np.random.default_rng(look.marks)
    spine, upper, lower = frame.spine, frame.upper, frame.lower
    parts = [mark(strip(spine[6:-2], -0.35 * lower[6:-2], 0.93 * lower[6:-2]), look.belly)]
    match look.pattern:
        case "saddle":
            parts.append(mark(strip(spine[5:48], 0.93 * upper[5:48], 0.15 * lower[5:48]), look.second))
        case "tabby":
            parts += _stripes(look, frame, rng)
        case "patches":
            for at in rng.integers(8, _SPINE - 8, size=3).tolist():
                centre = spine[at] + xy(0, float(rng.uniform(-0.3, 0.7)) * look.shape.depth)
                radii = (float(rng.uniform(0.08, 0.16)), float(rng.uniform(0.06, 0.1)))
                parts.append(mark(ellipse(centre, radii, float(rng.uniform(0, 180))), look.second))
        case _:
            pass
    return parts


def _stripes(look: Look, frame: _Frame, rng: np.random.Generator) -> list[Part]:
    up = normals(frame.spine)
    stripes = []
    for at in range(9, _SPINE - 8, 6):
        top = frame.spine[at] + up[at] * frame.upper[at] * 0.97
        end = frame.spine[at] - up[at] * frame.lower[at] * float(rng.uniform(0.0, 0.45))
        bent = (top + end) / 2 + xy(float(rng.uniform(-0.03, 0.03)), 0)
        stripes.append(mark(strip(curve([top, bent, end], 8), profile([0.02, 0.016, 0.004], 8)), look.second))
    return stripes
