"""Which animals and clips a made-up data set holds: a pure plan, made from the settings before anything is drawn.

Emotion is dealt out to the clips without regard to action, stream, size or place, and evenly over the species, so that
nothing but the body can tell it.
"""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from petmood.errors import UserError
from petmood.labels import EMOTIONS, Species
from petmood.synth.settings import SynthSettings
from petmood.synth.words import ACTIONS, BREEDS, REAL_SHARES, SITUATIONS, Action

Split = Literal["Training", "Validation"]
Stream = Literal["manual", "auto"]

SIZES: tuple[tuple[int, int], ...] = ((960, 540), (1280, 720), (640, 360), (720, 1280), (540, 960))
_SIZE_WEIGHTS = (0.35, 0.15, 0.25, 0.1, 0.15)

#: Frames a second of the filmed video, and how often (the odd rates are commoner than in the real data, to be met).
_RATES = (30.0, 29.97, 59.94, 60.0, 25.0, 24.0, 15.0)
_RATE_WEIGHTS = (0.5, 0.16, 0.08, 0.08, 0.06, 0.06, 0.06)

#: Sampling rate of the released frames, in frames a second.
SAMPLED_FPS = 5.0

#: Share of animals in the early, manually labelled stream.
_MANUAL_SHARE = 0.08


@dataclass(frozen=True, kw_only=True)
class Animal:
    """One animal, filmed on one day: what its clips have in common."""

    index: int
    species: Species
    breed: str
    gender: Literal["MALE", "FEMALE"]
    age: int
    neuter: Literal["Y", "N"]
    together: int
    """Animals of the household (`animalCount`)."""
    location: Literal["실내", "실외"]
    date: str
    stream: Stream
    size: tuple[int, int]
    """Width and height of its pictures in pixels."""

    def key(self) -> tuple[object, ...]:
        """What tells animals apart in the label files; no two animals of a set share it."""
        same = (self.date, self.species, self.breed, self.gender, self.age)
        return (*same, self.neuter, self.together, self.location)


@dataclass(kw_only=True)
class Clip:
    """One clip: what is drawn, what its label file says, and what is wrong with it."""

    index: int
    animal: Animal
    action: Action
    emotion: str
    owner_emotion: str
    situation: str
    split: Split
    seq: int
    fps: float
    numbers: tuple[int, ...]
    """Frame numbers in the filmed video, ascending."""
    folder: str
    """Name of the picture folder; the label file is `<folder>.json`."""
    cut: frozenset[int] = frozenset()
    """Positions whose pictures the release left out."""
    irregular: set[str] = field(default_factory=set)
    frame_faults: dict[int, str] = field(default_factory=dict)
    """Damage by position in `numbers`."""
    clip_fault: str = ""

    def timestamp(self, position: int) -> int:
        """Milliseconds since the start of the video."""
        return int(self.numbers[position] * 1000 / self.fps)

    def picture(self, position: int) -> str:
        """File name of the picture at a position."""
        return f"frame_{self.numbers[position]}_timestamp_{self.timestamp(position)}.jpg"

    def unlisted_picture(self, position: int) -> str:
        """Name of an extra picture just after this one that the label file does not list."""
        number = self.numbers[position] + 1
        return f"frame_{number}_timestamp_{int(number * 1000 / self.fps)}.jpg"

    def kept(self) -> list[int]:
        """Positions whose pictures the release holds."""
        return [position for position in range(len(self.numbers)) if position not in self.cut]


def size_of(text: str) -> tuple[int, int]:
    """Width and height in pixels from `WIDTHxHEIGHT`.

    Raises:
        UserError: if the text is no such thing or the picture would be too small to draw in.
    """
    found = re.fullmatch(r"(\d{2,5})[x×](\d{2,5})", text.strip().lower())
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if min(width, height) < 64:
        raise UserError(f"size {text!r} is not WIDTHxHEIGHT of at least 64 pixels", hint="for example 960x540")
    return width, height


