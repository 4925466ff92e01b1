"""Linear algebra that several kinds of members share. All of it takes batches of matrices in the leading dimensions."""

from orthogen.core.linalg.bases import orthonormalize, principal_angles
from orthogen.core.linalg.polar import polar_factor, polar_factors
from orthogen.core.linalg.polar_methods import GramEigh, PolarExpress, PolarMethod
from orthogen.core.linalg.roots import RootMethod, inv_sqrtm_psd, sqrtm_psd
from orthogen.core.linalg.spectral import TopSingular, spectral_norm

__all__ = [
    "GramEigh",
    "PolarExpress",
    "PolarMethod",
    "RootMethod",
    "TopSingular",
    "inv_sqrtm_psd",
    "orthonormalize",
    "polar_factor",
    "polar_factors",
    "principal_angles",
    "spectral_norm",
    "sqrtm_psd",
]
