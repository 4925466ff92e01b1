"""The encoder that was trained together with a generator, where there is one."""

from torch import nn

from orthogen.checkpoints import open_run
from orthogen.checkpoints.run_folder import Checkpoint

__all__ = ["OWN", "encoder_of"]

OWN = "means of the run's own encoder, in the weights of the optimizer"  # how a protocol names its codes


def encoder_of(checkpoint: Checkpoint | None) -> nn.Module | None:
    """The encoder in a run's checkpoint; None where there is no checkpoint, or none in it.

    Raises:
        ValueError: the run's model cannot be rebuilt here.
    """
    if checkpoint is None or not checkpoint.tensors("network/encoder/"):
        return None
    return open_run(checkpoint.path.parent.parent).network("encoder", checkpoint=checkpoint)
