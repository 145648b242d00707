"""The loop that drains every ring of a namespace and applies its records to the state, without the GIL.

Each ring is owned by one side at a time, and `status` says by which: LIVE, ENDING and FOLDING belong to the loop, all
others to the keeper (reader.py), the Python thread that finds segments and resolves series. Handing over is a release
store of `status`, taking over an acquire load.
"""

from libc.errno cimport ENOENT, ESRCH, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset
from posix.fcntl cimport F_WRLCK, O_CLOEXEC, O_NONBLOCK, O_RDONLY, open
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from posix.signal cimport kill
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, nanosleep, timespec
from posix.unistd cimport close, write

from .. import layout
from .._clock import epoch_anchor, tick_length
from .._clock cimport nanoseconds
from .._mapping cimport Mapping, cut_mappings
from .._ring cimport (
    SHMTEL_LOAD_ACQUIRE, SHMTEL_OVERWRITE_OLDEST, SHMTEL_STORE_RELAXED, SHMTEL_STORE_RELEASE, shmtel_cell,
    shmtel_cell_read, shmtel_consumer, shmtel_copy, shmtel_drain, shmtel_lost, shmtel_producer_page, shmtel_reader_page,
    shmtel_record, shmtel_release, shmtel_sample, shmtel_skip,
)
from ..aggregate._kernels cimport (
    Buckets, apply_record, apply_samples, epoch_ns, fold_counter, fold_dropped, fold_gauge, fold_slot, observe,
    skip_sample,
)
from ..aggregate._state cimport (
    COMPARE_EXCHANGE, COMPILER_BARRIER, COUNTER, DONE, GAUGE, NAMES_CHUNK, NAMES_TABLE, NEED_SERIES, NEED_SPACE,
    SHMTEL_UNLIKELY, Batch, Bounds, Core, Fold, Name, Outcome, Series, Slot, Target, begin_figures, begin_run,
    end_figures, end_run, cell_check, folds_capacity, folds_of, move_position, next_step, seal,
)
from ..aggregate._store cimport Store
from ._places cimport Places, add_places, fold_places, skip_places
from ._plan cimport KEY, MAX_WIDTH, Plan, add_group, find_group, free_plan, gather, make_plan

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
    #if defined(__x86_64__)
    #define RELAX() __builtin_ia32_pause()
    #else
    #define RELAX() __asm__ volatile("yield")
    #endif
    #define PREFETCH(address) __builtin_prefetch(address)
    #ifndef F_OFD_GETLK
    #define F_OFD_GETLK 36
    #endif
    #include <linux/futex.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #define FUTEX_LOAD(word) __atomic_load_n((word), __ATOMIC_ACQUIRE)
    #define FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    #define FUTEX_SLEEP(word, heard, longest) syscall(SYS_futex, (word), FUTEX_WAIT, (heard), (longest), NULL, 0)
    """
    void RELAX() nogil
    void PREFETCH(const void *address) nogil
    uint32_t FUTEX_LOAD(uint32_t *word) nogil
    void FENCE() nogil
    void FUTEX_SLEEP(uint32_t *word, uint32_t heard, timespec *longest) nogil

cdef enum:
    MAX_RINGS = 65536
    MAX_METRICS = 65536
    BATCH = 4096           # records between two releases
    COPIES = 1 << 18       # bytes of the records of an overwrite_oldest ring that are copied at once
    SCAN = 32              # rings among which new activity is looked for in one turn
    NEAR = 8               # rings between the prefetch of a position and its use

cpdef enum Status:
    FREE = 0
    LIVE = 1               # the loop's
    ENDING = 2             # the loop's: its producer is dead, take the rest
    FOLDING = 3            # the loop's: fold its cells and figures
    WANT_SERIES = 4
    WANT_SPACE = 5
    LIES = 6               # its positions cannot be
    EMPTY = 7              # the rest is taken; what it defined and never wrote may have cells
    ENDED = 8              # all is folded, it can be unlinked
    SET_UP = 9

cdef enum Mode:
    DISCARD = 0            # records without a role: drained and counted
    SAMPLES = 1
    RECORDS = 2

cdef uint64_t SECOND = 1000000000
cdef uint64_t QUIET = 100000000
cdef uint64_t WORK_NS = 1000000    # between two rests
cdef uint64_t REST_NS = 10000      # time to copy some series with all their counts
cdef uint64_t SHARE_NS = 5000000   # of one ring in a turn of the loop: however much is in it, others are served


cdef struct Ring:          # a look at an idle ring needs the first cache line alone
    uint64_t status
    uint64_t active_ns     # when it last had records, or was added
    shmtel_consumer in_ "in"
    Slot *slot
    uint64_t mode
    Target *targets        # by number of the series in the segment
    uint64_t *cells        # offset of each series' cell in the catalogue
    uint64_t known         # how many of both
    uint64_t seen          # steps in cells, when they were last folded
    uint64_t learned       # bytes of the catalogue
    const unsigned char *catalogue
    Plan *plan
    Places places          # of exemplars
    uint32_t clock
    uint32_t local         # whether pid is one of this pid namespace
    uint64_t copies        # of an overwrite_oldest ring: records that are copied at once, a power of two; else 0
    uint64_t ending        # whether its producer is dead
    uint64_t lost          # records that were not written, as far as Flow has them
    uint64_t checked_ns    # when somebody last looked whether it is
    int pid
    const unsigned int *cut  # whether a part of its file was missing
    uint64_t inode
    char path[224]


cdef struct Flow:          # records of one metric that is made of fields
    uint64_t taken         # by the loop
    uint64_t lost
    uint64_t told_taken    # of these, what the keeper knows
    uint64_t told_lost


cdef struct Anchor:        # how a clock's ticks become time
    double tick_ns
    uint64_t ticks
    uint64_t ns


# ---- rings ----

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


cdef uint64_t lost_records(const Slot *slot) noexcept nogil:
    return slot.dropped_full + slot.dropped_timeout + slot.dropped_no_ring + slot.overwritten


cdef class Agent:
    """Drains rings into a Store.

    keeper_fd: an eventfd that is written when a ring wants something from Python. longest_ns: sleep at most. bell,
    asked: offsets in the control file, see control.py.
    """

    cdef Ring *rings
    cdef uint64_t high              # rings ever used
    cdef uint64_t scanned           # where the look at idle rings goes on
    cdef Core *core
    cdef Store store
    cdef Series *lag
    cdef Bounds *lag_bounds
    cdef int keeper_fd
    cdef int stopping
    cdef Mapping control
    cdef uint32_t *bell             # counted up by whoever wants a turn that serves every ring
    cdef uint32_t heard             # the bell when the last turn began
    cdef uint64_t *asked            # when another process last asked for everything that is published
    cdef uint64_t noticed           # of these, the last that the keeper was told of
    cdef uint32_t *active           # numbers of the rings that had records in the last second
    cdef uint64_t actives
    cdef unsigned char *listed      # by number: whether it is among them
    cdef uint64_t wants             # how often a ring was given to the keeper
    cdef Anchor anchors[2][2]       # by generation, then by clock
    cdef uint64_t generation        # of the anchors in use; the other is the next to be written
    cdef uint64_t longest_ns        # sleep, when nothing happens
    cdef uint64_t share_ns          # of one ring in a turn
    cdef const unsigned long long *cuts  # files that were found cut short
    cdef uint64_t cuts_seen
    cdef uint64_t begun             # turns
    cdef uint64_t turns             # that have ended
    cdef uint64_t drained           # records, in all
    cdef uint64_t rested_ns         # when no series was changed for a moment
    cdef double fullest             # ring of the last turn, as a fraction of its capacity
    cdef Flow *flows                # by number of the metric
    cdef uint64_t flowing           # numbers of metrics that are made of fields are below this
    cdef unsigned char *copied      # records of an overwrite_oldest ring, before they are applied
    cdef list bounds                # Buckets objects, kept alive

    def __cinit__(self, Store store, int keeper_fd, uint64_t longest_ns, Mapping control, size_t bell, size_t asked):
        cdef void *memory = mmap(NULL, (MAX_RINGS + 2 * NEAR) * sizeof(Ring), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if memory == MAP_FAILED:
            raise MemoryError("no room for the table of rings")
        self.rings = <Ring *>memory
        self.active = <uint32_t *>calloc(MAX_RINGS, sizeof(uint32_t))
        self.listed = <unsigned char *>calloc(MAX_RINGS, 1)
        self.flows = <Flow *>calloc(MAX_METRICS, sizeof(Flow))
        self.copied = <unsigned char *>calloc(COPIES, 1)
        if self.active == NULL or self.listed == NULL or self.flows == NULL or self.copied == NULL:
            raise MemoryError()
        self.store, self.core, self.keeper_fd, self.longest_ns = store, &store.core, keeper_fd, longest_ns
        self.control, self.bell = control, <uint32_t *>(control.base + bell)
        self.asked = <uint64_t *>(control.base + asked)
        self.bounds = []
        self.cuts = cut_mappings()
        self.calibrate()

    def __dealloc__(self):
        cdef uint64_t at
        if self.rings != NULL:
            for at in range(self.high):
                _clear(&self.rings[at])
            munmap(self.rings, (MAX_RINGS + 2 * NEAR) * sizeof(Ring))
        free(self.active)
        free(self.listed)
        free(self.flows)
        free(self.copied)

    def calibrate(self):
        """Note what the clocks say now, so that ticks become time without a drift."""
        cdef uint64_t following = 1 - self.generation
        cdef int kind
        for kind in range(2):
            self.anchors[following][kind].tick_ns = tick_length(kind) * 1e9
            self.anchors[following][kind].ticks, self.anchors[following][kind].ns = epoch_anchor(kind)
        # SYNC POINT: anchors. Pairs with the load in batch_of, done with the others long before the next time.
        SHMTEL_STORE_RELEASE(&self.generation, following)

    def set_lag(self, uint64_t offset, Buckets buckets):
        """Where the age of records is observed."""
        self.lag, self.lag_bounds = <Series *>(self.core.base + offset), &buckets.bounds
        self.bounds.append(buckets)

    # ---- the keeper's side ----

    def add(self, segment, uint64_t slot_offset, bint local) -> int:
        """A new ring, in set-up; `start` hands it to the loop. Returns its number."""
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
        shmtel_release(&ring.in_, 0)
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

    def set_learned(self, uint64_t number, uint64_t length):
        """How many bytes of the ring's catalogue are known."""
        self.rings[number].learned = length

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

    # ---- the loop's side ----

    cdef void batch_of(self, Ring *ring, Batch *batch, uint64_t count) noexcept nogil:
        batch.records, batch.mask, batch.record_size = ring.in_.records, ring.in_.mask, ring.in_.record_size
        batch.position, batch.count, batch.slot = ring.in_.position, count, ring.slot
        # SYNC POINT: anchors.
        cdef const Anchor *anchor = &self.anchors[SHMTEL_LOAD_ACQUIRE(&self.generation)][ring.clock & 1]
        batch.tick_ns, batch.anchor_ticks, batch.anchor_ns = anchor.tick_ns, anchor.ticks, anchor.ns
        batch.now_ns = nanoseconds(CLOCK_REALTIME)

    cdef void want(self, Ring *ring, uint64_t status) noexcept nogil:
        """Give a ring to the keeper."""
        cdef uint64_t one = 1
        ring.ending = ring.status == ENDING
        seal(self.core, next_step(self.core), 0)  # what the keeper clears now must not be replayed after a kill
        # SYNC POINT: ring.
        SHMTEL_STORE_RELEASE(&ring.status, status)
        SHMTEL_STORE_RELEASE(&self.wants, self.wants + 1)
        write(self.keeper_fd, &one, 8)

    cdef uint64_t drain(self, Ring *ring, uint64_t now) noexcept nogil:
        """Take what is published now; returns how many records."""
        cdef uint64_t available = shmtel_drain(&ring.in_), left, before, begin = 0
        cdef Batch batch
        cdef Outcome outcome = DONE
        if ring.copies:
            available -= min(available, self.skip(ring, shmtel_lost(&ring.in_)))
        if available > ring.in_.capacity:
            self.want(ring, LIES)
            return 0
        if SHMTEL_UNLIKELY(ring.slot.position != ring.in_.position):  # somebody else has consumed, see add
            move_position(self.core, ring.slot, ring.in_.position, ring.in_.overwritten)
        left = available
        if available:
            ring.active_ns, begin = now, nanoseconds(CLOCK_MONOTONIC)
            self.fullest = max(self.fullest, <double>available / <double>ring.in_.capacity)
        while left and outcome == DONE and nanoseconds(CLOCK_MONOTONIC) - begin < self.share_ns:
            self.batch_of(ring, &batch, min(left, BATCH))
            if ring.copies:
                left -= min(left, self.copy_batch(ring, &batch))
                if batch.count == 0:
                    continue
            before = batch.position
            if ring.mode == SAMPLES:
                self.observe_lag(&batch)
                outcome = apply_samples(self.core, &batch, ring.targets, ring.known)
                if outcome == NEED_SERIES and not self.has_definitions(ring):
                    skip_sample(self.core, &batch)  # a definition is published before its first record
                    outcome = DONE
            elif ring.mode == RECORDS:
                begin_run(self.core, ring.slot, batch.position)
                outcome = self.apply_records(ring, &batch)
                end_run(self.core, ring.slot, batch.position)
                self.count_flow(ring.plan, batch.position - before, 0)
            else:
                batch.position += batch.count
                move_position(self.core, ring.slot, batch.position, ring.in_.overwritten)
            left -= batch.position - before
            shmtel_release(&ring.in_, batch.position - before)
            if batch.now_ns - self.rested_ns > WORK_NS:
                self.rest(batch.now_ns)
        self.note(ring)
        if outcome == DONE and ring.status == LIVE and self.has_definitions(ring):
            outcome = NEED_SERIES  # what was defined is shown before its first record, and may be in cells
        if outcome == NEED_SERIES:
            self.want(ring, WANT_SERIES)
        elif outcome == NEED_SPACE:
            self.want(ring, WANT_SPACE)
        return available - left

    cdef uint64_t copy_batch(self, Ring *ring, Batch *batch) noexcept nogil:
        """Let the batch be copies, of what was not overwritten meanwhile; returns how many records were."""
        cdef uint64_t index = batch.position & (ring.copies - 1), lost
        batch.count = min(batch.count, ring.copies - index)
        batch.records, batch.mask = self.copied, ring.copies - 1
        lost = self.skip(ring, shmtel_copy(&ring.in_, self.copied + index * batch.record_size, batch.count))
        batch.position += lost
        batch.count -= min(batch.count, lost)
        return lost

    cdef uint64_t skip(self, Ring *ring, uint64_t lost) noexcept nogil:
        """Pass over records that were overwritten, in the state and then in the segment; returns how many."""
        if lost:
            move_position(self.core, ring.slot, ring.in_.position + lost, ring.in_.overwritten + lost)
            shmtel_skip(&ring.in_, lost)
        return lost

    cdef void observe_lag(self, Batch *batch) noexcept nogil:
        """The age of the batch's oldest record. Before the batch, so that the log's last step is the batch's own."""
        cdef const shmtel_sample *oldest = <const shmtel_sample *>(
            batch.records + (batch.position & batch.mask) * batch.record_size)
        cdef uint64_t time_ns = epoch_ns(batch, oldest.time)
        cdef double lag = <double>(batch.now_ns - time_ns) * 1e-9 if batch.now_ns > time_ns else 0.0
        observe(self.core, self.lag, self.lag_bounds, lag)

    cdef Outcome apply_records(self, Ring *ring, Batch *batch) noexcept nogil:
        cdef Plan *plan = ring.plan
        cdef const unsigned char *record
        cdef unsigned char key[KEY]
        cdef Fold *folds[MAX_WIDTH]
        cdef uint64_t end = batch.position + batch.count, group, at, time_ns, fold
        cdef uint64_t latest = (batch.now_ns + SECOND) // plan.time_ns  # as in epoch_ns
        while batch.position != end:
            record = batch.records + (batch.position & batch.mask) * batch.record_size
            gather(plan, record, key)
            group = find_group(plan, key)
            if group == plan.groups:
                return NEED_SERIES
            time_ns = batch.now_ns
            if plan.time_offset >= 0:
                memcpy(&time_ns, record + plan.time_offset, 8)
                time_ns = time_ns * plan.time_ns if time_ns < latest else batch.now_ns
            for at in range(plan.width):
                fold = plan.folds[group * plan.width + at]
                folds[at] = NULL
                if fold:
                    folds[at] = folds_of(self.core, ring.slot) + (fold - 1)
            if not apply_record(self.core, batch, record, plan.columns, plan.width, plan.series + group * plan.width,
                                folds, time_ns):
                return NEED_SPACE
        return DONE

    cdef void count_flow(self, const Plan *plan, uint64_t taken, uint64_t lost) noexcept nogil:
        cdef uint64_t at
        for at in range(plan.width):
            SHMTEL_STORE_RELEASE(&self.flows[plan.metrics[at]].taken, self.flows[plan.metrics[at]].taken + taken)
            SHMTEL_STORE_RELEASE(&self.flows[plan.metrics[at]].lost, self.flows[plan.metrics[at]].lost + lost)

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

    cdef bint has_definitions(self, Ring *ring) noexcept nogil:
        """Whether the catalogue has more than is known."""
        return ring.mode == SAMPLES and SHMTEL_LOAD_ACQUIRE(&ring.in_.out.catalogue_length) != ring.learned

    cdef bint note(self, Ring *ring) noexcept nogil:
        """Take over the producer's own figures, and what has gone into cells. Returns whether something has."""
        cdef const shmtel_producer_page *out = ring.in_.out
        cdef Slot *slot = ring.slot
        cdef uint64_t steps, claimed, exemplars = SHMTEL_LOAD_ACQUIRE(&out.exemplars)  # SYNC POINT: exemplars
        begin_figures(slot)
        slot.coalesced = SHMTEL_LOAD_ACQUIRE(&out.coalesced)
        slot.dropped_full = SHMTEL_LOAD_ACQUIRE(&out.dropped_full)
        slot.dropped_timeout = SHMTEL_LOAD_ACQUIRE(&out.dropped_timeout)
        slot.dropped_no_ring = SHMTEL_LOAD_ACQUIRE(&out.dropped_no_ring)
        slot.rejected = SHMTEL_LOAD_ACQUIRE(&out.rejected)
        slot.overwritten = ring.in_.overwritten
        # Loaded before the other, stored after it: at whichever instant a kill comes, no more is claimed than can be.
        claimed = SHMTEL_LOAD_ACQUIRE(&out.claimed_position)
        SHMTEL_STORE_RELAXED(&slot.write_position, SHMTEL_LOAD_ACQUIRE(&out.write_position))
        COMPILER_BARRIER()
        SHMTEL_STORE_RELAXED(&slot.claimed_position, claimed)
        end_figures(slot)
        if ring.plan != NULL and lost_records(slot) != ring.lost:
            self.count_flow(ring.plan, 0, lost_records(slot) - ring.lost)
            ring.lost = lost_records(slot)
        if (exemplars != ring.places.seen or ring.places.unseen) and self.fold_exemplars(ring):
            ring.places.seen = exemplars if not self.has_definitions(ring) else ring.places.seen
            ring.places.unseen = False
        steps = slot.coalesced + slot.dropped_full
        if steps == ring.seen:
            return False
        if self.fold_cells(ring) and not self.has_definitions(ring):
            ring.seen = steps
        return True

    cdef bint fold_cells(self, Ring *ring) noexcept nogil:
        """Add what cells hold beyond what was folded before. False: some cell kept changing, come again."""
        cdef Fold *folds = folds_of(self.core, ring.slot)
        cdef shmtel_cell *cell
        cdef Series *series
        cdef Batch clock
        cdef uint64_t at, steps = 0, time = 0, dropped
        cdef double value = 0
        cdef bint whole = True
        if ring.mode != SAMPLES:
            return True
        self.batch_of(ring, &clock, 0)
        for at in range(min(ring.known, folds_capacity(ring.slot))):
            series = ring.targets[at].series
            cell = <shmtel_cell *>(ring.catalogue + ring.cells[at])
            if series == NULL:
                continue
            if not shmtel_cell_read(cell, &steps, &time, &value):
                whole = False
            elif steps != folds[at].steps and series.kind == COUNTER:
                fold_counter(self.core, ring.slot, series, &folds[at], steps, value)
            elif steps != folds[at].steps and series.kind == GAUGE:
                fold_gauge(self.core, series, &folds[at], steps, value, epoch_ns(&clock, time), clock.now_ns)
            dropped = SHMTEL_LOAD_ACQUIRE(&cell.dropped)
            if dropped != folds[at].dropped:
                fold_dropped(self.core, series, &folds[at], dropped)
        return whole

    cdef bint fold_exemplars(self, Ring *ring) noexcept nogil:
        """Take over exemplars that are new. False: not all of them, come again."""
        cdef Batch clock
        if ring.mode != SAMPLES:
            return True
        self.batch_of(ring, &clock, 0)
        return fold_places(self.core, &ring.places, ring.catalogue, ring.targets, &clock)

    cdef void finish(self, Ring *ring) noexcept nogil:
        """A dead producer's ring is empty: fold its cells, and its figures into its name's totals."""
        self.note(ring)
        # A kill may have come between these and the counters that tell of them.
        self.fold_cells(ring)
        self.fold_exemplars(ring)
        self.fold_into_name(ring.slot)
        self.want(ring, ENDED)

    cdef void fold_into_name(self, Slot *slot) noexcept nogil:
        cdef uint64_t *chunks = <uint64_t *>(self.core.base + NAMES_TABLE)
        cdef Name *name = <Name *>(self.core.base + chunks[slot.name // NAMES_CHUNK])
        fold_slot(self.core, slot, name + slot.name % NAMES_CHUNK)

    cdef uint64_t serve(self, Ring *ring, uint64_t status, uint64_t now) noexcept nogil:
        """Do what a ring of the loop's needs; returns how many records were drained."""
        cdef uint64_t taken
        if status == FOLDING:
            self.finish(ring)
            return 0
        if status == LIVE and SHMTEL_LOAD_ACQUIRE(&ring.in_.out.closed):
            status = ENDING
            ring.status = ENDING
        taken = self.drain(ring, now)
        if status == ENDING and ring.status == ENDING and shmtel_drain(&ring.in_) == 0:
            self.want(ring, EMPTY)
        return taken

    cdef void rest(self, uint64_t now_ns) noexcept nogil:
        """Change nothing for a moment: without it nobody could copy a series that is in all records of a full ring."""
        cdef uint64_t begin = nanoseconds(CLOCK_MONOTONIC)
        while nanoseconds(CLOCK_MONOTONIC) - begin < REST_NS:
            RELAX()
        self.rested_ns = now_ns

    cdef uint64_t serve_active(self, uint64_t now) noexcept nogil:
        """Serve the rings that had records in the last second."""
        cdef uint64_t at = 0, count = 0, status
        cdef uint32_t number
        cdef Ring *ring
        while at < self.actives:
            number = self.active[at]
            ring = &self.rings[number]
            # SYNC POINT: ring. Pairs with the stores of the keeper.
            status = SHMTEL_LOAD_ACQUIRE(&ring.status)
            if LIVE <= status <= FOLDING:
                count += self.serve(ring, status, now)
            if now - ring.active_ns < SECOND and status != FREE:
                at += 1
                continue
            self.listed[number] = 0
            self.actives -= 1
            self.active[at] = self.active[self.actives]
        return count

    cdef uint64_t serve_others(self, uint64_t now, bint every) noexcept nogil:
        """Look at the next SCAN rings, or at all, for those that have become active or end."""
        cdef uint64_t high = SHMTEL_LOAD_ACQUIRE(&self.high), looks = high if every else min(SCAN, high)
        cdef uint64_t at, number, status, count = 0
        cdef Ring *ring
        for at in range(looks):
            number = self.scanned + at
            number = number if number < high else number - high
            # Entries without a ring give any address, which a prefetch may have; write_position is in its first line.
            PREFETCH(&self.rings[number + 2 * NEAR])
            PREFETCH(self.rings[number + NEAR].in_.out)
            ring = &self.rings[number]
            status = SHMTEL_LOAD_ACQUIRE(&ring.status)
            if self.listed[number] or not LIVE <= status <= FOLDING:
                continue
            if status == LIVE:
                if SHMTEL_LOAD_ACQUIRE(&ring.in_.out.write_position) != ring.in_.position or ring.in_.out.closed:
                    self.listed[number] = 1
                    self.active[self.actives] = number
                    self.actives += 1
                elif not every:
                    continue
            count += self.serve(ring, status, now)
        self.scanned = (self.scanned + looks) % high if high else 0
        return count

    cdef uint64_t turn(self, bint every) noexcept nogil:
        """Serve the rings that were active in the last second, and SCAN or all others; returns how many records."""
        cdef uint64_t now = nanoseconds(CLOCK_MONOTONIC), count
        self.fullest = 0.0
        if SHMTEL_UNLIKELY(self.cuts[0] != self.cuts_seen):
            self.give_up_cut()
        count = self.serve_active(now)
        count += self.serve_others(now, every)
        self.drained += count
        self.core.header.turn_ns = nanoseconds(CLOCK_REALTIME)
        SHMTEL_STORE_RELEASE(&self.turns, self.turns + 1)
        return count

    cdef void give_up_cut(self) noexcept nogil:
        """Whose file was cut short is read no more."""
        cdef uint64_t at, status
        self.cuts_seen = self.cuts[0]
        for at in range(SHMTEL_LOAD_ACQUIRE(&self.high)):
            status = SHMTEL_LOAD_ACQUIRE(&self.rings[at].status)
            if LIVE <= status <= FOLDING and self.rings[at].cut[0]:
                self.want(&self.rings[at], LIES)

    def poll(self) -> int:
        """One turn that looks at every ring; returns how many records were drained."""
        cdef uint64_t count
        SHMTEL_STORE_RELEASE(&self.begun, self.begun + 1)
        self.share_ns = <uint64_t>-1
        with nogil:
            count = self.turn(True)
        return count

    def run(self):
        """Turn until `stop`. Sleeps longer the less there is to do."""
        cdef uint64_t active_ns = 0
        self.share_ns = SHARE_NS
        with nogil:
            while not self.stopping:
                # SYNC POINT: turn. Before the look at the bell: who rings it waits for the turns that begin later.
                SHMTEL_STORE_RELEASE(&self.begun, self.begun + 1)
                FENCE()
                if self.turn(self.is_called()):
                    active_ns = nanoseconds(CLOCK_MONOTONIC)
                self.idle(active_ns)

    cdef bint is_called(self) noexcept nogil:
        """Whether the bell was rung since the last turn began; tells the keeper if another process rang it."""
        cdef uint32_t bell = FUTEX_LOAD(self.bell)
        cdef uint64_t asked = SHMTEL_LOAD_ACQUIRE(self.asked), one = 1
        if bell == self.heard:
            return False
        self.heard = bell
        if asked != self.noticed:
            self.noticed = asked
            write(self.keeper_fd, &one, 8)
        return True

    cdef void idle(self, uint64_t active_ns) noexcept nogil:
        cdef timespec nap
        nap.tv_sec, nap.tv_nsec = 0, self.longest_ns
        if self.fullest > 0.25:
            return
        if self.fullest > 0.05:
            nap.tv_nsec = 100000
        elif nanoseconds(CLOCK_MONOTONIC) - active_ns < SECOND:
            nap.tv_nsec = min(self.longest_ns, 1000000)
        FUTEX_SLEEP(self.bell, self.heard, &nap)
        self.rested_ns = nanoseconds(CLOCK_REALTIME)

    def look(self):
        """Take over the figures of every ring, also of those without records. Not while the loop runs."""
        cdef uint64_t at
        for at in range(self.high):
            if self.rings[at].status == LIVE:
                self.note(&self.rings[at])

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

    def await_turn(self, double timeout):
        """Have the loop serve every ring now, also those that were idle; returns when it has, or the time is over."""
        cdef uint64_t begun, begin = nanoseconds(CLOCK_MONOTONIC)
        cdef timespec nap
        nap.tv_sec, nap.tv_nsec = 0, 20000
        self.control.ring(<char *>self.bell - <char *>self.control.base)
        # SYNC POINT: turn. One that goes on may have looked at some rings already, the one after it has not.
        begun = SHMTEL_LOAD_ACQUIRE(&self.begun)
        with nogil:
            while SHMTEL_LOAD_ACQUIRE(&self.turns) <= begun and not self.stopping:
                if <double>(nanoseconds(CLOCK_MONOTONIC) - begin) * 1e-9 > timeout:
                    break
                nanosleep(&nap, NULL)

    def stop(self):
        self.stopping = 1
        self.control.ring(<char *>self.bell - <char *>self.control.base)

    def resume(self):
        self.stopping = 0

    @property
    def count(self) -> int:
        """Ring numbers in use are below this."""
        return self.high

    @property
    def wanted(self) -> int:
        """How often a ring was given to the keeper so far."""
        return SHMTEL_LOAD_ACQUIRE(&self.wants)

    @property
    def records(self) -> int:
        """Records drained so far."""
        return self.drained
