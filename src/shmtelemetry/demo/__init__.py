"""A trading platform of real processes, to see the telemetry of one at work.

An exchange matches a generated order flow, and four services trade there, each a process with a producer of its own:
``market-data`` follows the books, ``signal-bridge`` turns quotes into signals, ``risk-manager`` turns signals into
checked orders, and ``execution-engine`` sends them. Four bots share the instruments, and all of it is recorded by the
trading pack. :func:`shmtelemetry.demo.run.run_demo` starts them, and beside them the reader.
"""

from typing import Final

DEFAULT_RATE: Final = 12_000  # market data messages a second
DEFAULT_METRICS_PORT: Final = 9090  # with a reader for each service, of the first; the others follow
DEFAULT_ZMQ_PORT: Final = 5555  # of the first of four sockets between the services; the others follow
