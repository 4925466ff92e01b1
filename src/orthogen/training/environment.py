"""Where and with what a run was made, for its ``run.json``."""

import platform
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import torch

__all__ = ["environment"]


def _git_hash() -> str | None:
    """The commit of the working directory, marked where files differ from it; None outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, platform, device, threads and the command line.

    Example:
        >>> sorted(environment(torch.device("cpu"))["versions"])
        ['numpy', 'orthogen', 'python', 'torch']
    """
    packages = {name: version(name) for name in ("orthogen", "torch", "numpy")}
    return {
        "versions": {"python": platform.python_version(), **packages},
        "git": _git_hash(),
        "platform": platform.platform(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "argv": sys.argv,
    }
