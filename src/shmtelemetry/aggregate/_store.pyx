"""The state's memory to those who write it from Python, and consistent copies of it to those who read."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from posix.time cimport CLOCK_MONOTONIC, nanosleep, timespec

from .._clock cimport nanoseconds
from .._mapping cimport Mapping
from ._state cimport (
    HEADER_SIZE, LOG_OFFSET, LOG_SLOT, NAMES_CHUNK, NAMES_TABLE, PAGE_BUCKETS, RUN_OFFSET, SERIES_CHUNK, SERIES_TABLE,
    SLOTS_CHUNK, SLOTS_TABLE, STEP_PAIRS, Core, Exemplar, Fold, Header, Name,
    Run, Series, Slot, Step, allocate, apply_step, next_step, once, run_check, seal,
    shmtel_mark_look, shmtel_mark_stood, step_check,
)

cdef enum:
    ATTEMPTS = 64       # between two looks at the clock
    SPIN_NS = 2000000   # before the first nap: within this time the reader's loop rests at least once, see Agent.rest
    NAP_NS = 50000


cdef int end_step(Core *core) except -1:
    """Replay the newest complete step and end all changes that a kill interrupted. Raises ValueError for a bad log."""
    cdef Step *first = <Step *>(core.base + LOG_OFFSET)
    cdef Step *second = <Step *>(core.base + LOG_OFFSET + LOG_SLOT)
    cdef Step *newest = first if first.serial_and_count > second.serial_and_count else second
    cdef Step *older = second if newest == first else first
    cdef uint64_t at, chunk
    cdef Series *series
    cdef Slot *slot
    cdef Name *name
    core.serial = newest.serial_and_count >> 8
    if core.serial == 0:  # nothing has ever happened
        return 0
    if (newest == second) != core.serial & 1 or (older.serial_and_count >> 8) + 1 != core.serial:
        raise ValueError(f"step {core.serial} of the log does not follow step {older.serial_and_count >> 8}")
    if newest.serial_and_count & 0xff > STEP_PAIRS or newest.check != step_check(newest, newest.serial_and_count):
        raise ValueError(f"step {core.serial} of the log is not what was written")
    for at in range(newest.serial_and_count & 0xff):
        if newest.pairs[at].offset % 8 or not HEADER_SIZE <= newest.pairs[at].offset <= core.header.allocated - 8:
            raise ValueError(f"a step changes byte {newest.pairs[at].offset}")
    apply_step(core, newest)
    for at in range(once(core.header.series)):
        chunk = (<uint64_t *>(core.base + SERIES_TABLE))[at // SERIES_CHUNK]
        series = <Series *>(core.base + chunk) + at % SERIES_CHUNK
        if series.mark & 1:  # what needs no change is not written: the mapping may be a private one
            series.mark += 1
    for at in range(once(core.header.slots)):
        chunk = (<uint64_t *>(core.base + SLOTS_TABLE))[at // SLOTS_CHUNK]
        slot = <Slot *>(core.base + chunk) + at % SLOTS_CHUNK
        if slot.mark & 1:
            slot.mark += 1
    for at in range(once(core.header.names)):
        chunk = (<uint64_t *>(core.base + NAMES_TABLE))[at // NAMES_CHUNK]
        name = <Name *>(core.base + chunk) + at % NAMES_CHUNK
        if name.mark & 1:
            name.mark += 1
    return 0


cdef int end_run_of_killed(Core *core) except -1:
    """Note how far the ring was read whose records were being applied. After end_step. Raises ValueError."""
    cdef Run *run = core.run
    cdef Slot *slot
    if run.first_serial != <uint64_t>-1 and (run.slot or run.first_serial):  # neither: there never was one
        if run.check != run_check(run, run.first_serial) or run.first_serial > core.serial + 1:
            raise ValueError("the note of the records that were being applied is not what was written")
        if run.slot % 8 or not HEADER_SIZE <= run.slot <= core.header.allocated - sizeof(Slot):
            raise ValueError(f"a run of records for byte {run.slot}")
        slot = <Slot *>(core.base + run.slot)
        slot.position = run.first_position + (core.serial + 1 - run.first_serial)
        slot.kept_position = ~slot.position
    run.first_serial = <uint64_t>-1
    return 0


cdef class Store:
    """The state's memory, to those who write it."""

    def __init__(self, Mapping mapping):
        self.mapping = mapping
        self.core.base = mapping.base
        self.core.header = <Header *>mapping.base
        self.core.run = <Run *>(mapping.base + RUN_OFFSET)

    def allocate(self, size) -> int:
        """The offset of `size` zeroed bytes; 0 if the state must grow first."""
        return allocate(&self.core, size)

    def recover(self):
        """Finish what a kill interrupted. Raises ValueError if the log cannot be."""
        end_step(&self.core)
        end_run_of_killed(&self.core)
        seal(&self.core, next_step(&self.core), 0)  # what is cleared from now on must not be replayed after a kill

    def end_step(self):
        """Finish the step that was interrupted, for those who only look: positions stay those of the last run's end, as
        a look at a reader that goes on shows them. Raises ValueError if the log cannot be."""
        end_step(&self.core)


