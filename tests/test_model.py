"""The network's shape, and that what is frozen stays as it is through real training steps."""

import pytest
import torch
from timm.layers import convert_sync_batchnorm
from torch import nn

from petmood.errors import UserError
from petmood.model import EmotionNet, feature_count, last_block, stem
from petmood.weights import create_backbone

MODELS = ["test_efficientnet", "test_resnet", "test_vit", "mobilenetv3_small_050"]


def net(model="test_efficientnet", freeze="none", **options):
    torch.manual_seed(0)
    drop_path = options.pop("drop_path", 0.0)
    return EmotionNet(create_backbone(model, drop_path=drop_path), classes=6, freeze=freeze, **options)


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


# The stem

STEMS = {
    "test_efficientnet": ("blocks.2.0.bn2", "blocks.3.0.conv_pw"),
    "test_resnet": ("layer2.0.downsample.2", "layer3.0.conv1"),
    "test_convnext": ("stages.1.blocks.0.mlp.fc2", "stages.2.downsample.1"),
    "mobilenetv3_small_050": ("blocks.1.1.bn3", "blocks.2.0.conv_pw"),
    "densenet121": ("features.denseblock2.denselayer12.conv2", "features.transition2.conv"),
    "xception41": ("blocks.2.stack.conv2.bn_pw", "blocks.3.stack.conv1.bn_dw"),
}


@pytest.mark.parametrize(("model", "inside", "outside"), [(name, *parts) for name, parts in STEMS.items()])
def test_the_stem_ends_where_an_eighth_of_the_picture_is_left(model, inside, outside):
    backbone = create_backbone(model)
    found = {id(module) for module in stem(backbone)}
    assert id(backbone.get_submodule(inside)) in found
    assert id(backbone.get_submodule(outside)) not in found


@pytest.mark.parametrize("model", ["test_efficientnet", "test_resnet", "test_convnext"])
def test_a_frozen_stem_does_not_change_and_the_rest_does(model):
    network = net(model, "stem")
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    prefixes = tuple({name.rpartition(".")[0] for name in frozen})
    changed, every = after_steps(network)
    assert not {name for name in changed if name.startswith(prefixes)}
    assert {name for name in every - changed if not name.startswith(prefixes)} == set()


def test_a_frozen_stem_keeps_nothing_for_a_backward_pass():
    network = net(freeze="stem")
    seen = []
    network.backbone.blocks[2].register_forward_hook(lambda module, inputs, output: seen.append(output))
    network.backbone.blocks[3].register_forward_hook(lambda module, inputs, output: seen.append(output))
    network(torch.randn(2, 3, 64, 64))
    assert (seen[0].grad_fn, seen[0].requires_grad) == (None, False)
    assert seen[1].requires_grad


def test_nothing_in_a_frozen_stem_is_random():
    network = net("mobilenetv3_small_050", freeze="stem", drop_path=0.9)
    seen = []
    network.backbone.blocks[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    for _ in range(2):
        network(torch.ones(4, 3, 64, 64))
    assert torch.equal(*seen)


def test_a_vision_transformer_has_no_stem_of_that_kind():
    with pytest.raises(UserError, match=r"freeze 'stem' is not possible with VisionTransformer, .* allowed are none"):
        net("test_vit", "stem")


# Frozen norms


def statistics(network):
    return {name: value.clone() for name, value in network.state_dict().items() if "running" in name or "num_b" in name}


@pytest.mark.parametrize("joined", [False, True], ids=["plain", "joined across GPUs"])
def test_frozen_norms_keep_their_statistics_and_train_their_weights(joined):
    network = net(freeze_norms=True)
    network = convert_sync_batchnorm(network) if joined else network
    before = statistics(network)
    weights = network.norm.weight.detach().clone(), network.backbone.bn1.weight.detach().clone()
    changed, _ = after_steps(network)
    assert before
    assert not changed & set(before)
    assert not torch.equal(network.norm.weight, weights[0])
    assert not torch.equal(network.backbone.bn1.weight, weights[1])


def test_frozen_norms_let_each_picture_be_judged_by_itself():
    network = net(freeze_norms=True)
    pictures = torch.randn(4, 3, 64, 64)
    torch.testing.assert_close(network(pictures)[:2], network(pictures[:2]))
    assert not torch.allclose(net()(pictures)[:2], net()(pictures[:2]))


@pytest.mark.parametrize("freeze", ["none", "stem", "all-but-last-block", "backbone"])
def test_frozen_norms_go_with_every_freezing(freeze):
    network = net(freeze=freeze, freeze_norms=True).eval().train()
    assert not [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)
                and module.training]  # fmt: skip
    assert network.classifier.training
