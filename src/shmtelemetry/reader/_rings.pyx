"""The table of a namespace's rings, and what the keeper does with them.

`status` says whose a ring is: LIVE, ENDING and FOLDING belong to the loop (_agent.pyx), all others to the keeper
(keeper.py), the Python thread that finds segments and resolves series. Handing over is a release store of `status`,
taking over an acquire load.
"""

from libc.errno cimport ENOENT, ESRCH, errno
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset
from posix.fcntl cimport F_WRLCK, O_CLOEXEC, O_NONBLOCK, O_RDONLY, open
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from posix.signal cimport kill
from posix.time cimport CLOCK_MONOTONIC
from posix.unistd cimport close

from .. import layout
from .._clock cimport nanoseconds
from .._mapping cimport Mapping
from .._header cimport (
    SHMTEL_LOAD_ACQUIRE, SHMTEL_OVERWRITE_OLDEST, SHMTEL_STORE_RELEASE, shmtel_cell, shmtel_cell_read, shmtel_copy,
    shmtel_drain, shmtel_producer_page, shmtel_reader_page, shmtel_record, shmtel_release, shmtel_sample, shmtel_skip,
)
from ..aggregate._kernels cimport Buckets, fold_slot
from ..aggregate._state cimport (
    COMPARE_EXCHANGE, NAMES_CHUNK, NAMES_TABLE, Fold, Name, Series, Slot, Target, cell_check, folds_capacity, folds_of,
)
from ..aggregate._store cimport Store
from ._places cimport add_places, skip_places
from ._plan cimport KEY, add_group, find_group, free_plan, gather, make_plan

cdef extern from "<fcntl.h>" nogil:
    struct flock:
        short l_type
        short l_whence
        long l_start
        long l_len
        int l_pid
    int fcntl(int fd, int command, flock *lock)
    enum: F_OFD_GETLK, F_UNLCK, O_NOFOLLOW

cdef extern from *:
    """
    #ifndef F_OFD_GETLK
    #define F_OFD_GETLK 36
    #endif
    """

cdef enum:
    MAX_METRICS = 65536

cdef uint64_t NEVER = <uint64_t>1 << 62  # records until a store is waited for again that is given up
cdef uint64_t QUIET = 100000000


cdef void _clear(Ring *ring) noexcept:
    free(ring.targets)
    free(ring.cells)
    free(ring.places.known)
    free_plan(ring.plan)
    ring.targets, ring.cells, ring.places.known, ring.plan = NULL, NULL, NULL, NULL


