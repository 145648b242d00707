"""A small trading platform of real processes, to see the telemetry of one at work.

Four services, each a process with a producer of its own: ``market-data`` matches a generated order flow in
its order books, ``signal-bridge`` turns quotes into signals, ``risk-manager`` turns signals into checked
orders, and ``execution-engine`` fills them. Four bots share the instruments, and all of it is recorded by the
trading pack. :func:`shmtelemetry.demo.run.run_demo` starts them, and beside them the reader.
"""

from typing import Final

DEFAULT_RATE: Final = 12_000  # market data messages a second
DEFAULT_METRICS_PORT: Final = 9090  # with a reader for each service, of the first; the others follow
