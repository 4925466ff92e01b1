"""Directions: a safetensors file and back, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import save_file

from orthogen.core.directions import Directions

BASIS = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))


def test_round_trip(tmp_path):
    made = Directions(BASIS, "w", torch.tensor([3.0, 2.0, 1.0]), ("a", "ü", "c"), {"method": "sefa", "layers": [1, 2]})
    made.save(tmp_path / "deep" / "d.safetensors")
    read = Directions.load(tmp_path / "deep" / "d.safetensors")
    assert torch.equal(read.basis, made.basis)
    assert torch.equal(read.strength, made.strength)
    assert (read.space, read.names, read.provenance) == (made.space, made.names, made.provenance)
    assert len(read) == 3


def test_round_trip_of_the_least(tmp_path):
    Directions(BASIS.double().T[:, :2]).save(str(tmp_path / "d.safetensors"))  # neither contiguous nor float32
    read = Directions.load(str(tmp_path / "d.safetensors"))
    assert torch.equal(read.basis, BASIS.double().T[:, :2])
    assert read.strength is None
    assert (read.space, read.names, read.provenance) == ("z", tuple("01234"), {})


def test_coordinates_are_the_axes():
    axes = Directions.coordinates(4, "w")
    assert torch.equal(axes.basis, torch.eye(4))
    assert (axes.space, axes.names, axes.provenance) == ("w", tuple("0123"), {"method": "coordinates"})


def test_parameters_are_saved_as_values(tmp_path):
    Directions(BASIS.clone().requires_grad_()).save(tmp_path / "d.safetensors")
    assert not Directions.load(tmp_path / "d.safetensors").basis.requires_grad


def test_names_fit_the_basis():
    with pytest.raises(ValueError, match=r"^Directions: 2 names for 3 directions$"):
        Directions(BASIS, names=("a", "b"))


def test_no_directions_file(tmp_path):
    path = tmp_path / "d.safetensors"
    says = r"d.safetensors is not a directions file \(safetensors written by Directions.save\)$"
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match=says):
        Directions.load(path)
    save_file({"basis": BASIS}, path)  # without our metadata
    with pytest.raises(ValueError, match=says):
        Directions.load(path)
    save_file({"basis": BASIS}, path, metadata={"orthogen.directions": "{"})
    with pytest.raises(ValueError, match=says):
        Directions.load(path)
    about = json.dumps({"space": "z", "names": list("abc"), "provenance": {}})
    save_file({"matrix": BASIS}, path, metadata={"orthogen.directions": about})
    with pytest.raises(ValueError, match=says):
        Directions.load(path)
    Directions(BASIS).save(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=says):
        Directions.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.safetensors"):
        Directions.load(tmp_path / "no.safetensors")
