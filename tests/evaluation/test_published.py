"""Direction files as the papers published them."""

import pickle
import zipfile

import pytest
import torch

import orthogen as og
from orthogen.evaluation.published import PUBLISHED, published, read_directions
from vectors import vectors


def written(path, tensor):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensor, path)
    return path


def matrix(n=40, columns=40, seed=0):
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("file", "golden", "start", "named"),
    [
        ("our_goldens_mid.pt", "goldens_mid", 40, {"background removal": 0, "color": 5, "object light": 25}),
        ("orojar/church_fine.pt", "church_fine", 80, {}),
    ],
)
def test_the_released_matrices_give_the_released_directions(tmp_path, file, golden, start, named):
    """Two published matrices, one of condition number 238, against the released Gram-Schmidt in double precision."""
    arrays = vectors("gram_schmidt")
    found = read_directions(written(tmp_path / file, torch.from_numpy(arrays[f"A_{golden}"])))
    expected = torch.zeros(40, 120, dtype=torch.float64)
    expected[:, start : start + 40] = torch.from_numpy(arrays[f"Q_{golden}_f64"])
    torch.testing.assert_close(found.basis.double(), expected, atol=1e-7, rtol=0)
    assert {name: found.index(name) for name in named} == named
    assert [name for name in found.names if not name.isdecimal()] == [
        name for _, name in PUBLISHED[found.provenance["method"]].names
    ]


def test_a_whole_matrix_and_one_stored_by_columns(tmp_path):
    found = read_directions(written(tmp_path / "our_church.pt", matrix(120, 120)))
    torch.testing.assert_close(found.basis @ found.basis.T, torch.eye(120), atol=1e-5, rtol=0)
    assert found.take(["shift"]).basis.equal(found.basis[14:15])
    Q = og.Random().fit(og.adapt(torch.nn.Identity(), og.Normal(120))).basis
    file = written(tmp_path / "voynov.pt", Q.T.contiguous().T)
    assert torch.load(file, weights_only=True).stride() == (1, 120)
    voynov = read_directions(file)
    torch.testing.assert_close(voynov.basis, Q, atol=1e-6, rtol=0)  # orthonormal as it is
    assert voynov.provenance["published"]["path_size"] == 8
    assert voynov.provenance["published"]["samples"] == 8


@pytest.mark.parametrize(
    ("file", "preset"),
    [
        ("our_goldens.pt", "hessian_penalty.goldens"),
        ("hessian/goldens_fine.pt", "hessian_penalty.goldens_fine"),
        ("orojar/goldens_fine.pt", "orojar.goldens_fine"),
        ("church_mid.pt", "orojar.church_mid"),  # only one paper has it
        ("elsewhere/goldens_fine.pt", "published"),  # both papers have one of that name
    ],
)
def test_the_name_of_a_file_tells_which_it_is(tmp_path, file, preset):
    n = 120 if file == "our_goldens.pt" else 40
    found = read_directions(written(tmp_path / file, matrix(n, n)))
    assert found.provenance["method"] == preset
    assert found.basis.any(dim=0).sum() == n


def test_a_preset_or_columns_may_be_given(tmp_path):
    file = written(tmp_path / "A_031999.pt", matrix())
    found = published(file, "orojar.goldens_coarse")
    assert (found.names[7], found.basis.any(dim=0).nonzero().max().item()) == ("zoom", 39)
    plain = published(file, search_space=(10, 50), dim=64)
    assert plain.names == tuple(map(str, range(40)))
    assert plain.basis.any(dim=0).nonzero().flatten()[[0, -1]].tolist() == [10, 49]
    assert published(written(tmp_path / "mine.pt", matrix(3, 8)), dim=8).basis.shape == (3, 8)


def test_read_directions_reads_ours_too(tmp_path):
    found = published(written(tmp_path / "our_goldens_fine.pt", matrix()))
    found.save(tmp_path / "ours.safetensors")
    again = read_directions(tmp_path / "ours.safetensors")
    assert again.names == found.names
    assert again.provenance == found.provenance
    assert again.provenance["published"]["seed"] == 750


class Calls:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def zeroed(row):
    A = matrix()
    A[row] = A[0] if row else 0.0
    return A


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"A": matrix()}, "holds a dict; torch.save of one matrix"),
        (torch.zeros(5), r"holds a tensor \(5,\) of torch.float32"),
        (torch.zeros(5, 5, dtype=torch.int64), r"holds a tensor \(5, 5\) of torch.int64"),
        (torch.zeros(0, 40), r"holds a tensor \(0, 40\)"),
        (matrix().fill_diagonal_(torch.nan), "numbers that are not finite in row 0"),
        (matrix(40, 39), "has rows of 39 numbers for 40 columns of a latent of 120; say which columns they are"),
        (matrix(41, 40), "cannot be made orthonormal: 41 directions in 40 dimensions"),
        (zeroed(3), "cannot be made orthonormal: direction 3 is zero, not finite, or a combination"),
        (zeroed(0), "cannot be made orthonormal: direction 0 is zero"),
        (matrix(20, 40), r"has 20 directions, and hessian_penalty.goldens_mid has names up to direction 25"),
    ],
)
def test_what_is_no_matrix_of_directions_is_refused(tmp_path, content, message):
    file = written(tmp_path / "our_goldens_mid.pt", content)
    with pytest.raises(ValueError, match=message) as error:
        read_directions(file)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


def test_no_code_of_a_file_runs_and_its_size_is_bounded(tmp_path):
    file = tmp_path / "goldens.pt"
    for write in (lambda code: file.write_bytes(pickle.dumps(code)), lambda code: torch.save(code, file)):
        write(Calls(tmp_path / "ran"))
        with pytest.raises(ValueError, match=r"goldens\.pt") as error:
            read_directions(file)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 25))
    with pytest.raises(ValueError, match=r"compressed, which torch\.save does not do"):
        read_directions(file)
    for content in (b"", b"PK\x03\x04 cut short", b"\x80\x02"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"goldens\.pt"):
            read_directions(file)


def test_mistakes(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no.pt does not exist; give a directions file"):
        read_directions(tmp_path / "no.pt")
    file = written(tmp_path / "mine.pt", matrix())
    with pytest.raises(ValueError, match=r"no published directions are called 'goldens'; there are hessian_penalty"):
        published(file, "goldens")
    with pytest.raises(ValueError, match=r"search_space='middle': there are all, coarse, mid, fine"):
        published(file, search_space="middle")
    with pytest.raises(ValueError, match=r"give columns \(start, stop\) of the latent's 120"):
        published(file, search_space=(100, 140))
    with pytest.raises(ValueError, match="for the latent of BigGAN at 128 pixels, 120 wide, and 64 columns are wanted"):
        read_directions(written(tmp_path / "our_goldens_mid.pt", matrix()), dim=64)