def structures() -> dict[str, int]:
    """The sizes of the structures, for the test that compares them with state.py."""
    return {"header": sizeof(Header), "series": sizeof(Series), "slot": sizeof(Slot), "name": sizeof(Name),
            "fold": sizeof(Fold), "exemplar": sizeof(Exemplar)}


# ---- copying the state ----

cdef inline bint is_within(uint64_t size, uint64_t offset, uint64_t length) noexcept nogil:
    return offset <= size and length <= size - offset


cdef bint copy_block(unsigned char *to, const unsigned char *base, uint64_t size, uint64_t offset,
                     uint64_t length) noexcept nogil:
    if not is_within(size, offset, length):
        return False
    memcpy(to + offset, base + offset, length)
    return True


cdef bint copy_exemplars(unsigned char *to, const unsigned char *base, uint64_t size, uint64_t table,
                         uint64_t buckets) noexcept nogil:
    cdef uint64_t bucket, at
    if not copy_block(to, base, size, table, buckets * 8):
        return False
    for bucket in range(buckets):
        at = (<uint64_t *>(to + table))[bucket]
        if at == 0:
            continue
        if not copy_block(to, base, size, at, sizeof(Exemplar)):
            return False
        if not copy_block(to, base, size, at + sizeof(Exemplar), (<Exemplar *>(to + at)).length):
            return False
    return True


cdef int copy_series(Series *copy, uint64_t *classic, uint64_t classic_length, unsigned char *to,
                     const unsigned char *base, uint64_t size, uint64_t at, bint distributions) noexcept nogil:
    """Copy one series with its arrays. Returns 1, 0 if it changed meanwhile, -1 if it reaches beyond `size`."""
    cdef const Series *live = <const Series *>(base + at)
    cdef uint64_t directory, entry, length, mark
    if not is_within(size, at, sizeof(Series)):
        return -1
    mark = shmtel_mark_look(&live.mark)
    if mark & 1:
        return 0
    memcpy(copy, live, sizeof(Series))
    if not is_within(size, copy.classic, classic_length * 8):
        return -1
    memcpy(classic, base + copy.classic, classic_length * 8)
    if copy.exemplars and not copy_exemplars(to, base, size, copy.exemplars, max(classic_length, 1)):
        return -1
    if distributions:
        directory, length = (copy.directory & 0xffffffffULL) * 64, copy.directory >> 48
        if not copy_block(to, base, size, directory, length * 4):
            return -1
        for entry in range(length):
            if not copy_block(to, base, size, <uint64_t>(<uint32_t *>(to + directory))[entry] * 64, PAGE_BUCKETS * 8):
                return -1
    return shmtel_mark_stood(&live.mark, mark)


cdef bint wait_on(uint64_t *began, uint64_t patience_ns) noexcept nogil:
    """Let time pass, since something is being changed. False when patience has run out since `began`, 0 at first."""
    cdef timespec nap
    cdef uint64_t now = nanoseconds(CLOCK_MONOTONIC)
    if began[0] == 0:
        began[0] = now
    if now - began[0] >= patience_ns:
        return False
    if now - began[0] >= SPIN_NS:
        nap.tv_sec, nap.tv_nsec = 0, NAP_NS
        nanosleep(&nap, NULL)
    return True


