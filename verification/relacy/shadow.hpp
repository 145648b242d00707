// Shared memory as Relacy sees it. Every word that two sides share is declared, and has a shadow: the header's macros,
// defined here, go to the shadow of the address they are given, and to the memory itself where nobody declared one.
// So shmtelemetry.h is compiled as it is, and its structures keep their layout.
//
// `weakened` is the line of a header whose ordering is taken away in this run: an acquire or a release becomes relaxed, a
// fence nothing.
#pragma once
#include <relacy/relacy.hpp>

#include <cstring>
#include <stdint.h>
#include <type_traits>

#define SHMTEL_CUSTOM_ATOMICS
#define SHMTEL_ATOMIC(type) type
#define SHMTEL_LOAD_RELAXED(pointer) shadow::load((pointer), rl::mo_relaxed)
#define SHMTEL_LOAD_ACQUIRE(pointer) shadow::load((pointer), shadow::unless_weakened(__FILE__, __LINE__, rl::mo_acquire))
#define SHMTEL_STORE_RELAXED(pointer, value) shadow::store((pointer), (value), rl::mo_relaxed)
#define SHMTEL_STORE_RELEASE(pointer, value) \
    shadow::store((pointer), (value), shadow::unless_weakened(__FILE__, __LINE__, rl::mo_release))
#define SHMTEL_FENCE_ACQUIRE() shadow::fence(__FILE__, __LINE__, rl::mo_acquire)
#define SHMTEL_FENCE_RELEASE() shadow::fence(__FILE__, __LINE__, rl::mo_release)
#define SHMTEL_READ(pointer) shadow::read(pointer)
#define SHMTEL_WRITE(pointer, value) shadow::write((pointer), (value))
#define SHMTEL_COPY(to, from, size) shadow::copy((to), (from), (size))

namespace shadow {

struct place {
    const char *header;
    int line;

    bool is(const char *file, int number) const {
        const char *name = std::strrchr(file, '/');
        return line == number && !std::strcmp(name ? name + 1 : file, header);
    }
};

extern place weakened;

struct word {
    rl::atomic<uint64_t> atomic; // what the header's atomic macros touch, and contents that a mark guards
    rl::var<uint64_t> plain;     // contents that positions guard: here Relacy reports any race
};

enum contents { GUARDED_BY_POSITIONS, GUARDED_BY_MARKS };

class memory;
extern memory *shared; // of the test that runs

// The words that the two sides of one test share; a member of the test, so Relacy makes it anew in each execution.
class memory {
    static const int MOST = 40;
    word words[MOST];
    const void *places[MOST];
    int count = 0;
    const unsigned char *begin;
    const unsigned char *end;

public:
    contents kind;

    // All that lies between `place` and its end is shared: what is touched there without having been declared is a
    // write beside the ring.
    template <class T> memory(contents kind, const T &place)
        : begin(reinterpret_cast<const unsigned char *>(&place)), end(begin + sizeof(T)), kind(kind) {}

    template <class T> void declare(const T *place, T value) {
        static_assert(sizeof(T) <= 8, "a word");
        RL_ASSERT(count < MOST);
        places[count] = place;
        uint64_t bits = 0;
        std::memcpy(&bits, &value, sizeof(T));
        words[count].atomic.store(bits, rl::mo_relaxed, $);
        words[count].plain($).store(bits);
        count++;
    }

    void declare_bytes(const void *begin, size_t size) {
        for (size_t at = 0; at < size; at += 8)
            declare(reinterpret_cast<const uint64_t *>(static_cast<const unsigned char *>(begin) + at), uint64_t(0));
    }

    word *find(const void *place) {
        for (int at = 0; at < count; at++)
            if (places[at] == place)
                return &words[at];
        RL_ASSERT(place < begin || place >= end);
        return nullptr;
    }
};

inline rl::memory_order unless_weakened(const char *file, int line, rl::memory_order order) {
    return weakened.is(file, line) ? rl::mo_relaxed : order;
}

inline void fence(const char *file, int line, rl::memory_order order) {
    if (!weakened.is(file, line))
        rl::atomic_thread_fence(order, $);
}

template <class T> T from_bits(uint64_t bits) {
    typename std::remove_const<T>::type value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

template <class T> T load(const T *place, rl::memory_order order) {
    word *found = shared->find(place);
    return found ? from_bits<T>(found->atomic.load(order, $)) : *place;
}

template <class T> void store(T *place, T value, rl::memory_order order) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    if (word *found = shared->find(place))
        found->atomic.store(bits, order, $);
    else
        *place = value;
}

template <class T> T read(const T *place) {
    word *found = shared->find(place);
    if (found && shared->kind == GUARDED_BY_POSITIONS)
        return from_bits<T>(found->plain($).load());
    return load(place, rl::mo_relaxed);
}

template <class T> void write(T *place, T value) {
    word *found = shared->find(place);
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    if (found && shared->kind == GUARDED_BY_POSITIONS)
        found->plain($).store(bits);
    else
        store(place, value, rl::mo_relaxed);
}

inline void copy(void *to, const void *from, size_t size) {
    for (size_t at = 0; at < size; at += 8)
        write(reinterpret_cast<uint64_t *>(static_cast<unsigned char *>(to) + at),
              read(reinterpret_cast<const uint64_t *>(static_cast<const unsigned char *>(from) + at)));
}

} // namespace shadow
