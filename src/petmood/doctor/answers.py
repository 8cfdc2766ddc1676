"""Whether a run's answers are worth something: above the majority, of more than one class, numbered as the labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import linear_sum_assignment

from petmood.doctor.records import Check
from petmood.doctor.run import Run
from petmood.errors import UserError
from petmood.metrics import macro_f1, majority
from petmood.sampling import Numbers

#: Share of one answer from which on nothing else is said, and share of its class up to which that is wrong.
_ALWAYS, _ONLY = 0.97, 0.9
#: By how much balanced accuracy must rise if classes are renamed, and random orders that it must beat.
_RISE, _ORDERS = 0.15, 200


def check_beats_majority(run: Run) -> Check:
    """Whether the run beats always giving the commonest answer."""
    clips = run.metrics.get("clips")
    if clips:
        baseline = clips["baseline"]
        return judge_majority(
            accuracy=(clips["accuracy"], baseline["accuracy"]),
            f1=(clips["macro_f1"], baseline["macro_f1"]),
            answer=str(baseline["answer"]),
            source=f"clips of {run.metrics.get('split', 'the evaluation')}",
        )
    scores = _validation_scores(run)
    if "val_accuracy" not in scores:
        return Check(name="beats-majority", verdict="skipped", evidence="the run has no scores yet")
    answer, accuracy, f1 = _always(run)
    told = scores.get("val_clip_macro_f1")
    return judge_majority(
        accuracy=(scores["val_accuracy"], accuracy),
        f1=None if told is None else (told, f1),
        answer=answer,
        source=f"validation (epoch {scores['epoch']:.0f})" if "epoch" in scores else "validation",
    )


def judge_majority(*, accuracy: tuple[float, float], f1: tuple[float, float] | None, answer: str, source: str) -> Check:
    """The verdict on scores, each beside that of always giving one answer.

    Args:
        accuracy: of the run, and of always ``answer``.
        f1: macro-F1 of both; None where the run has none.
        answer: the commonest class of the training clips.
        source: what was judged, in words.
    """
    more_right, better_f1 = accuracy[0] > accuracy[1], f1 is not None and f1[0] > f1[1]
    verdict = "ok" if more_right and (better_f1 or f1 is None) else "warn" if more_right or better_f1 else "fail"
    told = f"{accuracy[0]:.3f} of {source} are right; always answering {answer!r} gives {accuracy[1]:.3f}"
    if f1:
        told += f" (macro-F1 {f1[0]:.3f} against {f1[1]:.3f})"
    remedies = {
        "fail": "0 is not the score to beat: it has learnt less than the commonest label says; ask the doctor about "
        "the work folder, and begin with `petmood train WORK --recipe probe`",
        "warn": "rare classes are bought with common ones, or the reverse: look at each class in the report",
    }
    return Check(
        name="beats-majority",
        verdict=verdict,  # type: ignore[arg-type]
        evidence=told,
        remedy=remedies.get(verdict, ""),
        numbers={"accuracy": list(accuracy), "macro_f1": list(f1) if f1 else None, "answer": answer},
    )


def _validation_scores(run: Run) -> dict[str, float]:
    """Of the epoch that became the model, or of the best one so far."""
    try:
        info = run.info
    except UserError:
        return max(run.epochs, key=lambda row: row.get("val_accuracy", 0.0), default={})
    return {**info.scores, "epoch": float(info.epoch)} if run.epochs else dict(info.scores)


def _always(run: Run) -> tuple[str, float, float]:
    """The commonest class of the training clips, and its accuracy on frames and macro-F1 on clips of validation."""
    frames = run.workspace.read_frames().filter("keep")
    names = sorted(set(frames["emotion"]))
    numbers = {name: number for number, name in enumerate(names)}
    first = frames.unique(["clip", "emotion"], keep="first", maintain_order=True)
    train, val = (first.filter(pl.col("split") == side)["emotion"] for side in ("train", "val"))
    if train.is_empty() or val.is_empty():
        raise UserError("the work folder has no training or no validation clips.", hint="run `petmood split WORK`")
    answer = majority(_numbers(train, numbers), len(names))
    labels = _numbers(val, numbers)
    judged = frames.filter(pl.col("split") == "val")["emotion"]
    share = float((judged == names[answer]).mean() or 0.0)
    return names[answer], share, macro_f1(labels, np.full(len(labels), answer), len(names))


def _numbers(emotions: pl.Series, numbers: dict[str, int]) -> Numbers:
    return np.array([numbers[name] for name in emotions], np.int64)


def check_permuted_classes(run: Run) -> Check:
    """Whether answers agree with the labels much better once classes are renamed."""
    answers = run.judged
    return judge_permuted(
        answers.labels, answers.predicted, run.info.classes, source=answers.source, units=answers.clips
    )


def judge_permuted(
    labels: Numbers, predicted: Numbers, classes: Sequence[str], *, source: str, units: Sequence[str]
) -> Check:
    """The verdict on whether two sides number the classes differently.

    Balanced accuracy is compared with the best that any renaming of the answers reaches (an assignment problem), and
    that with what renaming reaches by luck where answers say nothing.

    Args:
        labels: true class numbers, (n,).
        predicted: answers, (n,).
        classes: English names by class number.
        source: what was judged, in words.
        units: clip of each; frames of a clip are no observations of their own, so that one of each is taken.
    """
    first = np.unique(np.array(units), return_index=True)[1]
    labels, predicted = labels[first], predicted[first]
    own, best, order = renamed(_counts(labels, predicted, len(classes)))
    generator = np.random.default_rng(0)
    lucky = [renamed(_counts(generator.permutation(labels), predicted, len(classes)))[1] for _ in range(_ORDERS)]
    permuted = best - own > _RISE and best > float(np.quantile(lucky, 0.99))
    moves = [f"{classes[i]} → {classes[j]}" for i, j in enumerate(order) if i != j]
    how = f"; best if renamed: {', '.join(moves)} ({best:.2f})" if permuted else ""
    return Check(
        name="permuted-classes",
        verdict="fail" if permuted else "ok",
        evidence=f"balanced accuracy on {source} is {own:.2f}{how}"
        + ("" if permuted else f"; no renaming of the classes explains the answers much better ({best:.2f})"),
        remedy="one side numbers the classes in another order, such as that of appearance: take the numbers from one "
        "list everywhere (petmood.labels), and train again"
        if permuted
        else "",
        numbers={"balanced_accuracy": own, "renamed": best, "order": [int(number) for number in order]},
    )


def renamed(counts: npt.NDArray[np.int64]) -> tuple[float, float, Numbers]:
    """Balanced accuracy of a confusion matrix, the best by renaming answers, and the answer for each true class.

    Args:
        counts: rows are the true classes, columns the answers; rows without any are left out of the means.
    """
    totals = counts.sum(axis=1)
    present = totals > 0
    recalls = counts / np.maximum(totals, 1)[:, None]
    _, order = linear_sum_assignment(-recalls)
    own = float(np.diag(recalls)[present].mean())
    best = float(recalls[np.arange(len(recalls)), order][present].mean())
    return own, best, np.asarray(order, np.int64)


def _counts(labels: Numbers, predicted: Numbers, classes: int) -> npt.NDArray[np.int64]:
    """Confusion matrix; scikit-learn's checks of its input would take most of the time here."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def check_one_class(run: Run) -> Check:
    """Whether the run says more than one thing."""
    answers = run.judged
    return judge_one_class(answers.labels, answers.predicted, run.info.classes, source=answers.source)


def judge_one_class(labels: Numbers, predicted: Numbers, classes: Sequence[str], *, source: str) -> Check:
    """The verdict on how often the commonest answer is given."""
    counts = np.bincount(predicted, minlength=len(classes))
    number = int(counts.argmax())
    share, truth = float(counts[number] / len(predicted)), float((labels == number).mean())
    always = share >= _ALWAYS and truth <= _ONLY
    return Check(
        name="one-class",
        verdict="fail" if always else "ok",
        evidence=f"{share:.0%} of the answers for {source} are {classes[number]!r}, which {truth:.0%} are",
        remedy="it has learnt what is common, not what is seen: --loss balanced_softmax, a larger learning rate "
        "(`petmood find-lr WORK`), more epochs"
        if always
        else "",
        numbers={"answer": classes[number], "share": share, "truth": truth},
    )
