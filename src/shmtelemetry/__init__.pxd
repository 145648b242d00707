# The cimport door: `from shmtelemetry cimport Producer, Counter, Gauge, Histogram`, whose push emits without the GIL.
from shmtelemetry._instruments cimport Counter, Gauge, Histogram
from shmtelemetry._ring cimport Producer
