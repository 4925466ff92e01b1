"""What a module looks like from outside, to see whether a penalty left a trace in it."""

import torch
from torch import nn


def trace(module: nn.Module) -> dict[str, object]:
    """Everything a forward pass may change, by value and by identity."""
    found: dict[str, object] = {"random": torch.get_rng_state().tolist()}
    for path, part in module.named_modules():
        for name, value in [*part._buffers.items(), *part._parameters.items(), *part.__dict__.items()]:
            if isinstance(value, torch.Tensor):
                found[f"{path}.{name}"] = (id(value), value.detach().clone().tolist(), value.requires_grad)
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)
        found[f"{path} hooks"] = [list(h) for h in hooks]
        found[f"{path} training"] = part.training
    backends = torch.backends
    found["precision"] = (
        torch.get_float32_matmul_precision(),
        [s.fp32_precision for s in (backends.cudnn.conv, backends.mkldnn.conv, backends.mkldnn.matmul)],
        torch.is_autocast_enabled("cpu"),
    )
    return found
