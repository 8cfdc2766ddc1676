"""How an emotion shows in the body: one row of cues each, their spread between clips, and their motion within one.

The cues follow what ethology agrees on for dogs and cats alike: tail, ears, back, height of the body, mouth, raised
fur. None of them tells the emotion alone: each is jittered, and now and then falls back to that of a calm animal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Cues:
    """The state of a body; 0 to 1 unless said otherwise."""

    crouch: float
    """0 stands tall, 1 lies on its elbows."""
    bow: float
    """Forehand lower than hindquarters; negative is the other way."""
    arch: float
    """Back rounded upwards; negative sags."""
    tail: float
    """Degrees of the tail's root above straight backwards; below -90 it points under the belly."""
    curl: float
    """Degrees by which the tail turns further up along its length."""
    wag: float
    """Degrees of tail movement."""
    puff: float
    """Tail hair standing on end."""
    ears: float
    """1 pricked forwards, 0 at rest, -1 flat on the neck."""
    neck: float
    """Degrees of the neck above the horizontal."""
    reach: float
    """Neck stretched out; 0 drawn in."""
    nod: float
    """Degrees of the head's own tilt; negative looks down."""
    mouth: float
    """How far the mouth is open."""
    teeth: float
    """How far lips are drawn back."""
    tongue: float
    """How far the tongue hangs out."""
    fur: float
    """Raised fur from neck to rump."""
    eyes: float
    """How wide the eyes are; 0.5 at rest."""
    brow: float
    """1 frowns, -1 worried."""
    stiff: float
    """How much less the body moves."""


#: The table everything rests on.
EMOTION_CUES: Mapping[str, Cues] = {
    "happy": Cues(
        crouch=0.05, bow=0.06, arch=-0.06, tail=62, curl=35, wag=24, puff=0, ears=0.75, neck=58, reach=0.75, nod=6,
        mouth=0.6, teeth=0, tongue=1, fur=0, eyes=0.55, brow=-0.1, stiff=0,
    ),
    "calm": Cues(
        crouch=0.06, bow=0, arch=0, tail=-42, curl=12, wag=5, puff=0, ears=0.1, neck=42, reach=0.6, nod=0,
        mouth=0, teeth=0, tongue=0, fur=0, eyes=0.38, brow=0, stiff=0.2,
    ),
    "anxious": Cues(
        crouch=0.45, bow=0.04, arch=0.28, tail=-88, curl=-18, wag=2, puff=0, ears=-0.6, neck=22, reach=0.35, nod=-12,
        mouth=0.05, teeth=0, tongue=0, fur=0, eyes=0.75, brow=-0.9, stiff=0.3,
    ),
    "angry": Cues(
        crouch=0, bow=-0.06, arch=0.14, tail=30, curl=-8, wag=4, puff=0.55, ears=-0.85, neck=40, reach=0.5, nod=-8,
        mouth=0.14, teeth=1, tongue=0, fur=0.6, eyes=0.5, brow=1, stiff=0.9,
    ),
    "fear": Cues(
        crouch=0.78, bow=0.06, arch=0.8, tail=-112, curl=-40, wag=0, puff=0.4, ears=-1, neck=12, reach=0.05, nod=-16,
        mouth=0.12, teeth=0.1, tongue=0, fur=0.75, eyes=1, brow=-0.8, stiff=0.7,
    ),
    "aggressive": Cues(
        crouch=0.14, bow=0.3, arch=0.02, tail=6, curl=4, wag=2, puff=0.75, ears=0.65, neck=4, reach=1, nod=4,
        mouth=0.85, teeth=1, tongue=0.05, fur=1, eyes=0.6, brow=1, stiff=0.7,
    ),
}  # fmt: skip

#: Spread between clips (standard deviation), wide enough that any one cue overlaps between emotions.
_SPREAD = Cues(
    crouch=0.09, bow=0.05, arch=0.08, tail=15, curl=10, wag=4, puff=0.12, ears=0.22, neck=9, reach=0.15, nod=6,
    mouth=0.12, teeth=0.15, tongue=0.2, fur=0.14, eyes=0.1, brow=0.25, stiff=0.1,
)  # fmt: skip

_NAMES = tuple(field.name for field in fields(Cues))
_LOW = Cues(
    crouch=0, bow=-0.2, arch=-0.2, tail=-135, curl=-70, wag=0, puff=0, ears=-1, neck=-5, reach=0, nod=-30,
    mouth=0, teeth=0, tongue=0, fur=0, eyes=0.15, brow=-1, stiff=0,
)  # fmt: skip
_HIGH = Cues(
    crouch=0.95, bow=0.5, arch=1, tail=95, curl=80, wag=40, puff=1, ears=1, neck=75, reach=1, nod=25,
    mouth=1, teeth=1, tongue=1, fur=1, eyes=1, brow=1, stiff=1,
)  # fmt: skip

#: A happy animal now and then invites to play: forehand down, hindquarters up.
_PLAY_BOW_SHARE = 0.15

#: How often one cue of a clip is that of a calm animal instead.
_LAPSE = 0.07


def _vector(cues: Cues) -> NDArray[np.float64]:
    return np.array([getattr(cues, name) for name in _NAMES])


def _cues(vector: NDArray[np.float64]) -> Cues:
    values = np.clip(vector, _vector(_LOW), _vector(_HIGH)).tolist()
    return Cues(**dict(zip(_NAMES, values, strict=True)))


class Motion:
    """The cues of one clip over time: the emotion's, jittered once for the clip, then moving smoothly."""

    def __init__(self, emotion: str, rng: np.random.Generator) -> None:
        base = _vector(EMOTION_CUES[emotion])
        lapsed = rng.random(len(base)) < _LAPSE
        base = np.where(lapsed, _vector(EMOTION_CUES["calm"]), base)
        self._base = base + rng.normal(size=len(base)) * _vector(_SPREAD)
        if emotion == "happy" and rng.random() < _PLAY_BOW_SHARE:
            self._base[_NAMES.index("bow")] += 0.35
        self._swing = rng.uniform(0.15, 0.4, size=len(base)) * _vector(_SPREAD)
        self._pace = rng.uniform(0.6, 2.2, size=len(base))
        self._phase = rng.uniform(0, 2 * np.pi, size=len(base))
        self._wag_pace = float(rng.uniform(4, 9))

    def at(self, seconds: float) -> Cues:
        """The cues at a time since the start of the clip; smooth in it."""
        still = self._base[_NAMES.index("stiff")]
        moved = self._base + self._swing * (1 - 0.6 * still) * np.sin(self._pace * seconds + self._phase)
        wag = max(self._base[_NAMES.index("wag")], 0.0)
        moved[_NAMES.index("tail")] += wag * np.sin(self._wag_pace * seconds + self._phase[0])
        return _cues(moved)
