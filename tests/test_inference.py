"""A network that only answers: folded batch norms change nothing but rounding."""

import pytest
import timm.data
import torch

from petmood.features import weights_digest
from petmood.inference import folded, on_cores
from petmood.weights import create_backbone


@pytest.mark.parametrize("model", ["test_efficientnet", "test_resnet", "tf_efficientnet_lite0", "test_vit"])
def test_folded_batch_norms_change_nothing_but_rounding(model):
    torch.manual_seed(0)
    network = create_backbone(model).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after a training, not as they are made
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)
    before = weights_digest(network)
    size = timm.data.resolve_model_data_config(network)["input_size"][-1]
    found = folded(network, torch.zeros(1, 3, size, size))
    pictures = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        expected, answers = network(pictures), found(pictures)
    assert (answers - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in found.modules())
    assert weights_digest(network) == before


def test_what_cannot_be_folded_stays_as_it_is():
    class Twice(torch.nn.Module):
        """The convolution's output is used beside its norm, too."""

        def __init__(self):
            super().__init__()
            self.convolution, self.norm = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
            self.norm.running_mean.fill_(0.5)

        def forward(self, pictures):
            given = self.convolution(pictures)
            return (given + self.norm(given)).mean(dim=(2, 3))

    network = Twice().eval()
    assert folded(network, torch.zeros(1, 3, 8, 8)) is network


def test_results_come_in_order_and_the_number_of_threads_is_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with on_cores(lambda part: (torch.get_num_threads(), part.tolist())) as apply:
            found = list(apply(torch.arange(10)))
        assert found == [(1, [0, 1, 2, 3]), (1, [4, 5, 6, 7]), (1, [8, 9])]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
