"""The loss against formulas written out, and class weights against scikit-learn and numbers computed by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy, nll_loss, one_hot

from petmood.losses import EmotionLoss, class_weights, clip_counts, effective_numbers, filled

LABELS = np.array([0] * 6 + [1] * 3 + [2])
SHARES = np.array([0.6, 0.3, 0.1])
CLIPS = ["a", "a", "a", "a", "b", "b", "c", "d", "e", "f"]
KINDS = ("none", "balanced", "sqrt", "effective")


def example(count=8, classes=3):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, classes, generator=generator)
    return logits, torch.randint(0, classes, (count,), generator=generator), torch.ones(count)


def test_clips_are_counted_not_frames():
    assert clip_counts(CLIPS, LABELS, 4).tolist() == [2, 3, 1, 0]


# Class weights


def test_balanced_weights_are_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(class_weights("balanced", SHARES, clips=10), expected, rtol=1e-6)


def test_sqrt_weights_by_hand():
    raw = np.array([1 / 0.6**0.5, 1 / 0.3**0.5, 1 / 0.1**0.5])
    expected = raw / (0.6**0.5 + 0.3**0.5 + 0.1**0.5)
    np.testing.assert_allclose(class_weights("sqrt", SHARES, clips=10), expected, rtol=1e-6)


def test_effective_numbers_by_hand():
    # 10 clips: b = 0.9; one clip shows 1 thing, two show 1 + 0.9, three 1 + 0.9 + 0.81.
    np.testing.assert_allclose(effective_numbers(np.array([1.0, 2.0, 3.0]), clips=10), [1, 1.9, 2.71], rtol=1e-9)
    numbers = np.array([1 - 0.9**6, 1 - 0.9**3, 1 - 0.9]) / 0.1
    expected = (1 / numbers) / (SHARES / numbers).sum()
    np.testing.assert_allclose(class_weights("effective", SHARES, clips=10), expected, rtol=1e-6)


def test_one_clip_is_no_special_case():
    assert effective_numbers(np.array([1.0, 0.0]), clips=1).tolist() == [1, 0]


shares = st.lists(st.one_of(st.just(0.0), st.floats(1e-4, 1)), min_size=2, max_size=6).filter(any)


@given(shares, st.sampled_from(KINDS), st.integers(1, 100_000))
def test_weights_have_the_mean_1_over_what_is_shown_and_prefer_the_rare(values, kind, clips):
    s = np.array(values) / sum(values)
    weights = class_weights(kind, s, clips=clips)
    assert (weights[s == 0] == 0).all()
    assert float((s * weights).sum()) == pytest.approx(1, rel=1e-4)
    order = np.argsort(s[s > 0], kind="stable")
    assert (np.diff(weights[s > 0][order]) <= 1e-5 * weights.max()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_shares_leave_nothing_to_weight(kind):
    np.testing.assert_allclose(class_weights(kind, np.full(6, 1 / 6), clips=1000), 1, rtol=1e-6)


def test_a_class_that_is_never_shown_counts_as_the_rarest_that_is():
    np.testing.assert_allclose(filled(np.array([0.75, 0.25, 0.0])), [0.6, 0.2, 0.2])


# The loss


def test_plain_loss_is_cross_entropy():
    logits, labels, ones = example()
    torch.testing.assert_close(EmotionLoss()(logits, labels, ones), cross_entropy(logits, labels))
    expected = cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(EmotionLoss(label_smoothing=0.1)(logits, labels, ones), expected)


def test_balanced_softmax_is_the_papers_formula():
    logits, labels, ones = example()
    scaled = torch.tensor(SHARES, dtype=torch.float32) * logits.exp()
    expected = -(scaled[torch.arange(8), labels] / scaled.sum(dim=1)).log().mean()
    torch.testing.assert_close(EmotionLoss(shares=SHARES)(logits, labels, ones), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_balanced_softmax_changes_nothing_when_classes_are_equally_frequent(smoothing):
    logits, labels, ones = example()
    balanced = EmotionLoss(label_smoothing=smoothing, shares=np.full(3, 1 / 3))
    plain = EmotionLoss(label_smoothing=smoothing)
    torch.testing.assert_close(balanced(logits, labels, ones), plain(logits, labels, ones))


def test_a_network_that_knows_only_the_shares_has_nothing_to_learn():
    """The gradient property: the best constant answer of balanced softmax is uniform, of cross entropy the shares."""
    labels, ones = torch.from_numpy(LABELS), torch.ones(10)
    for loss, best in ((EmotionLoss(shares=SHARES), torch.zeros(3)), (EmotionLoss(), torch.tensor(SHARES).log())):
        logits = best.float().repeat(10, 1).requires_grad_()
        loss(logits, labels, ones).backward()
        torch.testing.assert_close(logits.grad.sum(dim=0), torch.zeros(3), atol=1e-6, rtol=0)


def test_a_class_without_clips_leaves_the_loss_finite():
    logits, labels, ones = example()
    assert torch.isfinite(EmotionLoss(shares=np.array([0.5, 0.5, 0]))(logits, labels, ones))


def test_smoothing_does_not_correct_for_rarity_a_second_time():
    """The best answers of balanced softmax name the class that is likeliest if all are equally frequent.

    Eight kinds of pictures, of which each class shows some more often than others; one class is 300 times as frequent
    as another.
    """
    generator = np.random.default_rng(0)
    shares = np.array([0.6, 0.398, 0.002])
    likelihood = generator.dirichlet(np.full(8, 0.5), size=3)  # class × kind of picture
    joint = torch.tensor(shares[:, None] * likelihood, dtype=torch.float32)
    kinds, labels = torch.meshgrid(torch.arange(8), torch.arange(3), indexing="ij")
    weights = joint.T.reshape(-1) * 24
    loss = EmotionLoss(label_smoothing=0.1, shares=shares)
    table = torch.zeros(8, 3, requires_grad=True)
    optimizer = torch.optim.LBFGS([table], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(table[kinds.reshape(-1)], labels.reshape(-1), weights)
        value.backward()
        return value

    optimizer.step(closure)
    assert table.argmax(dim=1).tolist() == likelihood.argmax(axis=0).tolist()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_with_gamma_0_is_cross_entropy(smoothing):
    logits, labels, ones = example()
    focal = EmotionLoss(focal_gamma=0.0, label_smoothing=smoothing)
    expected = cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(focal(logits, labels, ones), expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_is_the_papers_formula(gamma):
    logits, labels, ones = example()
    right = logits.softmax(dim=1)[torch.arange(8), labels]
    expected = (-((1 - right) ** gamma) * right.log()).mean()
    torch.testing.assert_close(EmotionLoss(focal_gamma=gamma)(logits, labels, ones), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_stays_finite_for_certain_answers(gamma):
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    loss = EmotionLoss(focal_gamma=gamma)(logits, torch.tensor([0, 0]), torch.ones(2))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_sample_weights_multiply_each_loss():
    logits, labels, _ = example()
    weights = torch.tensor([0.0, 2.0] * 4)
    each = cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(EmotionLoss()(logits, labels, weights), (each * weights).mean())


def test_class_weights_multiply_by_class():
    logits, labels, ones = example()
    weights = np.array([1.0, 3.0, 0.5], np.float32)
    each = cross_entropy(logits, labels, reduction="none")
    expected = (each * torch.tensor(weights)[labels]).mean()
    torch.testing.assert_close(EmotionLoss(class_weights=weights)(logits, labels, ones), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("options", [{"shares": np.array([0.003, 0.967, 0.03])}, {"focal_gamma": 2.0}])
def test_short_formats_are_computed_in_32_bits(dtype, options):
    logits, labels, ones = example()
    loss = EmotionLoss(label_smoothing=0.1, **options)
    assert loss(logits.to(dtype), labels, ones).dtype == torch.float32


# Mixed pictures

LOSSES = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.1},
    "balanced softmax": {"shares": SHARES, "label_smoothing": 0.1},
    "weighted": {"class_weights": np.array([1.0, 3.0, 0.5], np.float32), "label_smoothing": 0.1},
    "focal": {"focal_gamma": 2.0, "label_smoothing": 0.1, "shares": SHARES},
}


@pytest.mark.parametrize("options", LOSSES.values(), ids=LOSSES)
def test_a_target_that_is_all_one_class_is_that_class(options):
    logits, labels, _ = example()
    weights = torch.linspace(0.5, 2, 8)
    loss = EmotionLoss(**options)
    torch.testing.assert_close(loss(logits, one_hot(labels, 3).float(), weights), loss(logits, labels, weights))


@pytest.mark.parametrize("options", LOSSES.values(), ids=LOSSES)
def test_a_mixed_picture_has_the_mixed_loss(options):
    logits, labels, ones = example()
    others = labels.roll(1)
    loss = EmotionLoss(**options)
    mixed = 0.3 * one_hot(labels, 3) + 0.7 * one_hot(others, 3)
    expected = 0.3 * loss(logits, labels, ones) + 0.7 * loss(logits, others, ones)
    torch.testing.assert_close(loss(logits, mixed, ones), expected)


def test_soft_targets_are_torchs_cross_entropy():
    logits, _, ones = example()
    targets = torch.rand(8, 3, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    expected = cross_entropy(logits, targets, label_smoothing=0.1)
    torch.testing.assert_close(EmotionLoss(label_smoothing=0.1)(logits, targets, ones), expected)


def test_class_numbers_give_bit_for_bit_what_they_gave_before_there_were_mixed_targets():
    logits, labels, ones = example()
    weights = torch.tensor([1.0, 3.0, 0.5])
    logs = (logits + torch.tensor(SHARES, dtype=torch.float32).log()).log_softmax(dim=1)
    losses = 0.9 * nll_loss(logs, labels, reduction="none") - 0.1 * (logs @ torch.tensor(SHARES, dtype=torch.float32))
    expected = (losses * weights[labels] * ones).mean()
    loss = EmotionLoss(label_smoothing=0.1, shares=SHARES, class_weights=weights.numpy())
    assert torch.equal(loss(logits, labels, ones), expected)
