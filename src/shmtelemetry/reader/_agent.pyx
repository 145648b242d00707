"""The loop that drains every ring of a namespace and applies its records to the state, without the GIL.

Which rings are the loop's, and how they are handed over, is in _rings.pyx.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, nanosleep, timespec
from posix.unistd cimport write

from .._clock import epoch_anchor, tick_length
from .._clock cimport nanoseconds
from .._mapping cimport Mapping, cut_mappings
from .._header cimport (
    SHMTEL_LOAD_ACQUIRE, SHMTEL_STORE_RELAXED, SHMTEL_STORE_RELEASE, shmtel_cell, shmtel_cell_read, shmtel_copy,
    shmtel_drain, shmtel_lost, shmtel_producer_page, shmtel_sample, shmtel_skip,
)
from ..aggregate._kernels cimport (
    Buckets, apply_record, apply_samples, epoch_ns, fold_counter, fold_dropped, fold_gauge, observe, skip_sample,
)
from ..aggregate._state cimport (
    COMPILER_BARRIER, COUNTER, DONE, GAUGE, NEED_SERIES, NEED_SPACE, SHMTEL_UNLIKELY, Batch, Bounds, Fold, Outcome,
    Series, Slot, begin_run, end_run, folds_capacity, folds_of, move_position, next_step, seal, shmtel_mark_begin,
    shmtel_mark_end,
)
from ..aggregate._store cimport Store
from ._places cimport fold_places
from ._plan cimport KEY, MAX_WIDTH, Plan, find_group, gather
from ._rings cimport (
    BATCH, COPIES, EMPTY, ENDED, ENDING, FIGURES, FOLDING, FREE, LIES, LIVE, MAX_RINGS, NEAR, RECORDS, SAMPLES, SECOND,
    WANT_SERIES, WANT_SPACE, Ring, Rings, lost_records,
)

cdef extern from "shmtelemetry.h" nogil:
    enum: SHMTEL_BATCH

cdef extern from *:
    """
    #if defined(__x86_64__)
    #define RELAX() __builtin_ia32_pause()
    #else
    #define RELAX() __asm__ volatile("yield")
    #endif
    #define PREFETCH(address) __builtin_prefetch(address)
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
    SCAN = 32              # rings among which new activity is looked for in one turn

cdef uint64_t WORK_NS = 1000000    # between two rests
cdef uint64_t REST_NS = 10000      # time to copy some series with all their counts
cdef uint64_t SHARE_NS = 5000000   # of one ring in a turn of the loop: however much is in it, others are served


cdef struct Anchor:        # how a clock's ticks become time
    double tick_ns
    uint64_t ticks
    uint64_t ns