cdef bint _seems_dead(const Ring *ring) noexcept nogil:
    """A cheap look; liveness.py has the last word."""
    cdef flock lock
    cdef int fd
    if SHMTEL_LOAD_ACQUIRE(&ring.in_.out.closed):
        return True
    fd = open(ring.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    if fd < 0:
        return errno == ENOENT and (not ring.local or (kill(ring.pid, 0) != 0 and errno == ESRCH))
    memset(&lock, 0, sizeof(lock))
    lock.l_type, lock.l_len = F_WRLCK, 1
    if fcntl(fd, F_OFD_GETLK, &lock) != 0:
        lock.l_type = F_WRLCK
    close(fd)
    return lock.l_type == F_UNLCK


cdef class Rings:
    """The rings that are drained into a Store. Arguments after it are those of a subclass."""

    def __cinit__(self, Store store, *_):
        cdef void *memory = mmap(NULL, (MAX_RINGS + 2 * NEAR) * sizeof(Ring), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if memory == MAP_FAILED:
            raise MemoryError("no room for the table of rings")
        self.rings = <Ring *>memory
        self.flows = <Flow *>calloc(MAX_METRICS, sizeof(Flow))
        if self.flows == NULL:
            raise MemoryError()
        self.store, self.core = store, &store.core

    def __dealloc__(self):
        cdef uint64_t at
        if self.rings != NULL:
            for at in range(self.high):
                _clear(&self.rings[at])
            munmap(self.rings, (MAX_RINGS + 2 * NEAR) * sizeof(Ring))
        free(self.flows)

    def add(self, segment, uint64_t slot_offset, bint local, bint events) -> int:
        """A new ring, in set-up; `start` hands it to the loop. Returns its number.

        events: a store takes its records as well, and tells by `set_stored` how far it has come.
        """
        cdef Mapping mapping = segment.mapping
        cdef Ring *ring
        cdef uint64_t at = 0, overwritten = 0, read_position
        header = segment.header
        while at < self.high and self.rings[at].status != FREE:
            at += 1
        if at == MAX_RINGS:
            raise ValueError(f"more than {MAX_RINGS} segments in the namespace")
        ring = &self.rings[at]
        memset(ring, 0, sizeof(Ring))
        ring.in_.mask, ring.in_.capacity = header.capacity - 1, header.capacity
        ring.in_.record_size = header.record_size
        ring.in_.records = mapping.base + <size_t>header.ring_offset
        ring.in_.out = <const shmtel_producer_page *>(mapping.base + <size_t>header.producer_offset)
        ring.in_.in_ = <shmtel_reader_page *>(mapping.base + <size_t>header.reader_offset)
        ring.catalogue = mapping.base + <size_t>header.catalogue_offset
        ring.slot = <Slot *>(self.core.base + slot_offset)
        if <int>header.policy == SHMTEL_OVERWRITE_OLDEST:
            ring.copies = BATCH
            while ring.copies * ring.in_.record_size > COPIES:
                ring.copies //= 2
            ring.in_.overwritten = ring.slot.overwritten
            overwritten = ring.in_.in_.overwritten
        # What a reader committed before it was killed is released now; what somebody else consumed is not read again.
        ring.in_.position = ring.slot.position
        read_position = SHMTEL_LOAD_ACQUIRE(&ring.in_.in_.read_position) + overwritten
        if <int64_t>(read_position - ring.in_.position) > 0:
            ring.in_.position, ring.in_.overwritten = read_position, overwritten
        shmtel_skip(&ring.in_, 0)
        ring.held, ring.stored = events and not ring.copies, read_position
        self.release(ring, 0)
        ring.lost = lost_records(ring.slot)
        ring.mode = SAMPLES if header.flags & layout.FLAG_INSTRUMENTS else DISCARD
        ring.local = local and header.pid < 1 << 31
        ring.active_ns = nanoseconds(CLOCK_MONOTONIC)
        ring.clock, ring.pid, ring.inode = header.clock, header.pid & 0x7fffffff, segment.inode
        ring.cut = mapping.cut_flag()
        path = f"/dev/shm/{segment.name}".encode()
        memcpy(ring.path, <const char *>path, len(path))
        ring.status = SET_UP
        if at == self.high:
            self.high += 1
        return at

    def set_targets(self, uint64_t number, offsets, cells, buckets):
        """Further series of a SAMPLE ring: offset in the state (-1: none), of the cell in the catalogue, Buckets."""
        cdef Ring *ring = &self.rings[number]
        cdef uint64_t known = ring.known, more = len(offsets), at
        cdef int64_t offset
        ring.targets = <Target *>realloc(ring.targets, (known + more) * sizeof(Target))
        ring.cells = <uint64_t *>realloc(ring.cells, (known + more) * 8)
        if ring.targets == NULL or ring.cells == NULL:
            raise MemoryError()
        for at in range(more):
            offset = offsets[at]
            ring.targets[known + at].series = NULL if offset < 0 else <Series *>(self.core.base + offset)
            ring.targets[known + at].bounds = &(<Buckets>buckets[at]).bounds
            ring.cells[known + at] = cells[at]
        ring.known = known + more
        ring.seen = <uint64_t>-1  # their cells may hold something already

    def add_places(self, uint64_t number, offsets, rooms, series):
        """Further places of exemplars: offset in the catalogue, room of each slot, number of the series."""
        add_places(&self.rings[number].places, offsets, rooms, series)

    def set_stored(self, uint64_t number, uint64_t position):
        """The event store has what is before a position; one that it has passed already changes nothing."""
        cdef Ring *ring = &self.rings[number]
        if <int64_t>(position - ring.stored) > 0:
            # SYNC POINT: stored. Pairs with release: the transaction is done before the producer writes over it.
            SHMTEL_STORE_RELEASE(&ring.stored, position)

    def let_go(self, uint64_t number):
        """No store waits for this ring's events any more."""
        self.set_stored(number, self.rings[number].slot.position + NEVER)

    def position(self, uint64_t number) -> int:
        """Up to where a ring is in the state."""
        return SHMTEL_LOAD_ACQUIRE(&self.rings[number].slot.position)

    def remove_target(self, uint64_t number, uint64_t series):
        """A series of a SAMPLE ring counts no longer."""
        self.rings[number].targets[series].series = NULL

    def written(self, uint64_t number) -> int:
        """How far the ring is written now."""
        return SHMTEL_LOAD_ACQUIRE(&self.rings[number].in_.out.write_position)

    def is_drained(self, uint64_t number, uint64_t position) -> bool:
        """Whether a SAMPLE ring is drained up to a position, or to a record of a series that is not known yet."""
        cdef Ring *ring = &self.rings[number]
        cdef uint64_t at = ring.slot.position
        if <int64_t>(at - position) >= 0:
            return True
        return (<const shmtel_sample *>shmtel_record(&ring.in_, at)).series >= ring.known

    def set_learned(self, uint64_t number, uint64_t length, bint more):
        """How many bytes of the ring's catalogue are known. more: the next are to be learned as soon as it can be."""
        self.rings[number].learned, self.rings[number].more = length, more

    def skip_cells(self, uint64_t number):
        """Let only what comes into the cells from now on count, and exemplars from now on. While the slot is free."""
        cdef Ring *ring = &self.rings[number]
        cdef Fold *folds = folds_of(self.core, ring.slot)
        cdef shmtel_cell *cell
        cdef uint64_t at, steps = 0, time = 0
        cdef double amount = 0
        for at in range(min(ring.known, folds_capacity(ring.slot))):
            cell = <shmtel_cell *>(ring.catalogue + ring.cells[at])
            shmtel_cell_read(cell, &steps, &time, &amount)
            folds[at].steps, folds[at].amount = steps, amount
            folds[at].dropped = SHMTEL_LOAD_ACQUIRE(&cell.dropped)
            folds[at].key = cell_check(steps, amount, folds[at].dropped)
        skip_places(&ring.places, ring.catalogue)

    def set_plan(self, uint64_t number, columns, metrics, labels, int time_offset, uint64_t time_ns):
        """The metrics of a ring of records, see make_plan. time_offset: -1 for none; time_ns: of the field's unit."""
        self.rings[number].plan = make_plan(columns, metrics, labels, time_offset, time_ns)
        self.flowing = max(self.flowing, max(metrics, default=-1) + 1)
        self.rings[number].mode = RECORDS

    def wanted_keys(self, uint64_t number) -> list[bytes]:
        """The label fields that are new in the next records of a ring of records, those of the first before the others.

        Many at once, or each would cost a hand-over of the ring.
        """
        cdef Ring *ring = &self.rings[number]
        cdef unsigned char key[KEY]
        cdef uint64_t count = min(shmtel_drain(&ring.in_), ring.in_.capacity, ring.copies or BATCH), at, lost = 0
        cdef const unsigned char *record
        cdef unsigned char[::1] copied
        if ring.copies:
            copied = bytearray(count * ring.in_.record_size or 1)
            lost = shmtel_copy(&ring.in_, &copied[0], count)
        wanted = {}
        for at in range(min(lost, count), count):
            record = shmtel_record(&ring.in_, ring.in_.position + at)
            if ring.copies:
                record = &copied[at * ring.in_.record_size]
            gather(ring.plan, record, key)
            if find_group(ring.plan, key) == ring.plan.groups:
                wanted[(<const char *>key)[:ring.plan.key_size]] = None
        return list(wanted)

    def add_group(self, uint64_t number, bytes key, offsets, folds):
        """The series of one set of label values, see _plan.pyx."""
        add_group(self.rings[number].plan, key, self.core.base, offsets, folds)

    def start(self, uint64_t number):
        """Hand a ring to the loop."""
        cdef Ring *ring = &self.rings[number]
        # SYNC POINT: ring. Pairs with the loads in serve_active and serve_others.
        SHMTEL_STORE_RELEASE(&ring.status, ENDING if ring.ending else LIVE)

    def end(self, uint64_t number):
        """Have the loop take the rest of a dead producer's ring."""
        cdef uint64_t live = LIVE
        # It may be wanting something meanwhile, and is then found dead again.
        COMPARE_EXCHANGE(&self.rings[number].status, &live, ENDING)

    def let_fill(self, uint64_t number):
        """Release nothing more, so that the producer finds its ring full, and looks why."""
        self.rings[number].in_.in_ = &self.rings[number].own

    def fold(self, uint64_t number):
        """Have the loop fold what an empty ring's producer left besides records."""
        SHMTEL_STORE_RELEASE(&self.rings[number].status, FOLDING)

    def fold_orphan(self, uint64_t slot_offset):
        """Fold the slot of a segment that is gone. Not while the loop runs."""
        self.fold_into_name(<Slot *>(self.core.base + slot_offset))

    def remove(self, uint64_t number):
        """Forget a ring that is not the loop's."""
        _clear(&self.rings[number])
        SHMTEL_STORE_RELEASE(&self.rings[number].status, FREE)

    def status(self, uint64_t number) -> int:
        return SHMTEL_LOAD_ACQUIRE(&self.rings[number].status)

    def wanting_rings(self) -> list[int]:
        """Numbers of the rings that are the keeper's turn."""
        cdef uint64_t at
        return [at for at in range(self.high) if WANT_SERIES <= self.rings[at].status <= ENDED]

    def suspects(self, uint64_t begin, uint64_t count) -> list[int]:
        """Of `count` rings from `begin` on, those whose producer seems to have ended."""
        cdef uint64_t at, now = nanoseconds(CLOCK_MONOTONIC)
        return [at for at in range(begin, min(begin + count, self.high)) if self.is_suspect(at, now)]

    def quiet_suspects(self, uint64_t count) -> list[int]:
        """Of the first `count` rings that fell quiet and were not looked at since, nor in the last second, the same."""
        cdef uint64_t at, now = nanoseconds(CLOCK_MONOTONIC)
        cdef Ring *ring
        found = []
        for at in range(self.high if count else 0):
            ring = &self.rings[at]
            if ring.status != LIVE or now - ring.active_ns < QUIET or ring.checked_ns >= ring.active_ns + QUIET:
                continue
            if now - ring.checked_ns < SECOND:
                continue
            if self.is_suspect(at, now):
                found.append(at)
            count -= 1
            if count == 0:
                break
        return found

    cdef bint is_suspect(self, uint64_t number, uint64_t now):
        cdef Ring *ring = &self.rings[number]
        ring.checked_ns = now
        return ring.status == LIVE and _seems_dead(ring)

    def losses(self) -> list[tuple[int, int, int]]:
        """(metric, records taken, records lost) since the last time, of metrics that are made of fields."""
        cdef uint64_t at, taken, lost
        cdef Flow *flow
        found = []
        for at in range(self.flowing):
            flow = &self.flows[at]
            taken, lost = SHMTEL_LOAD_ACQUIRE(&flow.taken), SHMTEL_LOAD_ACQUIRE(&flow.lost)
            if taken != flow.told_taken or lost != flow.told_lost:
                found.append((at, taken - flow.told_taken, lost - flow.told_lost))
                flow.told_taken, flow.told_lost = taken, lost
        return found

    def published(self) -> list[tuple[int, int, int, int, int, int]]:
        """(number, inode, position, steps, exemplars, bytes of catalogue) of each ring: what its producer has published
        by now."""
        cdef uint64_t at, exemplars, length
        cdef const shmtel_producer_page *out
        found = []
        for at in range(self.high):
            if LIVE <= self.rings[at].status <= WANT_SPACE:
                out = self.rings[at].in_.out
                steps = SHMTEL_LOAD_ACQUIRE(&out.coalesced) + SHMTEL_LOAD_ACQUIRE(&out.dropped_full)
                exemplars = length = 0
                if self.rings[at].mode == SAMPLES:
                    exemplars = SHMTEL_LOAD_ACQUIRE(&out.exemplars)
                    length = SHMTEL_LOAD_ACQUIRE(&out.catalogue_length)
                position = SHMTEL_LOAD_ACQUIRE(&out.write_position)
                found.append((at, self.rings[at].inode, position, steps, exemplars, length))
        return found

    def behind(self, published) -> list[tuple[int, int, int, int, int, int]]:
        """Those of `published` that are not in the state yet."""
        cdef uint64_t number, inode, position, steps, exemplars, length
        cdef Ring *ring
        found = []
        for number, inode, position, steps, exemplars, length in published:
            ring = &self.rings[number]
            if ring.inode != inode or not LIVE <= ring.status <= WANT_SPACE:
                continue  # it has ended, or is left aside
            if (<int64_t>(position - SHMTEL_LOAD_ACQUIRE(&ring.slot.position)) > 0 or ring.seen + 1 <= steps
                    or <int64_t>(exemplars - ring.places.seen) > 0 or ring.places.unseen or ring.learned < length):
                found.append((number, inode, position, steps, exemplars, length))
        return found

    def ending(self) -> bool:
        """Whether a ring is on its way out."""
        cdef uint64_t at, status
        for at in range(self.high):
            status = self.rings[at].status
            if status == ENDING or status == FOLDING or status == EMPTY or status == ENDED:
                return True
        return False

    @property
    def count(self) -> int:
        """Ring numbers in use are below this."""
        return self.high

    # ---- what both sides do ----

    cdef void release(self, Ring *ring, uint64_t count) noexcept nogil:
        """Pass over records that are in the state, and give places back to the producer.

        Of events those that the store has too. It may be behind by half a ring: the rest of its events it loses, before
        the producer would lose metrics.
        """
        cdef uint64_t behind
        if not ring.held:
            shmtel_release(&ring.in_, count)
            return
        ring.in_.position += count
        # SYNC POINT: stored.
        behind = ring.in_.position - SHMTEL_LOAD_ACQUIRE(&ring.stored)
        behind = min(behind, ring.in_.capacity // 2) if <int64_t>behind > 0 else 0
        ring.freed = ring.in_.position - behind
        # SYNC POINT: release. As shmtel_release; nothing of such a ring is overwritten.
        SHMTEL_STORE_RELEASE(&ring.in_.in_.read_position, ring.freed)

    cdef void fold_into_name(self, Slot *slot) noexcept nogil:
        cdef uint64_t *chunks = <uint64_t *>(self.core.base + NAMES_TABLE)
        cdef Name *name = <Name *>(self.core.base + chunks[slot.name // NAMES_CHUNK])
        fold_slot(self.core, slot, name + slot.name % NAMES_CHUNK)
