"""Which teacher layer each student layer learns from: g(m) (TinyBERT, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tinybert.errors import TinybertError

__all__ = ["MAPPINGS", "layer_mapping", "shown"]

MAPPINGS = ("uniform", "top", "bottom")


def layer_mapping(
    kind: str | Sequence[int], student_layers: int, teacher_layers: int
) -> tuple[int, ...]:
    """g(1) … g(M): for each of the M student layers its teacher layer, counted from 1.

    ========== =================================================================
    uniform    g(m) = m·N/M, halves rounded up, so that g(M) = N (the paper's best)
    top        g(m) = m + N − M
    bottom     g(m) = m
    a list     as given: ``[2, 4, 6]`` or ``"2,4,6"``
    ========== =================================================================

    Args:
        kind: one of the names above, a list of teacher layers or such a list as text.
        student_layers: M ≥ 1.
        teacher_layers: N.

    Returns:
        M strictly increasing layers between 1 and N. (g(0) = 0, the embedding layer, and
        g(M+1) = N+1, the prediction layer, go without saying.)

    Raises:
        TinybertError: unknown name; M > N; a list of another length than M, not strictly
            increasing, or with a layer that the teacher does not have.

    >>> layer_mapping("uniform", 4, 12)
    (3, 6, 9, 12)
    >>> layer_mapping("uniform", 4, 6)
    (2, 3, 5, 6)
    >>> layer_mapping("2,4,6", 3, 6)
    (2, 4, 6)
    """
    m_all, n = student_layers, teacher_layers
    if m_all < 1:
        raise TinybertError(f"a student needs at least one layer, not {m_all}.")
    if m_all > n:
        raise TinybertError(
            f"a student of {m_all} layers cannot be mapped to a teacher of {n}: choose a student "
            f"of at most {n} layers."
        )
    if isinstance(kind, str) and kind in MAPPINGS:
        if kind == "top":
            return tuple(m + n - m_all for m in range(1, m_all + 1))
        if kind == "bottom":
            return tuple(range(1, m_all + 1))
        # floor(m·N/M + 1/2) in whole numbers: no rounding error, no round-half-to-even.
        return tuple((2 * m * n + m_all) // (2 * m_all) for m in range(1, m_all + 1))
    layers = _listed(kind)
    text = ",".join(map(str, layers))
    if len(layers) != m_all:
        raise TinybertError(
            f"the layer mapping {text} names {len(layers)} teacher layers, but the student has "
            f"{m_all}: name one for each."
        )
    outside = [layer for layer in layers if not 1 <= layer <= n]
    if outside:
        raise TinybertError(
            f"the layer mapping {text} names layer {outside[0]}, but the teacher's layers are 1 to "
            f"{n}."
        )
    if any(a >= b for a, b in pairwise(layers)):
        raise TinybertError(
            f"the layer mapping {text} does not increase: each student layer needs a later teacher "
            "layer than the one before."
        )
    return layers


def _listed(kind: str | Sequence[int]) -> tuple[int, ...]:
    parts: Sequence[object] = kind.split(",") if isinstance(kind, str) else kind
    try:
        layers = tuple(int(str(part)) for part in parts)
    except ValueError:
        raise TinybertError(
            f"unknown layer mapping {kind!r}: choose {', '.join(MAPPINGS)} or teacher layers with "
            "commas, such as 2,4,6."
        ) from None
    return layers


def shown(mapping: Sequence[int]) -> str:
    """The mapping for people.

    >>> shown((2, 3, 5, 6))
    '1→2 2→3 3→5 4→6'
    """
    return " ".join(f"{m}→{layer}" for m, layer in enumerate(mapping, start=1))
