"""Whether the network learns: from one batch, at the start, through all layers, at this learning rate."""

from __future__ import annotations

import copy
import dataclasses
import math
import time

import numpy as np
import torch
from torch.nn import functional

from petmood.doctor.records import Check
from petmood.doctor.trial import Trial, only_last_block
from petmood.doctor.work import Work, some_rows, squares
from petmood.errors import RunError, UserError
from petmood.losses import clip_counts
from petmood.model import EmotionNet
from petmood.recipes import TrainSettings
from petmood.train.find_rate import RangeTest, propose_rate
from petmood.train.trial import short

#: Pictures of the batch that must be learnt, steps and seconds for it, and the share that must come out right.
_PICTURES, _STEPS, _SECONDS, _LEARNT = 24, 60, 30.0, 0.95
_RATE = 3e-3
#: Nats by which the first loss may lie above that of a network that prefers no class.
_ABOVE = 0.7
#: Steps and seconds of the search for a learning rate, and the factor beyond which the chosen one is doubtful.
_SEARCH_STEPS, _SEARCH_LEAST, _SEARCH_SECONDS, _FACTOR = 60, 30, 40.0, 10.0
_SMALL_BATCH = 16
#: Clips of the commonest class for one of the rarest, from which on inverse-frequency weights do harm.
_IMBALANCE = 20.0


@dataclasses.dataclass(frozen=True)
class Memorised:
    """How far a batch was learnt by heart."""

    share: float
    """Of its pictures that are answered right, 0 to 1."""
    steps: int
    loss: float


def memorise(net: EmotionNet, images: torch.Tensor, labels: torch.Tensor, *, seconds: float = _SECONDS) -> Memorised:
    """How far the head and the last block of a copy of ``net`` learn some pictures by heart.

    Args:
        net: stays as it is.
        images: normalised, N × 3 × size × size, on the device of the network.
        labels: N class numbers.
        seconds: after which it ends in any case.
    """
    net = copy.deepcopy(net)
    net.freeze, net.freeze_norms, net.dropout.p = "none", False, 0.0
    only_last_block(net)
    for parameter in [*net.norm.parameters(), *net.classifier.parameters()]:
        parameter.requires_grad_(True)
    net.train()
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=_RATE)
    started = time.monotonic()
    best = Memorised(0.0, 0, math.nan)
    for step in range(1, _STEPS + 1):
        logits = net(images).float()
        loss = functional.cross_entropy(logits, labels)
        right = float((logits.argmax(dim=1) == labels).float().mean())
        if right >= best.share:
            best = Memorised(right, step, loss.item())
        if right == 1 or not torch.isfinite(loss) or time.monotonic() - started > seconds:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return best


def check_one_batch(work: Work) -> Check:
    """Whether a few pictures of all classes can be learnt by heart."""
    loop = work.loop
    rows = some_rows(loop.train, _PICTURES)
    labels = torch.from_numpy(loop.train.labels[rows])
    if len(rows) < 2 or len(labels.unique()) < 2:
        return Check(name="one-batch", verdict="skipped", evidence="there are not two clips of two classes to learn")
    images = loop.preprocessing.normalise(squares(loop, loop.train, rows))
    net = copy.deepcopy(loop.module.net).to(loop.device)
    found = memorise(net, images.to(loop.device), labels.to(loop.device))
    return judge_memorised(found, pictures=len(rows))


def judge_memorised(found: Memorised, *, pictures: int) -> Check:
    """The verdict on a batch that was to be learnt by heart."""
    learnt = found.share >= _LEARNT
    how = f"{found.share:.0%} of {pictures} pictures of {pictures} clips after {found.steps} steps"
    return Check(
        name="one-batch",
        verdict="ok" if learnt else "fail",
        evidence=f"head and last block learn {how} (loss {found.loss:.2f})",
        remedy=""
        if learnt
        else "if so few cannot be learnt by heart, nothing can: look at the pictures (`petmood sheet WORK`: blank? all "
        "alike? with contradicting labels?) and at input-range and gradients",
        numbers={"right": found.share, "pictures": pictures, "steps": found.steps, "loss": found.loss},
    )


def check_start_loss(work: Work) -> Check:
    """Whether the first loss is that of a network which knows nothing yet."""
    return judge_start(work.trial, classes=work.loop.module.net.classifier.out_features, settings=work.settings)


def judge_start(trial: Trial, *, classes: int, settings: TrainSettings) -> Check:
    """The verdict on the first loss: about ln(classes) without weights, or what the chosen loss makes of it."""
    first, ignorant = trial.losses[0], trial.ignorant
    trained_head = bool(settings.init) and not settings.new_head
    wrong = not first <= ignorant + max(_ABOVE, 0.35 * ignorant)
    remedy = ""
    if wrong:
        remedy = (
            "the run to start from knows less than nothing here: were its classes or its preprocessing others?"
            if trained_head
            else "a new head should prefer no class: look at input-range, and at the scale of the first weights"
        )
    return Check(
        name="start-loss",
        verdict="fail" if wrong else "ok",
        evidence=f"the first loss is {first:.2f}; a network that prefers none of {classes} classes has {ignorant:.2f} "
        f"with this loss (ln {classes} = {math.log(classes):.2f})",
        remedy=remedy,
        numbers={"loss": first, "ignorant": ignorant, "classes": classes},
    )


