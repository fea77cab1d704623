"""Classifiers: a network together with its own preprocessing and its categories.

`sources.load_classifier` makes one from a torchvision or timm name, a local checkpoint, the bundled
demo network, or any `torch.nn.Module`.
"""
