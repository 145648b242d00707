"""The signal bridge's model: a logistic one over four features, with weights for each strategy, from a file.

The weights are set by hand: the demo shows what measuring a model costs, and makes no claim about trading with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

FEATURES: Final = ("momentum", "imbalance", "trade_flow", "distance")
_WEIGHTS: Final = {"momentum": (0.9, 1.8, 1.2, -0.3), "reversion": (-0.3, 1.5, 0.9, -1.2)}


class Model:
    """Weights of one strategy. made_at: when the file was written, in seconds since the epoch."""

    def __init__(self, path: Path, strategy: str) -> None:
        """Raises OSError, ValueError or KeyError for a file that is none."""
        with np.load(path, allow_pickle=False) as stored:
            weights: npt.NDArray[np.float64] = stored[strategy]
        if weights.shape != (len(FEATURES),):
            raise ValueError(f"{path}: {weights.shape} weights of {strategy}: expected {len(FEATURES)}")
        self._weights = weights
        self.made_at = path.stat().st_mtime

    def score(self, features: Sequence[float]) -> float:
        """From -1 (sell) to 1 (buy)."""
        return float(np.tanh(0.5 * self._weights.dot(features)))


def write_model(path: Path, broken: bool = False) -> None:
    """The weights of all strategies; broken ones are no numbers, as of a training that diverged."""
    weights = {name: np.array(values) * (np.nan if broken else 1.0) for name, values in _WEIGHTS.items()}
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **weights)