def check_gradients(work: Work) -> Check:
    """Whether gradients reach every trainable parameter, and no frozen one changes."""
    return judge_gradients(work.trial, freeze=work.settings.freeze)


def judge_gradients(trial: Trial, *, freeze: str) -> Check:
    """The verdict on what some steps did to the weights."""
    faults = {
        "get gradients that are no finite numbers": trial.broken,
        "get no gradient though they should be trained": trial.unreached,
        f"are trained or changed though --freeze {freeze} should keep them": trial.thawed,
    }
    told = [
        f"{len(names)} {what} ({', '.join(names[:2])}{' …' * (len(names) > 2)})"
        for what, names in faults.items()
        if names
    ]
    remedy = "the network is not wired as --freeze says: do not detach features or thaw parts by hand"
    if trial.broken:
        remedy = "try a smaller --learning-rate, --clip-gradient 1 or --precision 32"
    return Check(
        name="gradients",
        verdict="fail" if told else "ok",
        evidence="; ".join(told)
        or f"in {trial.steps} steps gradients reached every trainable parameter, no frozen one",
        remedy=remedy if told else "",
        numbers={"broken": list(trial.broken), "unreached": list(trial.unreached), "thawed": list(trial.thawed)},
    )


def check_learning_rate(work: Work) -> Check:
    """Whether the learning rate is of the size that a short range test finds."""
    batch = work.settings.batch_size if work.loop.device == "cuda" else min(_SMALL_BATCH, work.settings.batch_size)
    each = batch * work.settings.accumulate / max(1e-9, work.trial.rate)
    steps = min(_SEARCH_STEPS, int(_SEARCH_SECONDS / each))
    if steps < _SEARCH_LEAST:
        why = f"a search would take {_SEARCH_LEAST * each:,.0f} s here; `petmood find-lr {work.workspace.root}` does it"
        return Check(name="learning-rate", verdict="skipped", evidence=why)
    try:
        proposal = _proposal(work, batch=batch, steps=steps)
    except UserError as error:
        return Check(
            name="learning-rate", verdict="skipped", evidence=f"{steps} small steps cannot tell: {error.message}"
        )
    return judge_rate(work.settings, proposal * math.sqrt(work.settings.batch_size / batch), steps=steps)


def _proposal(work: Work, *, batch: int, steps: int) -> float:
    """What a range test with a copy of the network proposes for that batch size.

    Raises:
        UserError: no rate lowers the loss clearly.
    """
    settings = dataclasses.replace(work.loop.settings, batch_size=batch, learning_rate=1.0)
    module = copy.deepcopy(work.loop.module)
    module.settings = settings
    rates = np.geomspace(1e-6, 1.0, steps)
    test = RangeTest(rates, lambda _: None)
    try:
        dataclasses.replace(work.loop, module=module, settings=settings).try_steps(steps, test)
    except RunError:
        if not test.losses:
            raise
    return propose_rate(rates[: len(test.losses)], np.array(test.losses))


def judge_rate(settings: TrainSettings, proposal: float, *, steps: int) -> Check:
    """The verdict on a learning rate beside the one that was found for the same batch size."""
    rate = settings.learning_rate
    low, high = rate < proposal / _FACTOR, rate > proposal * _FACTOR
    times = max(rate / proposal, proposal / rate)
    far = f", {times:,.0f} times {'less' if low else 'more'}" if low or high else ""
    told = "learns nothing for hours" if low else "throws away what the network knows, or diverges"
    return Check(
        name="learning-rate",
        verdict="warn" if low or high else "ok",
        evidence=f"--learning-rate {short(rate)}{far}; {steps} small steps find {short(proposal)}",
        remedy=f"such a rate {told}: try --learning-rate {short(proposal)}, or `petmood find-lr WORK` to search better"
        if far
        else "",
        numbers={"learning_rate": rate, "proposal": proposal, "steps": steps},
    )


def check_loss_weights(work: Work) -> Check:
    """Whether rare classes are made up for in a way that helps."""
    samples = work.loop.train
    clips = clip_counts(samples.clips, samples.labels, work.loop.module.net.classifier.out_features)
    return judge_weights(work.settings, clips.tolist())


def judge_weights(settings: TrainSettings, clips: list[int]) -> Check:
    """The verdict on class weights beside how many clips each class has."""
    present = [count for count in clips if count]
    ratio = max(present) / min(present)
    heavy = settings.class_weights == "balanced" and settings.sampling == "natural" and ratio >= _IMBALANCE
    chosen = f"class weights {settings.class_weights}, loss {settings.loss}, sampling {settings.sampling}"
    return Check(
        name="loss-weights",
        verdict="warn" if heavy else "ok",
        evidence=f"the commonest class has {ratio:,.0f} times the clips of the rarest; {chosen}"
        + f": a clip of the rarest counts {ratio:,.0f} times as much" * heavy,
        remedy="inverse-frequency weights of that size do worse than none (on CIFAR-10-LT 31.2 % error against 30.1 %; "
        "balanced softmax 23.6 %): --loss balanced_softmax --class-weights none"
        if heavy
        else "",
        numbers={"ratio": ratio, "clips": clips},
    )
