"""What stands in include/shmtelemetry.h."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "shmtelemetry.h" nogil:
    enum: SHMTEL_DROP_NEWEST, SHMTEL_BLOCK, SHMTEL_OVERWRITE_OLDEST, SHMTEL_EXEMPLAR_LABELS

    ctypedef struct shmtel_producer_page:
        uint64_t claimed_position
        uint64_t write_position
        uint64_t closed
        uint64_t coalesced
        uint64_t dropped_full
        uint64_t dropped_timeout
        uint64_t dropped_no_ring
        uint64_t rejected
        uint64_t catalogue_length
        uint64_t reopened
        uint64_t exemplars

    ctypedef struct shmtel_reader_page:
        uint64_t read_position
        uint64_t overwritten

    ctypedef struct shmtel_cell:
        uint64_t steps
        uint64_t dropped

    ctypedef struct shmtel_exemplar:
        uint64_t steps
        uint32_t series
        uint32_t room

    ctypedef struct shmtel_exemplar_slot:
        uint64_t time
        double value
        uint64_t length

    ctypedef struct shmtel_sample:
        uint64_t time
        uint32_t series
        uint32_t flags
        double value

    ctypedef struct shmtel_producer:
        uint64_t position
        uint64_t limit
        unsigned char *records
        uint64_t mask
        uint64_t record_size
        shmtel_producer_page *out
        const shmtel_reader_page *in_ "in"
        unsigned char *catalogue
        uint64_t capacity
        uint32_t clock
        uint32_t policy
        uint64_t checked

    ctypedef struct shmtel_consumer:
        uint64_t position
        uint64_t overwritten
        uint64_t mask
        uint64_t capacity
        uint64_t record_size
        const unsigned char *records
        const shmtel_producer_page *out
        shmtel_reader_page *in_ "in"

    enum: SHMTEL_CLOCK_TSC
    uint64_t shmtel_ticks(uint32_t clock)
    bint shmtel_refresh(shmtel_producer *producer)
    bint shmtel_push(shmtel_producer *producer, const void *record)
    bint shmtel_push_sample(shmtel_producer *producer, uint32_t series, uint64_t time, double value)
    uint64_t shmtel_push_many(shmtel_producer *producer, const void *records, uint64_t count)
    void shmtel_count(uint64_t *counter, uint64_t amount)
    void shmtel_cell_set(shmtel_cell *cell, uint64_t time, double value)
    void shmtel_cell_add(shmtel_cell *cell, uint64_t time, double amount)
    bint shmtel_cell_read(const shmtel_cell *cell, uint64_t *steps, uint64_t *time, double *value)
    void shmtel_exemplar_set(shmtel_producer *producer, shmtel_exemplar *place, uint64_t room,
                             const shmtel_exemplar_slot *head, const void *labels)
    bint shmtel_exemplar_read(const shmtel_exemplar *place, uint64_t room, uint64_t *steps, shmtel_exemplar_slot *head,
                              void *labels)
    uint64_t shmtel_drain(const shmtel_consumer *consumer)
    const unsigned char *shmtel_record(const shmtel_consumer *consumer, uint64_t position)
    uint64_t shmtel_lost(const shmtel_consumer *consumer)
    uint64_t shmtel_copy(const shmtel_consumer *consumer, void *records, uint64_t count)
    void shmtel_skip(shmtel_consumer *consumer, uint64_t lost)
    void shmtel_release(shmtel_consumer *consumer, uint64_t count)
    uint64_t SHMTEL_LOAD_ACQUIRE(const uint64_t *pointer)
    uint64_t SHMTEL_LOAD_RELAXED(const uint64_t *pointer)
    void SHMTEL_STORE_RELEASE(uint64_t *pointer, uint64_t value)
    void SHMTEL_STORE_RELAXED(uint64_t *pointer, uint64_t value)
