"""The loss against formulas written out, and against scikit-learn's class weights."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from petmood.losses import EmotionLoss, balanced_weights, clip_counts

LABELS = np.array([0] * 6 + [1] * 3 + [2])
CLIPS = ["a", "a", "a", "a", "b", "b", "c", "d", "e", "f"]


def example(count=8, classes=3):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, classes, generator=generator)
    return logits, torch.randint(0, classes, (count,), generator=generator), torch.ones(count)


def test_clips_are_counted_not_frames():
    assert clip_counts(CLIPS, LABELS, 4).tolist() == [2, 3, 1, 0]


def test_balanced_weights_are_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(balanced_weights(LABELS, 3), expected, rtol=1e-6)


def test_a_class_without_frames_gets_no_weight():
    assert balanced_weights(LABELS, 4)[3] == 0


def test_plain_loss_is_cross_entropy():
    logits, labels, ones = example()
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(EmotionLoss(label_smoothing=0.1)(logits, labels, ones), expected)


def test_balanced_softmax_is_the_papers_formula():
    logits, labels, ones = example()
    counts = np.array([2, 30, 1])
    scaled = torch.tensor(counts) * logits.exp()
    expected = -(scaled[torch.arange(8), labels] / scaled.sum(dim=1)).log().mean()
    torch.testing.assert_close(EmotionLoss(clip_counts=counts)(logits, labels, ones), expected)


def test_balanced_softmax_changes_nothing_when_classes_are_equally_frequent():
    logits, labels, ones = example()
    balanced = EmotionLoss(label_smoothing=0.1, clip_counts=np.array([5, 5, 5]))
    torch.testing.assert_close(balanced(logits, labels, ones), EmotionLoss(label_smoothing=0.1)(logits, labels, ones))


def test_a_class_without_clips_leaves_the_loss_finite():
    logits, labels, ones = example()
    assert torch.isfinite(EmotionLoss(clip_counts=np.array([5, 5, 0]))(logits, labels, ones))


def test_sample_weights_multiply_each_loss():
    logits, labels, _ = example()
    weights = torch.tensor([0.0, 2.0] * 4)
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(EmotionLoss()(logits, labels, weights), (each * weights).mean())


def test_class_weights_multiply_by_class():
    logits, labels, ones = example()
    weights = np.array([1.0, 3.0, 0.5], np.float32)
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    expected = (each * torch.tensor(weights)[labels]).mean()
    torch.testing.assert_close(EmotionLoss(class_weights=weights)(logits, labels, ones), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_formats_are_computed_in_32_bits(dtype):
    logits, labels, ones = example()
    assert EmotionLoss(clip_counts=np.array([1, 285, 9]))(logits.to(dtype), labels, ones).dtype == torch.float32
