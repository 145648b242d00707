/* A flight recorder: a producer that overwrites what is not read, and a reader; each killed and started again at any step.
 *
 * As ring.pml, but for this: a record has two words, and the producer never looks where the reader is. It claims before it
 * writes. The reader copies, looks at the claim, and passes over what was claimed meanwhile; how many is committed with
 * the position, in one step of the log.
 *
 * Each BROKEN_* takes one rule away; then an assertion has to fail.
 */
#define CAPACITY 2
#define RECORDS 4      /* that an incarnation of the producer emits */
#define INCARNATIONS 2 /* of the producer, so one kill */
#define KILLS 2        /* of the reader */

/* The segment. Record n has the content n + 1 in both words; 0 was never written. */
byte first[CAPACITY], second[CAPACITY];
byte claimed, written, released, overwritten;
byte segment; /* number of the incarnation */
bool producer_lives = true;

/* The producer's store buffer. */
bool claim_waits, first_waits, second_waits, position_waits;
byte claim_content, record_index, record_content, position_content;

/* The state, and its redo log of absolute values in two slots. */
byte total, committed, lost; /* committed: records that were read or lost; lost: of these */
byte log_serial[2], log_total[2], log_position[2], log_lost[2], log_segment[2];

/* What really happened. */
byte attempted;                    /* in this segment */
byte published_before, lost_before; /* in all segments before */
byte reader_kills;

/* What holds a store back that waits: an earlier one of the producer that must be seen first. */
#define CLAIM_WAITS_FOR(content) (claim_waits && claim_content <= (content))
#define WORD_WAITS_FOR(word) ((word) && record_content <= position_content)

active proctype store_buffer() {
end:
    do
#ifdef BROKEN_LAP /* a claim is seen before what was published before it */
    :: d_step { claim_waits -> claimed = claim_content; claim_waits = false }
#else
    :: d_step { claim_waits && !(position_waits && position_content < claim_content) ->
            claimed = claim_content; claim_waits = false }
#endif
#ifdef BROKEN_CLAIM /* no fence: a word is seen before its claim */
    :: d_step { first_waits -> first[record_index] = record_content; first_waits = false }
#else
    :: d_step { first_waits && !CLAIM_WAITS_FOR(record_content) ->
            first[record_index] = record_content; first_waits = false }
#endif
    :: d_step { second_waits && !CLAIM_WAITS_FOR(record_content) ->
            second[record_index] = record_content; second_waits = false }
    :: d_step { position_waits && !WORD_WAITS_FOR(first_waits) && !WORD_WAITS_FOR(second_waits) ->
            written = position_content; position_waits = false }
    od
}

#define KILL_PRODUCER if :: segment < INCARNATIONS - 1 -> goto dead :: skip fi
#define EMPTY (!claim_waits && !first_waits && !second_waits && !position_waits)

active proctype producer() {
    byte position, sent;
    bool last;
begin: skip;
    d_step { position = 0; sent = 0 }
    do
    :: sent == RECORDS -> break
    :: else ->
        sent++;
        KILL_PRODUCER;
        d_step { !claim_waits -> claim_content = position + 1; claim_waits = true; attempted++ }
        KILL_PRODUCER;
        d_step { !first_waits && !second_waits ->
            record_index = position % CAPACITY; record_content = position + 1; first_waits = true }
        KILL_PRODUCER;
        second_waits = true;
        KILL_PRODUCER;
#ifdef BROKEN_LAP /* nor does a claim keep a later position from taking the place of one that still waits */
        d_step { position++; position_content = position; position_waits = true }
#else
        d_step { !position_waits -> position++; position_content = position; position_waits = true }
#endif
        KILL_PRODUCER
    od;
dead: skip;
    d_step {
        EMPTY -> last = segment == INCARNATIONS - 1;
        producer_lives = false; position = 0; sent = 0
    }
    if
    :: !last -> producer_lives; goto begin
    :: else
    fi
}

