# The cimport door: `from shmtelemetry cimport Producer`, whose push emits without the GIL.
from shmtelemetry._ring cimport Producer
