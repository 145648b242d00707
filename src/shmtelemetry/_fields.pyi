from typing import Any

import numpy as np

class Field:
    def __init__(self, dtype: np.dtype[Any], offset: int) -> None: ...
