"""A diffusion model of the diffusers package as a generator, with the bottleneck of its network as the latent.

    pip install diffusers
    orthogen discover --generator examples/diffusers_bottleneck.py:make JacobianSvd
    orthogen traverse --generator examples/diffusers_bottleneck.py:make

An image is drawn from one fixed noise, by DDIM; in every step the latent, one number per channel, is added to what the
network's middle block returns (the h-space of Kwon, Jeong and Uh, "Diffusion Models Already Have a Semantic Latent
Space", ICLR 2023). The network stays as it is: the hook lives only as long as the call. The weights here are random;
put ``UNet2DModel.from_pretrained(...)`` in place of ``small()`` for a trained one.
"""

import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor

import orthogen as og

__all__ = ["adapted", "make", "small"]


def adapted(unet: UNet2DModel, noise: Tensor, steps: int = 20) -> og.Generator:
    """Images that DDIM draws from ``noise`` (1, channels, height, width), as a function of the bottleneck's offset."""
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(steps)
    width = unet.config.block_out_channels[-1]

    def call(module: UNet2DModel, z: Tensor) -> Tensor:
        # ahead of other hooks, so that whoever looks at the middle block sees what the network goes on with
        hook = module.mid_block.register_forward_hook(lambda *seen: seen[-1] + z[:, :, None, None], prepend=True)
        images = noise.to(z).expand(len(z), -1, -1, -1)
        try:
            for t in scheduler.timesteps:
                (predicted,) = module(images, t, return_dict=False)
                images = scheduler.step(predicted, t, images).prev_sample
        finally:
            hook.remove()
        return images

    return og.adapt(unet, og.Normal(width), call=call)


def small() -> UNet2DModel:
    """A network of 16 x 16 pixels with random weights."""
    return UNet2DModel(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    ).eval()


def make() -> og.Generator:
    """What ``--generator`` takes."""
    noise = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return adapted(small(), noise)
