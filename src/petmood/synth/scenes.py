"""Places: rooms and gardens with made-up furniture, plants and textures. A place knows nothing of the animal in it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from petmood.synth.looks import Colour, mix, shade

Pixels = NDArray[np.uint8]

_WALLS: tuple[Colour, ...] = (
    (226, 218, 204),
    (204, 214, 220),
    (216, 204, 196),
    (196, 208, 190),
    (232, 226, 218),
    (190, 186, 200),
    (222, 198, 168),
)
_FLOORS: tuple[Colour, ...] = (
    (176, 132, 92),
    (146, 108, 80),
    (198, 168, 132),
    (168, 162, 156),
    (120, 96, 82),
    (206, 196, 184),
)
_CLOTH: tuple[Colour, ...] = (
    (126, 142, 152),
    (172, 94, 84),
    (94, 122, 102),
    (206, 180, 140),
    (88, 92, 124),
    (200, 196, 188),
)
_SKIES: tuple[Colour, ...] = ((150, 194, 232), (186, 208, 226), (214, 216, 214), (236, 206, 176))
_GRASS: tuple[Colour, ...] = ((112, 154, 78), (132, 160, 92), (96, 132, 76), (164, 158, 106), (186, 174, 152))


#: Frames of pictures and the like have widths in pixels: smaller places are drawn with this short side and reduced.
_SMALLEST = 360


def draw_place(*, indoors: bool, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> Pixels:
    """A picture of the place; floor or grass begins at the row `horizon`."""
    larger = max(1.0, _SMALLEST / min(size))
    drawn = (round(size[0] * larger), round(size[1] * larger))
    canvas = Image.new("RGB", drawn)
    pen = ImageDraw.Draw(canvas)
    if indoors:
        _room(pen, drawn, round(horizon * larger), rng)
    else:
        _garden(pen, drawn, round(horizon * larger), rng)
    picture = np.asarray(canvas)
    if larger > 1:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    else:
        picture = cv2.GaussianBlur(picture, (0, 0), max(size) / 900)
    return _textured(picture, horizon, rough=5 if indoors else 11, rng=rng)


def _pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    return shade(colours[int(rng.integers(len(colours)))], float(rng.uniform(0.85, 1.08)))


def _gradient(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], top: Colour, bottom: Colour) -> None:
    left, upper, right, lower = box
    for row in range(upper, lower, 2):
        share = (row - upper) / max(lower - upper, 1)
        pen.rectangle((left, row, right, row + 1), fill=mix(top, bottom, share))


def _room(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    wall, floor = _pick(_WALLS, rng), _pick(_FLOORS, rng)
    _gradient(pen, (0, 0, width, horizon), shade(wall, 1.04), shade(wall, 0.9))
    if rng.random() < 0.4:
        gap = int(rng.integers(24, 70))
        for x in range(int(rng.integers(gap)), width, gap):
            pen.rectangle((x, 0, x + gap // 3, horizon), fill=shade(wall, 0.95))
    _gradient(pen, (0, horizon, width, height), shade(floor, 0.82), shade(floor, 1.08))
    _floor(pen, size, horizon, floor, rng)
    things = [_window, _pictures, _sofa, _plant, _shelf, _lamp]
    for index in rng.permutation(len(things))[: int(rng.integers(2, 5))].tolist():
        things[index](pen, size, horizon, rng)
    board = max(3, height // 55)
    pen.rectangle((0, horizon - board, width, horizon), fill=shade(wall, 1.12))
    pen.line((0, horizon, width, horizon), fill=shade(floor, 0.55), width=2)
    if rng.random() < 0.5:
        _rug(pen, size, horizon, rng)


def _floor(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, colour: Colour, rng: np.random.Generator
) -> None:
    """Boards or tiles that run towards a vanishing point, or a plain carpet."""
    width, height = size
    kind = rng.choice(["boards", "tiles", "carpet"])
    if kind == "carpet":
        return
    vanishing = int(rng.uniform(0.2, 0.8) * width)
    seam = shade(colour, 0.72)
    spread = int(rng.integers(40, 90))
    for x in range(-4 * width, 5 * width, spread * 2):
        top = vanishing + (x - vanishing) * 0.28
        pen.line((top, horizon, x, height), fill=seam, width=1)
    depth = 1.0
    while depth > 0.03:
        row = horizon + (height - horizon) * depth
        if kind == "tiles":
            pen.line((0, row, width, row), fill=seam, width=1)
        depth *= 0.72


def _window(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, _ = size
    wide, high = int(rng.uniform(0.16, 0.3) * width), int(rng.uniform(0.5, 0.75) * horizon)
    x, y = int(rng.uniform(0, 0.75) * width), int(rng.uniform(0.05, 0.15) * horizon)
    sky = _pick(_SKIES, rng)
    pen.rectangle((x - 6, y - 6, x + wide + 6, y + high + 6), fill=(244, 242, 238))
    _gradient(pen, (x, y, x + wide, y + high), sky, shade(sky, 1.15))
    pen.ellipse((x, y + high * 0.65, x + wide * 0.7, y + high * 1.0), fill=mix(sky, (120, 150, 110), 0.6))
    pen.line((x + wide // 2, y, x + wide // 2, y + high), fill=(244, 242, 238), width=6)
    pen.line((x, y + high // 2, x + wide, y + high // 2), fill=(244, 242, 238), width=5)
    cloth = _pick(_CLOTH, rng)
    fold = max(8, wide // 5)
    for side in (x - fold, x + wide):
        for n in range(3):
            left = side + n * fold // 3
            pen.rectangle((left, y - 14, left + fold // 3, y + high + 26), fill=shade(cloth, 1.1 - 0.1 * n))


def _pictures(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, _ = size
    for _ in range(int(rng.integers(1, 4))):
        x, y = int(rng.uniform(0, 0.9) * width), int(rng.uniform(0.05, 0.4) * horizon)
        wide, high = int(rng.uniform(0.06, 0.13) * width), int(rng.uniform(0.15, 0.32) * horizon)
        pen.rectangle((x, y, x + wide, y + high), fill=(84, 70, 60))
        pen.rectangle((x + 5, y + 5, x + wide - 5, y + high - 5), fill=_pick(_CLOTH, rng))
        pen.ellipse((x + wide * 0.3, y + high * 0.3, x + wide * 0.7, y + high * 0.7), fill=_pick(_SKIES, rng))


def _sofa(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    cloth = _pick(_CLOTH, rng)
    wide = int(rng.uniform(0.35, 0.55) * width)
    high = min(int(rng.uniform(0.2, 0.28) * height), wide * 3 // 5)
    x, y = int(rng.uniform(-0.15, 0.8) * width), horizon - int(high * 0.8)
    pen.rounded_rectangle((x, y, x + wide, y + high), radius=high // 5, fill=shade(cloth, 0.86))
    half = wide // 2
    for n in range(2):
        left = x + high // 4 + n * (half - high // 4)
        pen.rounded_rectangle((left, y + 6, left + half - high // 4, y + high * 0.6), radius=high // 8, fill=cloth)
    pen.rounded_rectangle((x, y + high * 0.55, x + wide, y + high * 0.86), radius=high // 9, fill=shade(cloth, 1.08))
    for left in (x - high // 6, x + wide - high // 6):
        pen.rounded_rectangle(
            (left, y + high * 0.3, left + high // 3, y + high), radius=high // 8, fill=shade(cloth, 0.95)
        )


def _plant(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    x, foot, high = int(rng.uniform(0.03, 0.97) * width), horizon + height // 30, int(rng.uniform(0.18, 0.34) * height)
    pot, leaf = _pick(_CLOTH, rng), shade((86, 136, 84), float(rng.uniform(0.75, 1.15)))
    wide = high // 5
    pen.polygon(
        [(x - wide, foot - high // 3), (x + wide, foot - high // 3), (x + wide * 0.7, foot), (x - wide * 0.7, foot)],
        pot,
    )
    for angle in rng.uniform(20, 160, size=9).tolist():
        reach = high * float(rng.uniform(0.5, 0.85))
        dx, dy = np.cos(np.deg2rad(angle)) * reach, -np.sin(np.deg2rad(angle)) * reach
        side = reach * 0.12
        base = foot - high // 3
        tip = (x + dx, base + dy)
        pen.polygon(
            [(x, base), (x + dx / 2 - side, base + dy / 2), tip, (x + dx / 2 + side, base + dy / 2)],
            shade(leaf, 0.8 + angle / 500),
        )


def _shelf(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    wood = _pick(_FLOORS, rng)
    wide, high = int(rng.uniform(0.14, 0.24) * width), int(rng.uniform(0.3, 0.45) * height)
    x, y = int(rng.uniform(0, 0.85) * width), horizon - high
    pen.rectangle((x, y, x + wide, horizon), fill=shade(wood, 0.7))
    rows = int(rng.integers(2, 4))
    for row in range(rows):
        top, bottom = y + 5 + row * high // rows, y + (row + 1) * high // rows - 4
        pen.rectangle((x + 5, top, x + wide - 5, bottom), fill=shade(wood, 0.5))
        left = x + 7
        while left < x + wide - 14:
            thick = int(rng.integers(4, 12))
            pen.rectangle((left, top + int(rng.integers(2, 14)), left + thick, bottom), fill=_pick(_CLOTH, rng))
            left += thick + 1


def _lamp(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    x, high = int(rng.uniform(0.05, 0.95) * width), int(rng.uniform(0.35, 0.5) * height)
    top, wide = horizon - high, high // 6
    pen.line((x, top, x, horizon + height // 40), fill=(70, 64, 60), width=4)
    shade_colour = mix(_pick(_WALLS, rng), (255, 236, 180), 0.6)
    pen.polygon(
        [(x - wide * 0.6, top), (x + wide * 0.6, top), (x + wide, top + wide * 1.3), (x - wide, top + wide * 1.3)],
        shade_colour,
    )


def _rug(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    middle, half = int(rng.uniform(0.2, 0.8) * width), int(rng.uniform(0.25, 0.5) * width)
    top = horizon + int(rng.uniform(0.15, 0.35) * (height - horizon))
    bottom = top + int(rng.uniform(0.35, 0.6) * (height - horizon))
    cloth = _pick(_CLOTH, rng)
    pen.ellipse((middle - half, top, middle + half, bottom), fill=cloth)
    pen.ellipse((middle - half * 0.9, top + 8, middle + half * 0.9, bottom - 8), outline=shade(cloth, 1.2), width=4)


def _garden(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    sky, grass = _pick(_SKIES, rng), _pick(_GRASS, rng)
    _gradient(pen, (0, 0, width, horizon), sky, mix(sky, (255, 255, 250), 0.45))
    for _ in range(int(rng.integers(0, 4))):
        _cloud(pen, (rng.uniform(0, width), rng.uniform(0.05, 0.5) * horizon), rng.uniform(0.05, 0.12) * width, sky)
    _hills(pen, size, horizon, mix(grass, sky, 0.5), rng)
    backdrops = [_trees, _fence, _houses]
    for index in rng.permutation(len(backdrops))[: int(rng.integers(1, 3))].tolist():
        backdrops[index](pen, size, horizon, rng)
    _gradient(pen, (0, horizon, width, height), shade(grass, 0.86), shade(grass, 1.08))
    _bushes(pen, size, horizon, rng)
    if rng.random() < 0.35:
        _path(pen, size, horizon, rng)
    _blades(pen, size, horizon, grass, rng)


def _cloud(pen: ImageDraw.ImageDraw, at: tuple[float, float], radius: float, sky: Colour) -> None:
    for dx, dy, share in ((0, 0, 1.0), (-0.9, 0.15, 0.7), (0.9, 0.12, 0.75), (0.3, -0.25, 0.75)):
        x, y, r = at[0] + dx * radius, at[1] + dy * radius, radius * share
        pen.ellipse((x - r, y - r * 0.45, x + r, y + r * 0.45), fill=mix(sky, (255, 255, 255), 0.7))


def _hills(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, colour: Colour, rng: np.random.Generator
) -> None:
    width, _ = size
    x = np.linspace(0, width, 60)
    for tone in (1.08, 0.96):
        high = horizon * float(rng.uniform(0.1, 0.35))
        wave = np.sin(x / width * float(rng.uniform(3, 9)) + float(rng.uniform(0, 6)))
        y = horizon - high * (0.6 + 0.4 * wave)
        pen.polygon(
            [(0, horizon), *zip(x.tolist(), y.tolist(), strict=True), (width, horizon)], fill=shade(colour, tone)
        )


def _trees(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    for x in rng.uniform(0, width, size=int(rng.integers(1, 5))).tolist():
        high = float(rng.uniform(0.25, 0.5)) * height
        leaf = shade((92, 138, 80), float(rng.uniform(0.7, 1.15)))
        trunk = high * 0.05
        pen.rectangle((x - trunk, horizon - high * 0.6, x + trunk, horizon + 4), fill=(104, 80, 62))
        for _ in range(8):
            cx, cy = x + float(rng.normal(0, 0.15)) * high, horizon - high * float(rng.uniform(0.5, 0.95))
            r = high * float(rng.uniform(0.12, 0.22))
            pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=shade(leaf, float(rng.uniform(0.85, 1.15))))


def _fence(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    high, step = int(rng.uniform(0.1, 0.2) * height), int(rng.integers(16, 40))
    wood = mix(_pick(_FLOORS, rng), (240, 236, 228), float(rng.uniform(0, 0.8)))
    for x in range(int(rng.integers(step)), width, step):
        pen.rectangle(
            (x, horizon - high, x + step * 0.6, horizon + 3), fill=shade(wood, float(rng.uniform(0.92, 1.05)))
        )
    for y in (horizon - high * 0.75, horizon - high * 0.3):
        pen.rectangle((0, y, width, y + high * 0.1), fill=shade(wood, 0.82))


def _houses(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    for x in rng.uniform(-0.1 * width, width, size=int(rng.integers(1, 3))).tolist():
        wide, high = float(rng.uniform(0.12, 0.25)) * width, float(rng.uniform(0.15, 0.3)) * height
        wall, roof = _pick(_WALLS, rng), _pick(_CLOTH, rng)
        pen.rectangle((x, horizon - high, x + wide, horizon), fill=wall)
        pen.polygon(
            [(x - 8, horizon - high), (x + wide / 2, horizon - high * 1.5), (x + wide + 8, horizon - high)], fill=roof
        )
        for n in range(2):
            left = x + wide * (0.18 + 0.4 * n)
            pen.rectangle((left, horizon - high * 0.7, left + wide * 0.2, horizon - high * 0.35), fill=(92, 108, 124))


def _bushes(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    for x in rng.uniform(0, width, size=int(rng.integers(2, 9))).tolist():
        r = float(rng.uniform(0.02, 0.06)) * height
        leaf = shade((84, 124, 74), float(rng.uniform(0.75, 1.2)))
        for dx in (-1.0, 0.0, 1.0):
            pen.ellipse(
                (x + dx * r - r, horizon - r * (1.4 if dx == 0 else 1), x + dx * r + r, horizon + r * 0.6), fill=leaf
            )


def _path(pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: np.random.Generator) -> None:
    width, height = size
    far, near = rng.uniform(0.2, 0.8) * width, rng.uniform(-0.2, 1.2) * width
    corners = [(far - 8, horizon), (far + 8, horizon), (near + width * 0.25, height), (near - width * 0.25, height)]
    pen.polygon(corners, fill=shade((190, 176, 154), float(rng.uniform(0.85, 1.1))))


def _blades(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, grass: Colour, rng: np.random.Generator
) -> None:
    width, height = size
    count = 350
    xs, depth = rng.uniform(0, width, count), rng.random(count) ** 0.7
    ys = horizon + depth * (height - horizon)
    tones = rng.uniform(0.75, 1.2, count)
    for x, y, near, tone in zip(xs.tolist(), ys.tolist(), depth.tolist(), tones.tolist(), strict=True):
        high = 3 + 9 * near
        pen.line((x, y, x + high * (tone - 1), y - high), fill=shade(grass, tone), width=1 if near < 0.6 else 2)


def _textured(picture: Pixels, horizon: int, *, rough: float, rng: np.random.Generator) -> Pixels:
    """Patchy light and grain over the ground, fainter above it."""
    height, width = picture.shape[:2]
    patches = rng.normal(0, 1, (9, 16)).astype(np.float32)
    light = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC) * 7
    grain = cv2.resize(rng.normal(0, 1, (height // 2, width // 2)).astype(np.float32), (width, height)) * rough
    grain[:horizon] *= 0.3
    noisy = picture + (light + grain)[..., None]
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)