#define KILL_READER if :: reader_kills < KILLS -> reader_kills++; goto begin :: skip fi

/* attempted = consumed + in_ring + overwritten + aborted, when the producer is dead and nothing is on its way. What was
 * overwritten and not passed yet follows from the claim. */
#define UNREAD (written - committed)
#define AHEAD (claimed - committed > CAPACITY -> claimed - committed - CAPACITY : 0)
#define OVERTAKEN (AHEAD < UNREAD -> AHEAD : UNREAD)
#define IN_RING (UNREAD - OVERTAKEN)
#define ABORTED (claimed - written)
#define ACCOUNTING (attempted == (committed - lost) + IN_RING + lost + OVERTAKEN + ABORTED && ABORTED <= 1)

inline commit(new_total, new_position, new_lost) {
    slot = (serial + 1) % 2;
    log_total[slot] = new_total;
    KILL_READER;
    d_step { log_position[slot] = new_position; log_lost[slot] = new_lost; log_segment[slot] = segment }
    KILL_READER;
    log_serial[slot] = serial + 1;
    serial++;
    KILL_READER;
    total = log_total[slot];
    KILL_READER;
    committed = log_position[slot];
    KILL_READER;
#ifdef BROKEN_COUNT /* what is lost is counted apart from the position, so by nobody after a kill */
    lost = lost + (new_lost - lost)
#else
    lost = log_lost[slot]
#endif
}

active proctype reader() {
    byte slot, serial, one, two, more;
begin: skip;
    d_step {
        one = 0; two = 0; more = 0;
        slot = (log_serial[1] > log_serial[0] -> 1 : 0);
        serial = log_serial[slot]
    }
    if
    :: serial > 0 ->
        total = log_total[slot];
        KILL_READER;
        if
        :: log_segment[slot] == segment ->
            committed = log_position[slot];
            KILL_READER;
#ifndef BROKEN_COUNT
            lost = log_lost[slot]
#endif
        :: else
        fi;
        KILL_READER
    :: else
    fi;
    overwritten = lost;
    KILL_READER;
    released = committed - lost;
    do
    :: written > committed ->
        KILL_READER;
#ifdef BROKEN_LOOK /* at the claim before the copy is made */
        more = AHEAD;
        one = first[committed % CAPACITY];
        two = second[committed % CAPACITY];
#else
        one = first[committed % CAPACITY];
        two = second[committed % CAPACITY];
#ifdef BROKEN_PUBLISHED /* a lap is known by the publish only */
        more = (written - committed > CAPACITY -> written - committed - CAPACITY : 0);
#else
        more = AHEAD;
#endif
#endif
        KILL_READER;
        if
        :: more > 0 ->
            commit(total, committed + more, lost + more);
            KILL_READER;
            overwritten = lost
        :: else ->
            assert(one == committed + 1 && two == committed + 1); /* whole, and the next in order */
            commit(total + 1, committed + 1, lost);
            KILL_READER;
            released = committed - lost
        fi;
        d_step { one = 0; two = 0; more = 0 }
        assert(committed <= written); /* never ahead of what is published */
        assert(total == published_before - lost_before + committed - lost) /* every record once, or lost */
    :: d_step { !producer_lives && written == committed ->
            assert(ACCOUNTING);
            assert(released == committed - lost && overwritten == lost);
            assert(total == published_before - lost_before + written - lost);
            published_before = published_before + written;
            lost_before = lost_before + lost;
            if
            :: segment < INCARNATIONS - 1 ->
                segment++;
                claimed = 0; written = 0; released = 0; overwritten = 0; attempted = 0; committed = 0; lost = 0;
                first[0] = 0; first[1] = 0; second[0] = 0; second[1] = 0;
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
    atomic { !(released + overwritten <= written && (producer_lives || !EMPTY || ACCOUNTING)) -> assert(false) }
}
