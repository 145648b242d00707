/* A producer and a reader, each killed and started again at any step.
 *
 * What a killed process has stored stays stored: memory outlives the sides, their private variables do not. A producer
 * that starts again has a new segment, once the old one is folded. A reader that starts again replays the newest complete
 * step of the redo log (docs/decisions/0004) and goes on behind its position. The producer's stores lie in a store buffer
 * first, and become visible in any order but where a release holds one back.
 *
 * Each BROKEN_* takes one rule away; then an assertion has to fail.
 */
#define CAPACITY 2
#define RECORDS 3      /* that an incarnation of the producer emits */
#define INCARNATIONS 3 /* of the producer, so two kills */
#define KILLS 3        /* of the reader */

/* The segment. Record n has the content n + 1; 0 was never written. */
byte ring[CAPACITY];
byte claimed, written, released, dropped;
byte segment; /* number of the incarnation */
bool producer_lives = true;

/* The producer's store buffer. */
bool record_waits, position_waits;
byte record_index, record_content, position_content;

/* The state, and its redo log of absolute values in two slots. */
byte total, committed;
byte log_serial[2], log_total[2], log_position[2], log_segment[2];

/* What really happened. */
byte attempted;        /* in this segment */
byte published_before; /* in all segments before */
byte reader_kills;

active proctype store_buffer() {
end:
    do
    :: d_step { record_waits -> ring[record_index] = record_content; record_waits = false }
#ifdef BROKEN_PUBLISH /* a relaxed store */
    :: d_step { position_waits -> written = position_content; position_waits = false }
#else
    :: d_step { position_waits && !record_waits -> written = position_content; position_waits = false }
#endif
    od
}

#define KILL_PRODUCER if :: segment < INCARNATIONS - 1 -> goto dead :: skip fi

active proctype producer() {
    byte position, limit, sent;
    bool last;
begin: skip;
    d_step { position = 0; limit = CAPACITY; sent = 0 }
    do
    :: sent == RECORDS -> break
    :: else ->
        sent++;
        KILL_PRODUCER;
#ifdef BROKEN_LIMIT /* the cached limit is believed to move by itself */
        if :: position == limit -> limit = position + 1 :: else fi;
#else
        if :: position == limit -> limit = released + CAPACITY :: else fi;
#endif
        KILL_PRODUCER;
        if
        :: position == limit -> d_step { dropped++; attempted++ }
        :: else ->
            d_step { claimed = position + 1; attempted++ }
            KILL_PRODUCER;
            d_step { !record_waits -> record_index = position % CAPACITY; record_content = position + 1; record_waits = true }
            KILL_PRODUCER;
            d_step { !position_waits -> position++; position_content = position; position_waits = true }
        fi;
        KILL_PRODUCER
    od;
dead: skip;
    d_step {
        !record_waits && !position_waits -> last = segment == INCARNATIONS - 1;
        producer_lives = false; position = 0; limit = 0; sent = 0
    }
    if
    :: !last -> producer_lives; goto begin
    :: else
    fi
}

#define KILL_READER if :: reader_kills < KILLS -> reader_kills++; goto begin :: skip fi

/* attempted = consumed + in_ring + dropped + aborted, when the producer is dead and nothing is on its way. */
#define IN_RING (written - committed)
#define ABORTED (claimed - written)
#define ACCOUNTING (attempted == committed + IN_RING + dropped + ABORTED && ABORTED <= 1)

active proctype reader() {
    byte slot, serial, content;
begin: skip;
    d_step {
        content = 0;
        slot = (log_serial[1] > log_serial[0] -> 1 : 0);
        serial = log_serial[slot]
    }
#ifndef BROKEN_REPLAY /* what was begun before a kill is not finished */
    if
    :: serial > 0 ->
        total = log_total[slot];
        KILL_READER;
        if :: log_segment[slot] == segment -> committed = log_position[slot] :: else fi;
        KILL_READER
    :: else
    fi;
#endif
    released = committed;
    do
    :: written > committed ->
        KILL_READER;
#ifdef BROKEN_RELEASE /* given back before it is read */
        released = committed + 1;
#endif
        content = ring[committed % CAPACITY];
        assert(content == committed + 1); /* whole, and the next in order */
        slot = (serial + 1) % 2;
#ifdef BROKEN_SEAL /* the log's step is complete before its values are there */
        log_serial[slot] = serial + 1;
        KILL_READER;
#endif
        log_total[slot] = total + 1;
        KILL_READER;
        d_step { log_position[slot] = committed + 1; log_segment[slot] = segment }
        KILL_READER;
        log_serial[slot] = serial + 1;
        serial++;
        KILL_READER;
        total = log_total[slot];
        KILL_READER;
        committed = log_position[slot];
        KILL_READER;
        released = committed;
        content = 0;
        assert(total == published_before + committed) /* every record once */
    :: d_step { !producer_lives && written == committed ->
            assert(ACCOUNTING);
            assert(total == published_before + written);
            published_before = published_before + written;
            if
            :: segment < INCARNATIONS - 1 ->
                segment++;
                claimed = 0; written = 0; released = 0; dropped = 0; attempted = 0; committed = 0;
                ring[0] = 0; ring[1] = 0;
                producer_lives = true
            :: else -> segment = INCARNATIONS
            fi
        }
        if :: segment == INCARNATIONS -> break :: else fi
    od
}

/* At every step of every execution. */
active proctype invariant() {
end:
    atomic { !(claimed - written <= 1 + position_waits && released <= written && written - released <= CAPACITY &&
               (producer_lives || record_waits || position_waits || ACCOUNTING)) -> assert(false) }
}
