"""The network's shape, and that what is frozen stays as it is through real training steps."""

import pytest
import torch
from torch import nn

from petmood.errors import UserError
from petmood.model import EmotionNet, feature_count, last_block
from petmood.weights import create_backbone

MODELS = ["test_efficientnet", "test_resnet", "test_vit", "mobilenetv3_small_050"]


def net(model="test_efficientnet", freeze="none"):
    torch.manual_seed(0)
    return EmotionNet(create_backbone(model), classes=6, freeze=freeze)


def after_steps(network, steps=2):
    """State before and after some training steps on noise."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network.train()
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(4, 3, 160, 160)).square().sum().backward()
        optimizer.step()
    after = network.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}, set(before)


@pytest.mark.parametrize("model", MODELS)
def test_pictures_become_one_score_an_emotion(model):
    network = net(model).eval()
    assert network(torch.zeros(2, 3, 160, 160)).shape == (2, 6)
    assert isinstance(network.norm, nn.BatchNorm1d)
    assert network.classifier.in_features == feature_count(network.backbone)


def test_efficientnet_pools_by_the_global_average():
    backbone = create_backbone("test_efficientnet").eval()
    picture = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(backbone(picture), backbone.forward_features(picture).mean(dim=(2, 3)))


def test_without_freezing_everything_is_trained():
    changed, every = after_steps(net())
    assert changed == every


@pytest.mark.parametrize("model", MODELS[:3])
def test_a_frozen_backbone_does_not_change_at_all(model):
    changed, _ = after_steps(net(model, "backbone"))
    assert changed
    assert not {name for name in changed if name.startswith("backbone.")}


@pytest.mark.parametrize("model", MODELS)
def test_all_but_the_last_block_does_not_change_statistics_included(model):
    network = net(model, "all-but-last-block")
    trained = {f"backbone.{name}" for name in last_block(network.backbone)}
    changed, every = after_steps(network)
    head = {name for name in every if not name.startswith("backbone.")}
    assert head <= changed
    assert trained & changed
    prefixes = tuple({name.rsplit(".", 1)[0] for name in trained})
    assert {name for name in changed - head if not name.startswith(prefixes)} == set()
    assert len(trained) < len([name for name, _ in network.named_parameters()]) / 2 + len(head)


@pytest.mark.parametrize(
    ("model", "inside", "outside"),
    [
        ("test_efficientnet", "blocks.4.0.conv_pw.weight", "blocks.3.0.conv_pw.weight"),
        ("test_resnet", "layer4.0.conv1.weight", "layer3.0.conv1.weight"),
        ("test_vit", "blocks.5.attn.qkv.weight", "blocks.4.attn.qkv.weight"),
        ("mobilenetv3_small_050", "conv_head.weight", "blocks.4.0.conv_pw.weight"),
    ],
)
def test_the_last_block_is_the_last_stage_and_what_follows(model, inside, outside):
    found = last_block(create_backbone(model))
    assert inside in found
    assert outside not in found


def test_a_backbone_that_names_no_blocks_says_what_is_possible():
    backbone = nn.Linear(3, 4)
    backbone.num_features = 4
    with pytest.raises(UserError, match=r"freeze 'all-but-last-block' is not possible with Linear") as caught:
        EmotionNet(backbone, classes=2, freeze="all-but-last-block")
    assert "--freeze none" in caught.value.hint