cdef class Agent(Rings):
    """Drains rings into a Store.

    keeper_fd: an eventfd that is written when a ring wants something from Python. longest_ns: sleep at most. bell,
    asked: offsets in the control file, see control.py.
    """

    cdef uint64_t scanned           # where the look at idle rings goes on
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
    cdef const unsigned int *state_cut   # whether the state's own was: then nothing is done any more
    cdef uint64_t begun             # turns
    cdef uint64_t turns             # that have ended
    cdef uint64_t drained           # records, in all
    cdef uint64_t rested_ns         # when no series was changed for a moment
    cdef double fullest             # ring of the last turn, as a fraction of its capacity
    cdef unsigned char *copied      # records of an overwrite_oldest ring, before they are applied
    cdef list bounds                # Buckets objects, kept alive

    def __cinit__(self, Store store, int keeper_fd, uint64_t longest_ns, Mapping control, size_t bell, size_t asked):
        self.active = <uint32_t *>calloc(MAX_RINGS, sizeof(uint32_t))
        self.listed = <unsigned char *>calloc(MAX_RINGS, 1)
        self.copied = <unsigned char *>calloc(COPIES, 1)
        if self.active == NULL or self.listed == NULL or self.copied == NULL:
            raise MemoryError()
        self.keeper_fd, self.longest_ns = keeper_fd, longest_ns
        self.control, self.bell = control, <uint32_t *>(control.base + bell)
        self.asked = <uint64_t *>(control.base + asked)
        self.bounds = []
        self.cuts, self.state_cut = cut_mappings(), (<Mapping>store.mapping).cut_flag()
        self.calibrate()

    def __dealloc__(self):
        free(self.active)
        free(self.listed)
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
            self.release(ring, batch.position - before)
            if batch.now_ns - self.rested_ns > WORK_NS:
                self.rest(batch.now_ns)
        if ring.held:
            self.release(ring, 0)  # the store may have come further
        if not self.note(ring):
            self.want(ring, LIES)
            return available - left
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

    cdef bint has_definitions(self, Ring *ring) noexcept nogil:
        """Whether the catalogue has more than is known."""
        return ring.mode == SAMPLES and SHMTEL_LOAD_ACQUIRE(&ring.in_.out.catalogue_length) != ring.learned

    cdef bint note(self, Ring *ring) noexcept nogil:
        """Take over the producer's own figures, and what has gone into cells. False, and nothing is, for figures that
        fall, or more claimed at once than can be."""
        cdef const shmtel_producer_page *out = ring.in_.out
        cdef Slot *slot = ring.slot
        cdef uint64_t exemplars = SHMTEL_LOAD_ACQUIRE(&out.exemplars)  # SYNC POINT: exemplars
        cdef uint64_t steps, claimed, written, at
        cdef uint64_t figures[FIGURES]
        for at in range(FIGURES):
            figures[at] = SHMTEL_LOAD_ACQUIRE(&out.coalesced + at)
            if figures[at] < ring.figures[at]:
                return False
        # Loaded before the other, stored after it: at whichever instant a kill comes, no more is claimed than can be.
        claimed = SHMTEL_LOAD_ACQUIRE(&out.claimed_position)
        written = SHMTEL_LOAD_ACQUIRE(&out.write_position)
        if <int64_t>(claimed - written) > SHMTEL_BATCH:
            return False
        shmtel_mark_begin(&slot.mark)
        memcpy(ring.figures, figures, sizeof(figures))
        memcpy(&slot.coalesced, figures, sizeof(figures))
        slot.overwritten = ring.in_.overwritten
        SHMTEL_STORE_RELAXED(&slot.write_position, written)
        COMPILER_BARRIER()
        SHMTEL_STORE_RELAXED(&slot.claimed_position, claimed)
        shmtel_mark_end(&slot.mark, slot.mark)
        if ring.plan != NULL and lost_records(slot) != ring.lost:
            self.count_flow(ring.plan, 0, lost_records(slot) - ring.lost)
            ring.lost = lost_records(slot)
        if (exemplars != ring.places.seen or ring.places.unseen) and self.fold_exemplars(ring):
            ring.places.seen = exemplars if not self.has_definitions(ring) else ring.places.seen
            ring.places.unseen = False
        steps = slot.coalesced + slot.dropped_full
        if steps != ring.seen and self.fold_cells(ring) and not self.has_definitions(ring):
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
            if status == LIVE and not ring.more:
                if (SHMTEL_LOAD_ACQUIRE(&ring.in_.out.write_position) != ring.in_.position or ring.in_.out.closed
                        or (ring.held and ring.freed != ring.in_.position)):
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
        if SHMTEL_UNLIKELY(self.state_cut[0]):
            self.stopping = 1
            return 0
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
            if self.rings[at].status == LIVE and not self.note(&self.rings[at]):
                self.want(&self.rings[at], LIES)

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
    def wanted(self) -> int:
        """How often a ring was given to the keeper so far."""
        return SHMTEL_LOAD_ACQUIRE(&self.wants)

    @property
    def records(self) -> int:
        """Records drained so far."""
        return self.drained
