/* _guard.h: what makes reading a file that somebody cuts short no death by SIGBUS.
 *
 * The handler maps zeros over all of a guarded mapping from the page that is missing on, says so in the mapping's entry,
 * and lets the instruction go on. It calls nothing but mmap and getpid, which are system calls and no more here. Faults
 * elsewhere are the former handler's.
 */
#ifndef SHMTEL_GUARD_H
#define SHMTEL_GUARD_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_ENTRIES = 65536 + 1024, GUARD_PAGE = 4096 };

typedef struct guard_entry {
    uintptr_t begin; /* 0: free; 1: being set up */
    uintptr_t end;
    uint32_t cut; /* whether a page was missing */
} guard_entry;

static guard_entry *guard_table;
static unsigned long long guard_cuts; /* how many mappings were found cut so far */
static pid_t guard_pid;     /* whose the entries are: a forked child inherits none of the mappings */
static struct sigaction guard_former;

static int guard_covers(uintptr_t at) {
    if (guard_pid != getpid())
        return 0;
    for (int number = 0; number < GUARD_ENTRIES; number++) {
        guard_entry *entry = &guard_table[number];
        uintptr_t begin = __atomic_load_n(&entry->begin, __ATOMIC_ACQUIRE), page = at & ~(uintptr_t)(GUARD_PAGE - 1);
        if (begin <= 1 || at < begin || at >= entry->end)
            continue;
        if (mmap((void *)page, entry->end - page, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
            return 0;
        __atomic_store_n(&entry->cut, 1, __ATOMIC_RELEASE);
        __atomic_add_fetch(&guard_cuts, 1, __ATOMIC_RELEASE);
        return 1;
    }
    return 0;
}

static void guard_handle(int number, siginfo_t *info, void *context) {
    int before = errno;
    if (info->si_code == BUS_ADRERR && guard_covers((uintptr_t)info->si_addr)) {
        errno = before;
    } else if (guard_former.sa_flags & SA_SIGINFO) {
        guard_former.sa_sigaction(number, info, context);
    } else if (guard_former.sa_handler != SIG_DFL && guard_former.sa_handler != SIG_IGN) {
        guard_former.sa_handler(number);
    } else { /* die of it, when this returns */
        signal(number, SIG_DFL);
        raise(number);
    }
}

/* Once a process; again in a forked child, which keeps the handler and begins without entries. Returns 0, or -1. */
static int guard_install(void) {
    struct sigaction handler = {.sa_sigaction = guard_handle, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    if (guard_pid == getpid())
        return 0;
    int inherited = guard_pid != 0;
    void *table = mmap(NULL, GUARD_ENTRIES * sizeof(guard_entry), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table == MAP_FAILED)
        return -1;
    guard_table = (guard_entry *)table;
    guard_pid = getpid();
    sigemptyset(&handler.sa_mask);
    return inherited ? 0 : sigaction(SIGBUS, &handler, &guard_former);
}

/* NULL where no handler is installed, or all entries are taken. */
static guard_entry *guard_enter(const void *begin, size_t size) {
    if (guard_pid != getpid())
        return NULL;
    for (int number = 0; number < GUARD_ENTRIES; number++) {
        guard_entry *entry = &guard_table[number];
        uintptr_t is_free = 0;
        if (__atomic_load_n(&entry->begin, __ATOMIC_RELAXED) ||
            !__atomic_compare_exchange_n(&entry->begin, &is_free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            continue;
        entry->end = (uintptr_t)begin + size;
        entry->cut = 0;
        __atomic_store_n(&entry->begin, (uintptr_t)begin, __ATOMIC_RELEASE);
        return entry;
    }
    return NULL;
}

static void guard_leave(guard_entry *entry) {
    entry->cut = 0;
    __atomic_store_n(&entry->begin, 0, __ATOMIC_RELEASE);
}

#endif
