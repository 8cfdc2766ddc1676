"""Tell a trained run how often each emotion will be met, without training it again.

A network learns how often it was shown each emotion, and expects the same ever after. Where the shares will be
others, the right answers follow in closed form: Menon et al. 2021 (arXiv 2007.07314), ``bundle.assume_shares``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

from petmood.bundle import RESULTS, BundleInfo, assume_shares, read_info
from petmood.errors import UserError
from petmood.labels import display, emotion_of

Shares = dict[str, float]

#: From this factor on, by which an emotion is expected more often than in training, it matters what was learnt exactly.
_MUCH = 2.0
_ALLOWED = "allowed are uniform, training, trained, or EMOTION=SHARE,… for each emotion of the model"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adjusted:
    """What an adjustment changed."""

    run: Path
    before: Mapping[str, float]
    """Emotion → share that the answers expected; in sum 1."""
    after: Mapping[str, float]
    """The same from now on."""
    removed: tuple[str, ...]
    """Files of an earlier evaluation, which spoke of the model as it was."""
    notes: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether the answers are others than before."""
        return dict(self.before) != dict(self.after)

    @property
    def lines(self) -> tuple[str, ...]:
        """The summary for people."""
        rows = [f"{'emotion':<24}{'expected before':>16}{'from now on':>16}"]
        for name, share in self.after.items():
            korean = display(name, "ko")
            # Korean letters take two columns.
            wide = sum(ord(letter) > 0x1100 for letter in korean)
            rows.append(f"{f'{name} {korean}':<{24 - wide}}{self.before[name]:>16.2%}{share:>16.2%}")
        if self.removed:
            rows.append(f"removed, because they spoke of the model as it was: {', '.join(self.removed)}")
        rows += [f"note: {note}" for note in self.notes]
        if self.changed:
            rows.append(f"judge it again: petmood evaluate {self.run}")
        return tuple(rows)


def adjust(run: Path, target: str) -> Adjusted:
    """Let a run's answers expect ``target``; the weights on the disk stay, so that it can be taken back exactly.

    Args:
        run: run folder of a training.
        target: ``uniform``; ``training`` for the shares of the clips it was trained on; ``trained`` for what it
            expected when it came out of training; or ``EMOTION=SHARE,…``, a number above 0 for each emotion of the
            model, in Korean or English, of which only the proportions matter.

    Raises:
        UserError: no model, one that does not say what it expects, or a target that is none.
    """
    info = read_info(run)
    if not info.shares:
        raise UserError(
            f"run {run} does not say which shares of the emotions its answers expect; it was made by an older petmood.",
            hint="train it again with `petmood train`",
        )
    after = target_shares(target, info)
    if after == dict(info.shares):
        return Adjusted(run=run, before=info.shares, after=after, removed=(), notes=())
    removed = tuple(name for name in RESULTS if (run / name).exists())
    changed = assume_shares(run, after)
    note = _approximate(info, after)
    notes = (note,) if note else ()
    return Adjusted(run=run, before=info.shares, after=changed.shares, removed=removed, notes=notes)


def target_shares(target: str, info: BundleInfo) -> Shares:
    """Emotion → share above 0, in the order of the model's classes, in sum 1.

    Raises:
        UserError: see ``adjust``.
    """
    if target == "trained":
        return dict(info.trained_shares)
    if target == "uniform":
        return _normalised(dict.fromkeys(info.classes, 1.0))
    if target == "training":
        # A share of 0 would mean that it never occurs; that nobody has seen it says less.
        return _normalised({name: float(max(info.training_clips.get(name, 0), 1)) for name in info.classes})
    given: Shares = {}
    for part in target.split(","):
        name, share = _pair(part, info)
        if name in given:
            raise UserError(f"target {target!r} names {name} twice; {_ALLOWED}.")
        given[name] = share
    missing = [name for name in info.classes if name not in given]
    if missing:
        raise UserError(f"target {target!r} leaves out {', '.join(missing)}; {_ALLOWED}.")
    return _normalised({name: given[name] for name in info.classes})


def _pair(part: str, info: BundleInfo) -> tuple[str, float]:
    word, equals, number = part.partition("=")
    name = emotion_of(word)
    if not equals or name not in info.classes:
        raise UserError(
            f"target {part.strip()!r} is not a share of one of the model's emotions; {_ALLOWED}.",
            hint=f"its emotions are {', '.join(' '.join((one, display(one, 'ko'))) for one in info.classes)}",
        )
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not 0 < share < math.inf:
        raise UserError(
            f"target {part.strip()!r} has no share above 0; allowed are numbers above 0 (only the proportions matter).",
            hint="give an emotion that you hardly expect a small number, such as 0.001",
        )
    return name, share


def _normalised(shares: Shares) -> Shares:
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def _approximate(info: BundleInfo, after: Mapping[str, float]) -> str:
    """Why the adjusted answers are not quite right, or nothing."""
    most = max(share / info.trained_shares[name] for name, share in after.items())
    if most <= _MUCH:
        return ""
    loss, smoothing = info.settings.get("loss"), float(info.settings.get("label_smoothing", 0.0))
    if loss == "focal":
        return "the focal loss does not learn probabilities, so that the adjusted answers are only about right"
    if loss == "cross_entropy" and smoothing > 0:
        return (
            f"label smoothing ({smoothing:g}) taught the network to expect more of the rare emotions than there is, so "
            "that this adjustment overshoots; train with balanced_softmax, or with --label-smoothing 0"
        )
    return ""
