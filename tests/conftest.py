"""Shapes in signatures are checked, with beartype, in everything the tests import from the package."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import config, install_import_hook

install_import_hook("orthogen", "beartype.beartype")

import hypothesis  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)
hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no defect
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and trained generators; tests that need it are skipped where it is absent."""
    here = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("ORTHOGEN_TEST_DATA", here.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: no real images and generators to test on (set ORTHOGEN_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """The folder of all golden vectors, larger ones than are kept here; tests that need it are skipped without it."""
    folder = Path(__file__).resolve().parent.parent.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: only the smaller golden vectors are here")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference statistics are kept in a folder of the test's own, never in the user's cache."""
    monkeypatch.setenv("ORTHOGEN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No shape checks, as for a user: for tests of our own messages about wrong arguments."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