def copy_state(const unsigned char[::1] state, unsigned char[::1] entries, uint64_t[::1] classics,
               unsigned char[::1] to, const uint64_t[::1] series, const uint64_t[::1] classic_begin,
               bint distributions, double patience) -> int:
    """Copy series, so that each is consistent in itself: their structures to `entries` and their classic counts to
    `classics`, one behind the other, their exemplars to the same offsets of `to`.

    series: offset of each. classic_begin: where the counts of each begin in `classics`, and where the last ones end.
    distributions: their exponential counts too, to `to`. patience: seconds to wait for one that is being changed.
    Returns how many never stood still long enough: 0 but for a state that is damaged; -1 if one reaches beyond `to`.
    """
    cdef const unsigned char *base = &state[0]
    cdef uint64_t size = min(state.shape[0], to.shape[0]), patience_ns = <uint64_t>(patience * 1e9), began
    cdef Py_ssize_t at, attempt, count = series.shape[0]
    cdef Series *copies = <Series *>&entries[0] if count else NULL
    cdef uint64_t *counts = &classics[0] if classics.shape[0] else NULL
    cdef int copied = 1
    if entries.shape[0] < <Py_ssize_t>(count * sizeof(Series)) or classic_begin.shape[0] != count + 1:
        raise ValueError(f"{entries.shape[0]} bytes and {classic_begin.shape[0]} places for {count} series")
    if classics.shape[0] < <Py_ssize_t>classic_begin[count]:
        raise ValueError(f"{classics.shape[0]} places for {classic_begin[count]} counts")
    with nogil:
        for at in range(count):
            attempt, began = 0, 0
            while True:
                copied = copy_series(copies + at, counts + classic_begin[at], classic_begin[at + 1] - classic_begin[at],
                                     &to[0], base, size, series[at], distributions)
                attempt += 1
                if copied or (attempt % ATTEMPTS == 0 and not wait_on(&began, patience_ns)):
                    break
            if copied <= 0:
                break
    return -1 if copied < 0 else copied == 0


def look_at_marks(const unsigned char[::1] state, const uint64_t[::1] marks, uint64_t[::1] seen):
    """Note what marks are before a copy. marks: offset of each, which must be within the state."""
    cdef Py_ssize_t at
    for at in range(marks.shape[0]):
        seen[at] = shmtel_mark_look(<const uint64_t *>(&state[0] + marks[at]))


def marks_stood(const unsigned char[::1] state, const uint64_t[::1] marks, const uint64_t[::1] seen) -> bool:
    """Whether what was copied since marks were noted is of one moment."""
    cdef Py_ssize_t at
    for at in range(marks.shape[0]):
        if not shmtel_mark_stood(<const uint64_t *>(&state[0] + marks[at]), seen[at]):
            return False
    return True


def copy_slots(const unsigned char[::1] state, unsigned char[::1] to, const uint64_t[::1] slots,
               double patience) -> bool:
    """Copy slots, one behind the other, so that what each has of its producer's figures is of one moment.

    slots: offset of each, which must be within the state. patience: seconds to wait for one that is being changed.
    False if it ran out.
    """
    cdef uint64_t patience_ns = <uint64_t>(patience * 1e9), began, mark
    cdef const Slot *live
    cdef Py_ssize_t at, attempt
    for at in range(slots.shape[0]):  # with the GIL, which the loop does without
        live = <const Slot *>(&state[0] + slots[at])
        attempt, began = 0, 0
        while True:
            mark = shmtel_mark_look(&live.mark)
            memcpy(&to[at * sizeof(Slot)], live, sizeof(Slot))
            if shmtel_mark_stood(&live.mark, mark):
                break
            attempt += 1
            if attempt % ATTEMPTS == 0 and not wait_on(&began, patience_ns):
                return False
    return True