def emotion_shares(settings: SynthSettings) -> dict[str, float]:
    """Share of each emotion, adding up to 1.

    Raises:
        UserError: if a share names no emotion, is no number from 0 to 1, or all together exceed 1.
    """
    given: dict[str, float] = {}
    for text in settings.share:
        name, _, number = text.partition("=")
        try:
            given[name.strip()] = float(number)
        except ValueError:
            raise UserError(f"share {text!r} is not EMOTION=NUMBER", hint="for example fear=0.1") from None
    unknown = sorted(set(given).difference(EMOTIONS))
    if unknown:
        raise UserError(f"share names {unknown[0]!r}, no emotion; allowed are {', '.join(EMOTIONS)}")
    total = math.fsum(given.values())
    if not all(0 <= number <= 1 for number in given.values()) or total > 1 + 1e-9:
        raise UserError(f"shares {', '.join(settings.share)} are not from 0 to 1 or add up to more than 1")
    base = REAL_SHARES if settings.shares == "real" else dict.fromkeys(EMOTIONS, 1.0)
    rest = math.fsum(base[name] for name in EMOTIONS if name not in given)
    left = max(0.0, 1 - total)
    return {name: given.get(name, left * base[name] / rest if rest else 0.0) for name in EMOTIONS}


def quotas(settings: SynthSettings) -> dict[str, int]:
    """Clips of each emotion: the shares by largest remainder, none with a share below the minimum."""
    shares = emotion_shares(settings)
    total = math.fsum(shares.values())
    exact = {name: settings.clips * share / total for name, share in shares.items()}
    floor = min(settings.min_clips, settings.clips // 12)
    counts = {name: max(int(number), floor if number > 0 else 0) for name, number in exact.items()}
    while (over := sum(counts.values()) - settings.clips) != 0:
        step = -1 if over > 0 else 1
        movable = [name for name in EMOTIONS if exact[name] > 0 and (step > 0 or counts[name] > floor)]
        best = max(movable, key=lambda name: step * (exact[name] - counts[name]))
        counts[best] += step
    return counts


def plan(settings: SynthSettings) -> list[Clip]:
    """All clips of the set, in order; the same settings give the same plan."""
    rng = np.random.default_rng([settings.seed, 0])
    owners = _owners(settings, rng)
    emotions = _deal(quotas(settings), owners, rng)
    actions = _actions(owners, rng)
    splits = _splits(owners, actions, rng)
    seqs = _sequence_numbers(owners, rng)
    clips = []
    for index, animal in enumerate(owners):
        clip = _clip(settings, rng, index, animal, actions[index], emotions[index], splits[index], seqs[index])
        clips.append(clip)
    return clips


def cut_positions(clip: Clip, keep: int) -> frozenset[int]:
    """Positions that are lost when only the first `keep` pictures in string order are kept."""
    order = sorted(range(len(clip.numbers)), key=clip.picture)
    return frozenset(order[keep:])


def _owners(settings: SynthSettings, rng: np.random.Generator) -> list[Animal]:
    """The animal of each clip, an animal's clips next to each other."""
    count = min(settings.clips, max(2, round(settings.clips / settings.clips_per_animal)))
    dogs = round(count * settings.dogs)
    order = rng.permutation(count).tolist()
    kinds: list[Species] = ["dog" if place < dogs else "cat" for place in order]
    size = size_of(settings.size) if settings.size else None
    manual = set(rng.permutation(count)[: max(1, round(count * _MANUAL_SHARE))].tolist())
    seen: set[tuple[object, ...]] = set()
    animals = []
    for index, species in enumerate(kinds):
        animal = _animal(index, species, "manual" if index in manual else "auto", size, rng)
        while animal.key() in seen:
            animal = _animal(index, species, animal.stream, size, rng)
        seen.add(animal.key())
        animals.append(animal)
    # One clip each, the others at random: numbers differ between animals, as they do between owners.
    extra = rng.integers(count, size=settings.clips - count)
    return [animals[number] for number in sorted([*range(count), *extra.tolist()])]


def _animal(
    index: int, species: Species, stream: Stream, size: tuple[int, int] | None, rng: np.random.Generator
) -> Animal:
    start, days = (datetime.date(2020, 10, 1), 62) if stream == "manual" else (datetime.date(2020, 12, 15), 26)
    return Animal(
        index=index,
        species=species,
        breed=str(rng.choice(BREEDS[species])),
        gender="MALE" if rng.random() < 0.5 else "FEMALE",
        age=int(rng.integers(1, 16)),
        neuter="Y" if rng.random() < 0.7 else "N",
        together=int(rng.choice([1, 1, 1, 2, 2, 3, 5])),
        location="실내" if rng.random() < 0.6 else "실외",
        date=(start + datetime.timedelta(days=int(rng.integers(days)))).strftime("%Y%m%d"),
        stream=stream,
        size=size or SIZES[int(rng.choice(len(SIZES), p=_SIZE_WEIGHTS))],
    )


def _deal(counts: dict[str, int], owners: list[Animal], rng: np.random.Generator) -> list[str]:
    """An emotion for each clip: rare ones first, spread over species and animals as evenly as they go."""
    free = rng.permutation(len(owners)).tolist()
    of_species: Counter[tuple[str, str]] = Counter()
    of_animal: Counter[tuple[str, int]] = Counter()
    population = Counter(owner.species for owner in owners)
    dealt = [""] * len(owners)
    for emotion in sorted(counts, key=lambda name: (counts[name], name))[:-1]:
        for _ in range(counts[emotion]):
            # Looking at a few candidates is as good as looking at all, and keeps 10,000 clips quick.
            sample = free[:64]
            chosen = min(
                sample,
                key=lambda clip: (
                    of_animal[emotion, owners[clip].index],
                    of_species[emotion, owners[clip].species] / population[owners[clip].species],
                ),
            )
            free.remove(chosen)
            of_species[emotion, owners[chosen].species] += 1
            of_animal[emotion, owners[chosen].index] += 1
            dealt[chosen] = emotion
    last = max(counts, key=lambda name: (counts[name], name))
    return [name or last for name in dealt]


def _actions(owners: list[Animal], rng: np.random.Generator) -> list[Action]:
    """An action for each clip; a small set uses only the commonest, so that each has clips on both official sides."""
    chosen = []
    clips = Counter(owner.species for owner in owners)
    for owner in owners:
        table = ACTIONS[owner.species]
        table = table[: max(2, min(len(table), clips[owner.species] // 9))]
        weights = np.sqrt([action.clips for action in table])
        chosen.append(table[int(rng.choice(len(table), p=weights / weights.sum()))])
    return chosen


def _splits(owners: list[Animal], actions: list[Action], rng: np.random.Generator) -> list[Split]:
    """The official split: of each species and action, a ninth of the clips (rounded up), clip by clip."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, (owner, action) in enumerate(zip(owners, actions, strict=True)):
        members[owner.species, action.slug].append(index)
    splits: list[Split] = ["Training"] * len(owners)
    for key in sorted(members):
        for index in rng.permutation(members[key])[: math.ceil(len(members[key]) / 9)].tolist():
            splits[index] = "Validation"
    return splits


def _sequence_numbers(owners: list[Animal], rng: np.random.Generator) -> list[int]:
    """A number for each clip, unique, near-consecutive within an animal; the manual stream has the low ones."""
    numbers = []
    ends = {"manual": 6, "auto": 10_200}
    stride = {"manual": 10_000, "auto": 92_000}
    clips = Counter(owner.stream for owner in owners)
    previous = -1
    for owner in owners:
        # A jump before a new animal, one or two within it; jumps shrink where many clips share the range.
        widest = max(2, min(400, stride[owner.stream] // (2 * clips[owner.stream])))
        jump = int(rng.integers(1, widest)) if owner.index != previous else int(rng.integers(1, 3))
        ends[owner.stream] += jump
        previous = owner.index
        numbers.append(ends[owner.stream])
    return numbers


def _clip(
    settings: SynthSettings,
    rng: np.random.Generator,
    index: int,
    animal: Animal,
    action: Action,
    emotion: str,
    split: Split,
    seq: int,
) -> Clip:
    fps = _RATES[int(rng.choice(len(_RATES), p=_RATE_WEIGHTS))]
    spread = settings.frames // 6
    count = settings.frames + int(rng.integers(-spread, spread + 1))
    step = round(fps / SAMPLED_FPS)
    clip = Clip(
        index=index,
        animal=animal,
        action=action,
        emotion=emotion,
        owner_emotion=emotion,
        situation=str(rng.choice(SITUATIONS)),
        split=split,
        seq=seq,
        fps=fps,
        numbers=tuple(range(0, step * count, step)),
        folder="",
    )
    clip.folder = folder_name(clip)
    return clip


def folder_name(clip: Clip) -> str:
    """Folder of a clip's pictures: in the manual stream with the date and ending in `.mp4`, later without both."""
    name = f"{clip.animal.species}-{clip.action.slug}-{clip.seq:06d}"
    return f"{clip.animal.date}_{name}.mp4" if clip.animal.stream == "manual" else name
