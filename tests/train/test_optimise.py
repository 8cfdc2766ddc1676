"""Steps: which parameters move how fast, and the learning rate over time."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from petmood.errors import UserError
from petmood.model import EmotionNet
from petmood.recipes import TrainSettings
from petmood.train.optimise import build_optimizer, build_plateau, compile_net, learning_rate_factor, warmup_steps
from petmood.weights import create_backbone

SETTINGS = TrainSettings(model="test_efficientnet", learning_rate=1e-2, weight_decay=0.05)

torch.set_num_threads(1)


def net(model="test_efficientnet", **options):
    torch.manual_seed(0)
    return EmotionNet(create_backbone(model), classes=3, **options)


def rates(network, settings):
    """Learning rate and weight decay of each trainable parameter, by name."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = build_optimizer(network, settings).param_groups
    return {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


# Groups


@pytest.mark.parametrize("layer_decay", [1.0, 0.7])
@pytest.mark.parametrize("freeze", ["none", "stem", "all-but-last-block", "backbone"])
def test_every_trainable_parameter_is_in_one_group(freeze, layer_decay):
    network = net(freeze=freeze)
    found = rates(network, replace(SETTINGS, layer_decay=layer_decay))
    assert set(found) == {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    for name, parameter in network.named_parameters():
        if name in found:
            assert found[name][1] == (SETTINGS.weight_decay if parameter.ndim > 1 else 0), name


def test_without_layer_decay_all_have_the_same_rate():
    assert {rate for rate, _ in rates(net(), SETTINGS).values()} == {1e-2}
    assert len(build_optimizer(net(), SETTINGS).param_groups) == 2


@pytest.mark.parametrize(
    ("model", "order"),
    [
        ("test_efficientnet", ["classifier", "backbone.blocks.3", "backbone.blocks.1", "backbone.conv_stem"]),
        ("test_resnet", ["norm", "backbone.layer3.0.conv1", "backbone.layer2.0.conv1", "backbone.conv1"]),
        ("test_vit", ["classifier", "backbone.blocks.4", "backbone.blocks.0", "backbone.patch_embed"]),
    ],
)
def test_layer_decay_slows_towards_the_input(model, order):
    found = rates(net(model), replace(SETTINGS, layer_decay=0.5))
    steps = [next(rate for name, (rate, _) in found.items() if name.startswith(part)) for part in order]
    assert steps[0] == 1e-2
    assert steps == sorted(steps, reverse=True)
    assert len(set(steps)) == len(steps)
    assert {rate for name, (rate, _) in found.items() if not name.startswith("backbone.")} == {1e-2}


def test_each_layer_has_half_of_the_one_behind_it():
    found = rates(net("test_vit"), replace(SETTINGS, layer_decay=0.5))
    by_block = [found[f"backbone.blocks.{number}.attn.qkv.weight"][0] for number in range(6)]
    assert [second / first for first, second in itertools.pairwise(by_block)] == pytest.approx([2] * 5)


def test_the_schedule_keeps_the_proportions():
    settings = replace(SETTINGS, layer_decay=0.5, epochs=10, warmup_epochs=1.0)
    optimizer = build_optimizer(net(), settings)
    before = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_factor(settings, 100))
    for _ in range(55):
        optimizer.step()
        schedule.step()
    factor = learning_rate_factor(settings, 100)(55)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate * factor for rate in before])


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_the_fused_step_is_the_plain_one(kind):
    settings = replace(SETTINGS, optimizer=kind)
    networks = []
    for fused in (True, False):
        network = net().to(memory_format=torch.channels_last)
        optimizer = build_optimizer(network, settings)
        assert all(group["fused"] for group in optimizer.param_groups)
        for group in optimizer.param_groups:
            group["fused"], group["foreach"] = fused, False
        generator = torch.Generator().manual_seed(1)
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator).contiguous(
                memory_format=torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
            )
        for _ in range(3):
            optimizer.step()
        networks.append(network)
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(one, other)


def test_limited_gradients_in_16_bits_are_not_fused():
    clipped = replace(SETTINGS, clip_gradient=1.0)
    found = {
        (bool(settings.clip_gradient), precision): build_optimizer(net(), settings, precision=precision).defaults[
            "fused"
        ]
        for settings in (SETTINGS, clipped)
        for precision in ("32-true", "bf16-mixed", "16-mixed")
    }
    assert {key for key, fused in found.items() if not fused} == {(True, "16-mixed")}


# The learning rate over time


@given(st.integers(1, 40), st.integers(1, 50), st.floats(0, 3), st.sampled_from(["constant", "cosine"]))
def test_the_rate_rises_to_its_largest_and_a_cosine_ends_at_zero(epochs, per_epoch, warmup, schedule):
    settings = replace(SETTINGS, epochs=epochs, warmup_epochs=warmup, schedule=schedule)
    steps = epochs * per_epoch
    factor, up = learning_rate_factor(settings, steps), warmup_steps(settings, steps)
    values = [factor(step) for step in range(steps + 1)]
    assert all(0 <= value <= 1 for value in values)
    assert values[: up + 1] == sorted(values[: up + 1])
    if up < steps:
        assert values[up] == 1
        assert values[-1] == pytest.approx(0 if schedule == "cosine" else 1)


def plateau(settings, scores, *, steps_an_epoch=4, mode="max"):
    """Learning rate at the end of each epoch with such scores."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=settings.learning_rate)
    rising, falling = build_plateau(optimizer, settings, settings.epochs * steps_an_epoch, mode=mode)
    found = []
    for score in scores:
        for _ in range(steps_an_epoch):
            optimizer.step()
            rising.step()
        falling.step(score)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_a_plateau_reduces_to_a_fifth_after_half_of_the_patience():
    settings = replace(SETTINGS, epochs=10, warmup_epochs=0.0, patience=5, schedule="plateau", learning_rate=1.0)
    found = plateau(settings, [0.5, 0.6, 0.6, 0.55, 0.6, 0.7, 0.6, 0.5])
    assert found == pytest.approx([1, 1, 1, 0.2, 0.2, 0.2, 0.2, 0.04])


def test_a_plateau_of_a_loss_looks_for_smaller_ones():
    settings = replace(SETTINGS, epochs=10, warmup_epochs=0.0, patience=2, schedule="plateau", learning_rate=1.0)
    assert plateau(settings, [0.5, 0.4, 0.45], mode="min") == pytest.approx([1, 1, 0.2])


def test_a_plateau_begins_after_the_warm_up():
    settings = replace(SETTINGS, epochs=10, warmup_epochs=2.0, patience=2, schedule="plateau", learning_rate=1.0)
    assert plateau(settings, [0.5, 0.4, 0.4, 0.4]) == pytest.approx([5 / 9, 1, 0.2, 0.04])


# Compilation


@pytest.mark.parametrize(("device", "variable"), [("cpu", "CXX"), ("cuda", "CC")])
def test_without_a_compiler_it_says_what_to_install(monkeypatch, device, variable):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setenv(variable, "no-such-compiler --fast")
    with pytest.raises(UserError, match="no compiler is found; looked for no-such-compiler") as caught:
        compile_net(net(), device)
    assert f"variable {variable}, or leave out --compile" in caught.value.hint


def test_a_gpu_needs_triton(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="the package triton is not installed"):
        compile_net(net(), "cuda")
