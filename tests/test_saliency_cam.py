import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerAttribution, LayerGradCam
from method_maps import maps_of
from torch import nn
from torchvision.models import squeezenet1_1

from wsl.data.categories import Categories
from wsl.errors import ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.attribution import attribute
from wsl.saliency.base import resized
from wsl.saliency.cam import Cam, GradCam, LayerCam

SIZE = (16, 24)


class Pooled(nn.Module):
    """Convolutions, global average pooling, a linear layer."""

    def __init__(self, pool=None):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)
        self.pool = pool or (lambda x: x.mean(dim=(2, 3)))

    def forward(self, x):
        return self.fc(self.drop(self.pool(self.features(x))))


@pytest.fixture
def network() -> Pooled:
    torch.manual_seed(0)
    return Pooled().eval()


@pytest.fixture
def x() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(3, 3, *SIZE)


def signed(g: torch.Tensor) -> torch.Tensor:
    return g


def coarse(network, x) -> torch.Tensor:
    with torch.no_grad():
        return network.features(x)


def test_a_class_activation_map_is_the_weights_times_the_channels(network, x):
    weights = network.fc.weight.detach()[[2, 0, 4]]
    expected = torch.einsum("nc,nchw->nhw", weights, coarse(network, x))
    found = attribute(network, x, [2, 0, 4], method="cam", modifier=signed)
    torch.testing.assert_close(found, resized(expected, SIZE), rtol=1e-4, atol=1e-5)
    assert (found < 0).any()
    cut = attribute(network, x, [2, 0, 4], method=Cam(layer="features"))
    torch.testing.assert_close(cut, resized(expected.clamp(min=0), SIZE), rtol=1e-4, atol=1e-5)
    # What the map adds up to is the score.
    with torch.no_grad():
        scores = network(x)[[0, 1, 2], [2, 0, 4]] - network.fc.bias[[2, 0, 4]]
    torch.testing.assert_close(expected.mean(dim=(1, 2)), scores)


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
        lambda x: F.avg_pool2d(x, x.shape[2:])[:, :, 0, 0],
        lambda x: x.sum(dim=3).sum(dim=2) / 24,
        lambda x: 0.5 * x.mean(dim=(2, 3)) + x.mean(dim=(2, 3)) * 0.5,
    ],
    ids=["adaptive", "average pool", "sum", "sum of two"],
)
def test_all_ways_to_average_are_one(network, x, pool):
    expected = attribute(network, x, 1, method="cam", modifier=signed)
    network.pool = pool
    found = attribute(network, x, 1, method="cam", modifier=signed)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (lambda x: x.relu().mean(dim=(2, 3)), "linear in the mean .* behind it .* Relu; name a"),
        (lambda x: x.amax(dim=(2, 3)), "of layer features, but behind it the network has Amax"),
        (lambda x: x.mean(dim=(2, 3)) * x.mean(dim=(2, 3)), "behind it the network has Mul"),
        (lambda x: x.mean(dim=(2, 3)) / x.sum(dim=(2, 3)), "behind it the network has Div"),
        (lambda x: x[:, :, :, 0].mean(dim=2), "weights positions differently"),
    ],
    ids=["ReLU", "maximum", "product", "quotient", "a part"],
)
def test_where_the_score_is_not_linear_in_the_mean_it_is_refused(network, x, pool, message):
    network.pool = pool
    with pytest.raises(ModelError, match=message):
        attribute(network, x, 1, method="cam")
    assert attribute(network, x, 1, method="grad_cam").shape == (3, *SIZE)


def test_squeezenet_has_its_map_in_the_last_convolution():
    torch.manual_seed(0)
    network = squeezenet1_1(num_classes=7).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        planes = network.classifier[:3](network.features(x))
    found = attribute(network, x, 3, method="cam")
    torch.testing.assert_close(found, resized(planes[:, 3], (64, 64)))
    with pytest.raises(ModelError, match="of layer features, but behind it the network has Relu"):
        attribute(network, x, 3, method=Cam(layer="features"))


@pytest.mark.parametrize("layer", ["features.0", "features.2", "features"])
def test_grad_cam_equals_captums(network, x, layer):
    for part in network.modules():
        if hasattr(part, "inplace"):
            part.inplace = False
    oracle = LayerGradCam(network, network.get_submodule(layer))
    maps = oracle.attribute(x, target=[2, 0, 4], relu_attributions=True)
    expected = LayerAttribution.interpolate(maps, SIZE, "bilinear")[:, 0].detach()
    for part in network.modules():  # what captum must not meet is no trouble here
        if hasattr(part, "inplace"):
            part.inplace = True
    found = attribute(network, x, [2, 0, 4], method=GradCam(layer=layer))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_where_the_class_activation_map_is_defined_grad_cam_is_proportional(network, x):
    grad_cam = attribute(network, x, 2, method="grad_cam", modifier=signed)
    cam = attribute(network, x, 2, method="cam", modifier=signed)
    torch.testing.assert_close(grad_cam * 24, cam, rtol=1e-4, atol=1e-5)  # 4 x 6 positions


def test_layer_cam_by_its_formula(network, x):
    activations = network.features[:2](x).detach().requires_grad_()
    scores = network.fc(network.features[2:](activations.clone()).mean(dim=(2, 3)))
    (gradients,) = torch.autograd.grad(scores[:, 1].sum(), activations)
    expected = (gradients.relu() * activations).sum(dim=1).relu().detach()
    found = attribute(network, x, 1, method=LayerCam(layer="features.1"))
    torch.testing.assert_close(found, resized(expected, SIZE), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", [Cam, GradCam, LayerCam])
def test_one_forward_pass_serves_all_classes(network, x, method):
    classifier = Classifier(
        network, Preprocessing(crop_size=SIZE), Categories.numbered(5), torch.device("cpu")
    )
    calls = []
    network.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    found = maps_of(method(layer="features"), classifier, x, 5)
    assert calls == [3]
    assert found.maps.shape == (3, 5, *SIZE)
    assert (found.maps >= 0).all()
    for slot in range(5):
        expected = attribute(classifier, x, found.classes[:, slot], method=method(layer="features"))
        torch.testing.assert_close(found.maps[:, slot], expected)


def test_layers_that_cannot_be_are_refused(network, x):
    with pytest.raises(ModelError, match=r"no layer 'feature'\. Did you mean features"):
        attribute(network, x, 1, method=GradCam(layer="feature"))
    with pytest.raises(ModelError, match="layer fc must return a grid of the input's shape"):
        attribute(network, x, 1, method=GradCam(layer="fc"))
