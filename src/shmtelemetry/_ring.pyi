from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .accounting import Stats
from .producer import Setup
from .schema import Schema
from .segment import Segment

class Producer:
    setup: Setup
    segment: Segment | None
    def __init__(
        self,
        name: str,
        dtype: npt.DTypeLike | Schema,
        namespace: str = "default",
        capacity: int = 65536,
        policy: str = "drop_newest",
        timeout: float | None = None,
        *,
        mode: int = 0o600,
        group: str | int | None = None,
        setup: Setup | None = None,
    ) -> None: ...
    def emit(self, record: np.void | npt.NDArray[np.void] | bytes) -> bool: ...
    def emit_fields(self, *values: Any) -> bool: ...
    def emit_many(self, records: npt.NDArray[np.void]) -> int: ...
    def define(self, record: bytes) -> int: ...
    def retire(self, series: int, cell_offset: int) -> None: ...
    def last(self, n: int) -> npt.NDArray[np.void]: ...
    def stats(self) -> Stats: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
