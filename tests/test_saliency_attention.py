"""Attention rollout against its formulas, whatever computes the attention."""

import pytest
import timm
import torch
import torch.nn.functional as F
from method_maps import maps_of
from torch import nn
from torchvision.models import VisionTransformer

from wsl.data.categories import Categories
from wsl.errors import ModelError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.attention import AttentionRollout, reads_class_token
from wsl.saliency.auto import Auto
from wsl.saliency.layercam_fusion import LayerCamFusion

SIZE, PATCH, GRID, WIDTH, HEADS, CLASSES = 56, 8, 7, 12, 3, 5


class Attention(nn.Module):
    """Attention by hand; keeps its weights."""

    def __init__(self, way):
        super().__init__()
        self.qkv, self.out, self.way = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), way

    def forward(self, x):
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        if self.way == "sdpa":
            found = F.scaled_dot_product_attention(q, k, v)
        else:
            weights = (q @ k.transpose(2, 3) / (WIDTH // HEADS) ** 0.5).softmax(dim=-1)
            self.weights = weights
            found = weights @ v
        return self.out(found.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """A class token or the mean of the positions; no perceptrons, so that it is small."""

    def __init__(self, way="softmax", pooled=False):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(4))
        self.blocks = nn.ModuleList(Attention(way) for _ in range(4))
        self.head, self.pooled = nn.Linear(WIDTH, CLASSES), pooled

    def forward(self, inputs):
        x = self.patches(inputs).flatten(2).transpose(1, 2)
        if not self.pooled:
            x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
        for norm, block in zip(self.norms, self.blocks, strict=True):
            x = x + block(norm(x))
        return self.head(x.mean(dim=1) if self.pooled else x[:, 0])


def classifier(module):
    preprocessing = Preprocessing(resize_size=SIZE, crop_size=(SIZE, SIZE))
    categories = Categories.numbered(CLASSES)
    return Classifier(module.eval(), preprocessing, categories, torch.device("cpu"))


def transformer(way="softmax", **options):
    torch.manual_seed(0)
    return classifier(Transformer(way, **options))


def expected(module, inputs, label):
    """Chefer et al. 2021 eq. 5, 6 and 11, matrix by matrix; then the late blocks' attention."""
    score = module(inputs)[:, label].sum()
    weights = [block.weights for block in module.blocks]
    slopes = torch.autograd.grad(score, weights)
    relevance = torch.eye(1 + GRID**2).expand(len(inputs), -1, -1)
    for attention, slope in zip(weights, slopes, strict=True):
        relevance = relevance + (attention * slope).relu().mean(dim=1) @ relevance
    row = relevance[:, 0, 1:]
    row = (row / row.amax(dim=1, keepdim=True)).sqrt()
    late = (weights[2].mean(dim=1) + weights[3].mean(dim=1))[:, 1:, 1:]
    spread = torch.einsum("npq,nq->np", late / late.sum(dim=2, keepdim=True), row)
    coarse = spread.reshape(-1, 1, GRID, GRID)
    fine = F.interpolate(coarse, (SIZE, SIZE), mode="bicubic").relu()[:, 0]
    return (fine / fine.amax(dim=(1, 2), keepdim=True)).detach()


@pytest.mark.parametrize("way", ["softmax", "sdpa"])
def test_the_map_is_the_formulas(way):
    made, plain = transformer(way), transformer()
    inputs = torch.randn(3, 3, SIZE, SIZE)
    found = maps_of(AttentionRollout(), made, inputs, torch.tensor([[4, 1]] * 3))
    with torch.no_grad():
        torch.testing.assert_close(found.scores, plain.module(inputs))
    for slot, label in enumerate((4, 1)):
        wanted = expected(plain.module, inputs, label)
        torch.testing.assert_close(found.maps[:, slot], wanted, rtol=1e-4, atol=1e-5)


def test_attention_of_torchvision_and_of_timm_is_seen_and_changes_no_score():
    torch.manual_seed(0)
    torchvisions = VisionTransformer(SIZE, PATCH, 3, HEADS, WIDTH, 16, num_classes=CLASSES)
    nn.init.normal_(torchvisions.heads[0].weight)  # it starts at 0
    timms = timm.create_model(
        "deit_tiny_patch16_224", img_size=112, embed_dim=12, depth=3, num_classes=CLASSES
    )
    for module, side in ((torchvisions, SIZE), (timms, 112)):
        made, inputs = classifier(module), torch.randn(2, 3, side, side)
        found = maps_of(AttentionRollout(), made, inputs, 2)
        with torch.no_grad():
            torch.testing.assert_close(found.scores, module(inputs), rtol=1e-4, atol=1e-5)
        assert (found.maps.amax(dim=(2, 3)) == 1).all()
        with made.inference():
            assert reads_class_token(made, (3, side, side))


def test_auto_rolls_out_where_there_is_a_class_token_and_fuses_elsewhere():
    inputs = torch.randn(2, 3, SIZE, SIZE)
    made = transformer()
    rolled = maps_of(AttentionRollout(), made, inputs, 2).maps
    assert torch.equal(maps_of(Auto(), made, inputs, 2).maps, rolled)
    pooled = transformer(pooled=True)
    fused = maps_of(LayerCamFusion(power=1), pooled, inputs, 2).maps
    assert torch.equal(maps_of(Auto(power=1), pooled, inputs, 2).maps, fused)
    assert not torch.equal(maps_of(AttentionRollout(), pooled, inputs, 2).maps, fused)


def test_networks_without_attention_between_all_positions_are_refused():
    made = classifier(nn.Sequential(nn.Conv2d(3, CLASSES, 8, 8), nn.AdaptiveAvgPool2d(1),
                                    nn.Flatten()))  # fmt: skip
    with pytest.raises(ModelError, match="which this one has not; use layercam_fusion"):
        maps_of(AttentionRollout(), made, torch.randn(1, 3, SIZE, SIZE), 1)
