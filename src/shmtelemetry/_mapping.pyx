"""A shared mapping of a file that keeps no descriptor open and that a forked child does not inherit.

mmap.mmap keeps a descriptor for each mapping and cannot map beyond the end of a file. A segment needs neither: its
locks hang on the mapped open file description, and its catalogue grows into address space reserved here.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from libc.errno cimport errno
from posix.mman cimport MAP_FAILED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport getpid

import os

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void *address, size_t length, int advice)
    enum: MADV_DONTFORK

cdef extern from "<sys/vfs.h>" nogil:
    struct statfs_t "statfs":
        long f_type
    int fstatfs(int fd, statfs_t *status)

cdef extern from "<linux/magic.h>":
    enum: TMPFS_MAGIC

cdef extern from *:
    """
    #include <linux/futex.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #define FUTEX_RING(word) do { \
        __atomic_add_fetch((word), 1, __ATOMIC_SEQ_CST); \
        syscall(SYS_futex, (word), FUTEX_WAKE, 0x7fffffff, NULL, NULL, 0); \
    } while (0)
    """
    void FUTEX_RING(unsigned int *word) nogil

cdef extern from *:
    """
    #define ADD(count, amount) __atomic_add_fetch((count), (amount), __ATOMIC_ACQ_REL)
    """
    void ADD(int *count, int amount) nogil

cdef extern from "shmtelemetry.h" nogil:
    unsigned long long SHMTEL_LOAD_ACQUIRE(const unsigned long long *pointer)
    void SHMTEL_STORE_RELEASE(unsigned long long *pointer, unsigned long long value)

cdef extern from "_guard.h" nogil:
    ctypedef struct guard_entry:
        unsigned int cut
    const unsigned long long guard_cuts
    int guard_install()
    guard_entry *guard_enter(const void *begin, size_t size)
    void guard_leave(guard_entry *entry)

cdef enum:
    PAGE = 4096


cdef unsigned int never = 0  # the flag of what is not guarded


def install_guard():
    """From here on nobody kills this process by cutting short a file that it has guarded: a handler of SIGBUS, which
    gives faults elsewhere to the one before it. Raises OSError."""
    if guard_install() != 0:
        raise OSError(errno, os.strerror(errno))


cdef const unsigned long long *cut_mappings() noexcept:
    """How many guarded mappings were found cut short so far."""
    return &guard_cuts


def is_tmpfs(int fd) -> bool:
    """Whether the open file lies on a tmpfs, where pages are memory and writing them never waits for a disk."""
    cdef statfs_t status
    return fstatfs(fd, &status) == 0 and status.f_type == TMPFS_MAGIC


def link_unnamed(fd, directory, name):
    """Give a file that was opened with O_TMPFILE its name. Raises OSError."""
    directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # A dir_fd makes CPython call linkat(AT_SYMLINK_FOLLOW); plain link() would link the symbolic link itself.
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory_fd, follow_symlinks=True)
    finally:
        os.close(directory_fd)


cdef class Mapping:
    """`size` bytes of the open file `fd`; `reserve` more bytes of address space are kept for its growth.

    private: what is written stays out of the file. The buffer protocol shows the `size` bytes. Raises OSError when the
    mapping fails.
    """

    def __cinit__(self, int fd, size_t size, size_t reserve=0, bint writable=True, bint private=False):
        cdef int protection = PROT_READ | PROT_WRITE if writable else PROT_READ
        cdef void *address
        if size == 0:
            raise ValueError("an empty file cannot be mapped")
        self.reserved = (size + reserve + PAGE - 1) // PAGE * PAGE
        address = mmap(NULL, self.reserved, protection, MAP_PRIVATE if private else MAP_SHARED, fd, 0)
        if address == MAP_FAILED:
            raise OSError(errno, os.strerror(errno))
        self.base = <unsigned char *>address
        self.size, self.writable, self.pid = size, writable, getpid()
        # A child that inherited it would keep the lock of a dead parent alive.
        madvise(address, self.reserved, MADV_DONTFORK)

    cdef int check(self) except -1:
        if self.base == NULL:
            raise ValueError("the segment is closed")
        if self.pid != getpid():
            raise ValueError(f"the segment was mapped by process {self.pid}, not by this one")
        return 0

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        self.check()
        PyBuffer_FillInfo(buffer, self, self.base, self.size, not self.writable, flags)
        ADD(&self.exports, 1)

    def __releasebuffer__(self, Py_buffer *buffer):
        ADD(&self.exports, -1)

    def touch(self):
        """Bring every page in, so that no emit pays for a page fault. The space must have been allocated."""
        cdef size_t offset
        self.check()
        for offset in range(0, self.size, PAGE):
            (<volatile unsigned char *>self.base)[offset] = self.base[offset]

    def load(self, size_t offset) -> int:
        """The u64 at `offset`, read with acquire ordering."""
        self.check()
        if offset % 8 or offset + 8 > self.size:
            raise ValueError(f"offset {offset} is not an aligned u64 within {self.size} bytes")
        return SHMTEL_LOAD_ACQUIRE(<const unsigned long long *>(self.base + offset))

    def store(self, size_t offset, unsigned long long value):
        """Write the u64 at `offset` with release ordering."""
        self.check()
        if offset % 8 or offset + 8 > self.size or not self.writable:
            raise ValueError(f"offset {offset} is not a writable aligned u64 within {self.size} bytes")
        SHMTEL_STORE_RELEASE(<unsigned long long *>(self.base + offset), value)

    def ring(self, size_t offset):
        """Count up the u32 at `offset`, and wake whoever waits for that, in any process (futex(2))."""
        self.check()
        if offset % 4 or offset + 4 > self.size or not self.writable:
            raise ValueError(f"offset {offset} is not a writable aligned u32 within {self.size} bytes")
        FUTEX_RING(<unsigned int *>(self.base + offset))

    def grow(self, size_t size):
        """Show `size` bytes, after the file has grown to them. Raises ValueError beyond the reserved space."""
        if size > self.reserved:
            raise ValueError(f"{size:,} bytes exceed the {self.reserved:,} reserved for this mapping")
        self.size = size

    def close(self):
        """Unmap. Raises BufferError while a buffer is in use."""
        if self.base == NULL:
            return
        if self.exports:
            raise BufferError("cannot close a mapping while a buffer of it exists")
        self._unmap()

    def guard(self):
        """Let reading what is cut off the file give zeros, and `cut` be True then. Only where a guard is installed."""
        self.check()
        self.entry = guard_enter(self.base, self.reserved)

    @property
    def cut(self) -> bool:
        """Whether a page of the file was missing when it was read."""
        return self.cut_flag()[0] != 0

    cdef const unsigned int *cut_flag(self) noexcept:
        return &(<guard_entry *>self.entry).cut if self.entry != NULL else &never

    cdef _unmap(self):
        if self.entry != NULL:
            guard_leave(<guard_entry *>self.entry)
            self.entry = NULL
        # In a forked child the addresses may be somebody else's by now.
        if self.base != NULL and self.pid == getpid():
            munmap(self.base, self.reserved)
        self.base = NULL

    def __dealloc__(self):
        self._unmap()
