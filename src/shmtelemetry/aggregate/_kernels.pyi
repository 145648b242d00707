from collections.abc import Sequence

class Buckets:
    def __init__(self, bounds: Sequence[float]) -> None: ...
