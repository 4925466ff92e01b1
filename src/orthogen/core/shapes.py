"""Shapes in signatures: jaxtyping's ``Float[Tensor, "batch dim"]`` where it is installed, plain ``Tensor`` elsewhere.

Shapes are checked under pytest only (jaxtyping's import hook with beartype, see ``tests/conftest.py``); a user needs
neither package. Letters used throughout: ``batch`` samples, ``dim`` latent width, ``k`` probes, ``n`` items or
directions, ``c h w`` channels, height, width, ``f`` factors.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["Bool", "Float", "Int", "Shaped", "UInt8"]

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped, UInt8
else:
    try:
        from jaxtyping import Bool, Float, Int, Shaped, UInt8
    except ImportError:

        class _Plain:
            """``Float[Tensor, "batch dim"]`` is ``Tensor`` where jaxtyping is absent."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Float = Int = Shaped = UInt8 = _Plain
