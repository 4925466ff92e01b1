"""A run for test_vae_steps.py, which starts this under torchrun. Usage: vae_in_two_processes.py FOLDER."""

import sys
from pathlib import Path

import torch

import orthogen as og
from tiny_vae import means

if __name__ == "__main__":
    torch.set_num_threads(1)
    og.train(means(), Path(sys.argv[1]) / "means", quiet=True, device="cpu")
