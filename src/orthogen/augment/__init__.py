"""Augmentations: random changes of images that gradients pass through."""
