cdef const unsigned long long *cut_mappings() noexcept

cdef class Mapping:
    cdef unsigned char *base    # address of byte 0 of the file
    cdef readonly size_t size   # bytes that the buffer shows: the file's size when it was mapped
    cdef size_t reserved        # bytes of address space, of which the file may grow to fill all
    cdef int pid                # the process that mapped it: a forked child has no such mapping
    cdef bint writable
    cdef int exports            # buffers that are in use
    cdef void *entry            # of the guard against SIGBUS; NULL: none
    cdef int check(self) except -1
    cdef const unsigned int *cut_flag(self) noexcept
    cdef _unmap(self)
