from .._mapping cimport Mapping
from ._state cimport Core


cdef class Store:
    cdef Core core
    cdef readonly Mapping mapping
