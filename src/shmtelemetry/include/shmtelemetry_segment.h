/* shmtelemetry_segment.h: segments of C and C++ producers, as docs/format.md describes them and segment.py makes them.
 *
 * A segment appears under its name complete and locked: it is made as an unnamed file, and linked when its header is
 * published. Its lock hangs on the mapping, which no forked child inherits, so it goes with the process, however that
 * ends. No descriptor stays open. Linux, 64 bits; C11 or C++17; libc alone.
 */
#ifndef SHMTELEMETRY_SEGMENT_H
#define SHMTELEMETRY_SEGMENT_H

#include "shmtelemetry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if !defined(__linux__) || UINTPTR_MAX < UINT64_MAX
#error "shmtelemetry_segment.h: producers need Linux on a machine of 64 bits"
#endif
#if !defined(O_TMPFILE) || !defined(F_OFD_SETLK)
#error "shmtelemetry_segment.h: include it before any system header, or compile with -D_GNU_SOURCE"
#endif

/* Set-up and the full-ring path: out of the way of the code that emits. */
#define SHMTEL_COLD __attribute__((cold, noinline, unused)) static

#define SHMTEL_DIRECTORY "/dev/shm/"
#define SHMTEL_PAGE 4096
#define SHMTEL_NAME_LENGTH 64 /* characters of a namespace or of a producer */
#define SHMTEL_MAX_CAPACITY (UINT64_C(1) << 32)
#define SHMTEL_MAX_RECORD_SIZE 65536
#define SHMTEL_MAX_CATALOGUE (16 * 1024 * 1024)
#define SHMTEL_CATALOGUE_STEP (16 * 1024)
#define SHMTEL_FLAG_INSTRUMENTS 1 /* the records are samples, and the catalogue names their series */
#define SHMTEL_RECORDINGS 4       /* ended segments of overwrite_oldest that stay, of each producer */

enum shmtel_role { SHMTEL_ROLE_NOBODY = 0, SHMTEL_ROLE_CONSUMER = 1, SHMTEL_ROLE_READER = 2, SHMTEL_ROLE_RETIRED = 3 };
enum shmtel_lock { SHMTEL_LOCK_PRODUCER = 0, SHMTEL_LOCK_CONSUMER = 1 }; /* bytes of a segment that stand for locks */
#define SHMTEL_LOCK_READER 0 /* of the file shmtel.<namespace>.@reader.<uid> */

/* What setting up answers. What emits answers 1 or 0: whether it was taken. */
enum shmtel_error {
    SHMTEL_OK = 0,
    SHMTEL_BAD_NAME = -1,     /* namespace or producer: expected 1 to 64 of A-Z a-z 0-9 _ - */
    SHMTEL_BAD_OPTION = -2,   /* capacity: a power of two from 2 to 2^32; policy: drop_newest or overwrite_oldest */
    SHMTEL_BAD_METRIC = -3,   /* a name, label, bucket, unit or merge that cannot be, or text that is not UTF-8 */
    SHMTEL_BAD_FIELD = -4,    /* a field of a schema that cannot be, or too many */
    SHMTEL_CONFLICT = -5,     /* the metric is defined already, and otherwise */
    SHMTEL_NO_SPACE = -6,     /* no room in /dev/shm, in the cgroup's memory.max or in the catalogue (16 MiB) */
    SHMTEL_NO_MEMORY = -7,    /* malloc */
    SHMTEL_NO_TMPFS = -8,     /* /dev/shm is not a tmpfs */
    SHMTEL_SYSTEM_ERROR = -9, /* errno says which */
    SHMTEL_NOT_OPEN = -10     /* the telemetry is NULL, or has records of its own */
};

/* How the segments of a producer are made; the same for the first and for every one opened anew. */
typedef struct shmtel_setup {
    char space[SHMTEL_NAME_LENGTH + 1];
    char name[SHMTEL_NAME_LENGTH + 1];
    char *schema; /* JSON */
    uint32_t schema_length;
    uint32_t record_size;
    uint64_t capacity;
    uint32_t policy;
    uint32_t clock;
    uint32_t flags;
    mode_t mode;
    unsigned char *catalogue; /* all definitions so far, with empty cells */
    size_t catalogue_length;
    size_t catalogue_room;
} shmtel_setup;

typedef struct shmtel_segment {
    unsigned char *base; /* NULL: none */
    size_t size;         /* of the file */
    size_t reserved;     /* bytes of address space, into which the catalogue grows */
    ino_t inode;
    char name[256];
} shmtel_segment;

typedef struct shmtel_process { /* what tells a process from every other one, also from a later one with its pid */
    unsigned char boot_id[16];
    uint64_t pid_namespace;
    uint64_t pid;
    uint64_t start;
} shmtel_process;

/* ---- A fork waits ------------------------------------------------------------------------------------------- */

/* While a descriptor is open whose lock counts: a child that inherited it would keep the lock when we have ended. */
static pthread_mutex_t shmtel_fork_mutex __attribute__((unused)) = PTHREAD_MUTEX_INITIALIZER;

SHMTEL_COLD void shmtel_fork_begin(void) {
    pthread_mutex_lock(&shmtel_fork_mutex);
}

SHMTEL_COLD void shmtel_fork_end(void) {
    pthread_mutex_unlock(&shmtel_fork_mutex);
}

SHMTEL_COLD void shmtel_fork_register(void) {
    pthread_atfork(shmtel_fork_begin, shmtel_fork_end, shmtel_fork_end);
}

SHMTEL_COLD void shmtel_fork_lock(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, shmtel_fork_register);
    pthread_mutex_lock(&shmtel_fork_mutex);
}

/* ---- What the system says ----------------------------------------------------------------------------------- */

/* The beginning of a small file, NUL-terminated; empty where there is none. Returns its length. */
SHMTEL_COLD size_t shmtel_read_file(const char *path, char *text, size_t room) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, text, room - 1);
    if (fd >= 0)
        close(fd);
    text[length > 0 ? length : 0] = '\0';
    return length > 0 ? (size_t)length : 0;
}

/* Field 22 of /proc/PID/stat, in clock ticks since boot (proc(5)); 0 where there is no such process, or a zombie. */
SHMTEL_COLD uint64_t shmtel_start_time(uint64_t pid) {
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%llu/stat", (unsigned long long)pid);
    shmtel_read_file(path, text, sizeof(text));
    const char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X')
        return 0;
    for (int field = 3; at && field <= 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

SHMTEL_COLD void shmtel_this_process(shmtel_process *process) {
    char text[64];
    struct stat status;
    memset(process, 0, sizeof(*process));
    shmtel_read_file("/proc/sys/kernel/random/boot_id", text, sizeof(text));
    for (int at = 0, digits = 0; text[at] && digits < 32; at++) {
        char pair[2] = {text[at], '\0'};
        if (text[at] == '-')
            continue;
        process->boot_id[digits / 2] |= (unsigned char)(strtoul(pair, NULL, 16) << (digits % 2 ? 0 : 4));
        digits++;
    }
    process->pid_namespace = stat("/proc/self/ns/pid", &status) ? 0 : (uint64_t)status.st_ino;
    process->pid = (uint64_t)getpid();
    process->start = shmtel_start_time(process->pid);
}

/* The TSC where it is invariant and the kernel keeps time by it; see _clock.pyx. */
SHMTEL_COLD uint32_t shmtel_clock_kind(void) {
#if defined(__aarch64__)
    return SHMTEL_CLOCK_TSC;
#elif defined(__x86_64__)
    unsigned a, b, c, d;
    char source[32];
    shmtel_read_file("/sys/devices/system/clocksource/clocksource0/current_clocksource", source, sizeof(source));
    int kept_by = !strcmp(source, "tsc\n") || !strcmp(source, "kvm-clock\n");
    int invariant = __get_cpuid(0x80000007u, &a, &b, &c, &d) && (d & (1u << 8));
    return kept_by && invariant ? SHMTEL_CLOCK_TSC : SHMTEL_CLOCK_MONOTONIC;
#else
    return SHMTEL_CLOCK_MONOTONIC;
#endif
}

SHMTEL_COLD uint64_t shmtel_figure(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (!strncmp(line, name, length) && line[length] == ' ')
            return strtoull(line + length, NULL, 10);
    return 0;
}

/* Bytes below this process's memory.max (cgroup v2), page cache counted as free; UINT64_MAX where nothing limits it. */
SHMTEL_COLD uint64_t shmtel_cgroup_room(void) {
    char path[1024], text[8192], group[512];
    shmtel_read_file("/proc/self/cgroup", text, sizeof(text));
    const char *line = !strncmp(text, "0::", 3) ? text : strstr(text, "\n0::");
    if (!line)
        return UINT64_MAX;
    line = strchr(line, '/');
    snprintf(group, sizeof(group), "%.*s", line ? (int)strcspn(line, "\n") : 0, line ? line : "");
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group);
    if (!shmtel_read_file(path, text, sizeof(text)) || !strcmp(text, "max\n"))
        return UINT64_MAX;
    uint64_t limit = strtoull(text, NULL, 10);
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.current", group);
    if (!shmtel_read_file(path, text, sizeof(text)))
        return UINT64_MAX;
    uint64_t used = strtoull(text, NULL, 10);
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.stat", group);
    shmtel_read_file(path, text, sizeof(text));
    uint64_t cache = shmtel_figure(text, "active_file") + shmtel_figure(text, "inactive_file");
    used -= cache < used ? cache : used;
    return limit > used ? limit - used : 0;
}

/* Give the file its `size` bytes for certain: writing to them can no longer fail. */
SHMTEL_COLD int shmtel_reserve(int fd, size_t size, size_t have) {
    struct statvfs space;
    uint64_t wanted = size - have;
    if (wanted > shmtel_cgroup_room())
        return SHMTEL_NO_SPACE;
    if (!fstatvfs(fd, &space) && space.f_blocks && wanted > (uint64_t)space.f_bavail * space.f_frsize)
        return SHMTEL_NO_SPACE;
    do
        errno = posix_fallocate(fd, (off_t)have, (off_t)wanted);
    while (errno == EINTR);
    return errno == 0 ? SHMTEL_OK : errno == ENOSPC ? SHMTEL_NO_SPACE : SHMTEL_SYSTEM_ERROR;
}

/* ---- Locks -------------------------------------------------------------------------------------------------- */

SHMTEL_COLD struct flock shmtel_lock_of(int byte) {
    struct flock lock;
    memset(&lock, 0, sizeof(lock));
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = byte;
    lock.l_len = 1;
    return lock;
}

/* Lock one byte of an open file description, for as long as that is open or mapped. Returns whether we have it. */
SHMTEL_COLD int shmtel_lock(int fd, int byte) {
    struct flock lock = shmtel_lock_of(byte);
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

SHMTEL_COLD int shmtel_is_locked(int fd, int byte) {
    struct flock lock = shmtel_lock_of(byte);
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* A file of /dev/shm, where everybody can put anything: no link is followed and no pipe waited for. */
SHMTEL_COLD int shmtel_open_file(const char *name, int flags) {
    char path[sizeof(SHMTEL_DIRECTORY) + 256];
    snprintf(path, sizeof(path), SHMTEL_DIRECTORY "%s", name);
    return open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/* Whether a living process of this user reads the namespace. */
SHMTEL_COLD int shmtel_has_reader(const char *space) {
    char name[256];
    snprintf(name, sizeof(name), "shmtel.%s.@reader.%u", space, (unsigned)geteuid());
    int fd = shmtel_open_file(name, O_RDONLY);
    int locked = fd >= 0 && shmtel_is_locked(fd, SHMTEL_LOCK_READER);
    if (fd >= 0)
        close(fd);
    return locked;
}

/* ---- Segments that have ended ------------------------------------------------------------------------------- */

typedef struct shmtel_ended {
    int recording; /* of overwrite_oldest, with records to look at */
    int retired;   /* drained by another user's reader, who was not permitted to remove it */
    uint64_t created_ns;
} shmtel_ended;

/* What there is to know of a segment whose producer has ended. Returns 0 for any other file. */
SHMTEL_COLD int shmtel_look_at_ended(const char *name, const shmtel_process *me, shmtel_ended *ended) {
    shmtel_header header;
    uint64_t closed = 0, written = 0, role = 0;
    int known = 0, fd = shmtel_open_file(name, O_RDONLY);
    if (fd < 0)
        return 0;
    if (pread(fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header) && header.magic == SHMTEL_MAGIC &&
        header.layout_version == SHMTEL_LAYOUT_VERSION) {
        off_t out = (off_t)header.producer_offset, in = (off_t)header.reader_offset;
        known = pread(fd, &closed, 8, out + (off_t)offsetof(shmtel_producer_page, closed)) == 8 &&
                pread(fd, &written, 8, out + (off_t)offsetof(shmtel_producer_page, write_position)) == 8 &&
                pread(fd, &role, 8, in + (off_t)offsetof(shmtel_reader_page, reader_role)) == 8;
        int here = !memcmp(header.boot_id, me->boot_id, 16) && header.pid_namespace == me->pid_namespace;
        int lives = here && header.pid_start && shmtel_start_time(header.pid) == header.pid_start;
        known = known && (closed || (!lives && !shmtel_is_locked(fd, SHMTEL_LOCK_PRODUCER)));
        ended->recording = header.policy == SHMTEL_OVERWRITE_OLDEST && written != header.start_position;
        ended->retired = role == SHMTEL_ROLE_RETIRED;
        ended->created_ns = header.created_ns;
    }
    close(fd);
    return known;
}

/* Remove what this producer has left: segments that are retired, and recordings beyond its newest four, unless there
 * is a reader, who does that. One at a time, the oldest first, so that no memory is needed. */
SHMTEL_COLD void shmtel_tidy(const shmtel_setup *setup) {
    char prefix[192], oldest[256], path[sizeof(SHMTEL_DIRECTORY) + 256];
    shmtel_process me;
    int count, has_reader = shmtel_has_reader(setup->space);
    shmtel_this_process(&me);
    snprintf(prefix, sizeof(prefix), "shmtel.%s.%s.", setup->space, setup->name);
    do {
        DIR *directory = opendir(SHMTEL_DIRECTORY);
        uint64_t oldest_ns = UINT64_MAX;
        count = 0;
        for (struct dirent *entry; directory && (entry = readdir(directory));) {
            shmtel_ended ended;
            if (strncmp(entry->d_name, prefix, strlen(prefix)) || !shmtel_look_at_ended(entry->d_name, &me, &ended))
                continue;
            if (ended.retired) {
                snprintf(path, sizeof(path), SHMTEL_DIRECTORY "%s", entry->d_name);
                unlink(path);
            } else if (ended.recording && !has_reader && ++count && ended.created_ns < oldest_ns) {
                oldest_ns = ended.created_ns;
                snprintf(oldest, sizeof(oldest), "%s", entry->d_name);
            }
        }
        if (directory)
            closedir(directory);
        if (count <= SHMTEL_RECORDINGS)
            return;
        snprintf(path, sizeof(path), SHMTEL_DIRECTORY "%s", oldest);
    } while (!unlink(path)); /* of another user's there may be more than we can remove */
}

/* ---- The life of a segment ---------------------------------------------------------------------------------- */

static inline size_t shmtel_page_up(size_t size) {
    return (size + SHMTEL_PAGE - 1) / SHMTEL_PAGE * SHMTEL_PAGE;
}

static inline shmtel_header *shmtel_header_of(const shmtel_segment *segment) {
    return (shmtel_header *)segment->base;
}

static inline shmtel_producer_page *shmtel_out_of(const shmtel_segment *segment) {
    return (shmtel_producer_page *)(segment->base + shmtel_header_of(segment)->producer_offset);
}

static inline shmtel_reader_page *shmtel_in_of(const shmtel_segment *segment) {
    return (shmtel_reader_page *)(segment->base + shmtel_header_of(segment)->reader_offset);
}

/* Whether the name in /dev/shm still stands for this segment. */
SHMTEL_COLD int shmtel_is_linked(const shmtel_segment *segment) {
    struct stat status;
    char path[sizeof(SHMTEL_DIRECTORY) + 256];
    snprintf(path, sizeof(path), SHMTEL_DIRECTORY "%s", segment->name);
    return lstat(path, &status) == 0 && status.st_ino == segment->inode;
}

SHMTEL_COLD void shmtel_unlink(const shmtel_segment *segment) {
    char path[sizeof(SHMTEL_DIRECTORY) + 256];
    snprintf(path, sizeof(path), SHMTEL_DIRECTORY "%s", segment->name);
    if (shmtel_is_linked(segment))
        unlink(path);
}

/* Unmapping releases the lock. */
SHMTEL_COLD void shmtel_unmap(shmtel_segment *segment) {
    if (segment->base)
        munmap(segment->base, segment->reserved);
    segment->base = NULL;
}

SHMTEL_COLD int shmtel_fill_header(shmtel_header *header, const shmtel_setup *setup, uint64_t capacity) {
    shmtel_process me;
    struct timespec now;
    shmtel_this_process(&me);
    clock_gettime(CLOCK_REALTIME, &now);
    memset(header, 0, sizeof(*header));
    header->layout_version = SHMTEL_LAYOUT_VERSION;
    header->byte_order = SHMTEL_BYTE_ORDER;
    header->word_size = 8;
    header->record_size = setup->record_size;
    header->capacity = capacity;
    header->producer_offset = shmtel_page_up(sizeof(*header) + setup->schema_length);
    header->reader_offset = header->producer_offset + SHMTEL_PAGE;
    header->ring_offset = header->reader_offset + SHMTEL_PAGE;
    header->catalogue_offset = header->ring_offset + shmtel_page_up((size_t)(setup->record_size * capacity));
    header->policy = setup->policy;
    header->clock = setup->clock;
    if (getrandom(header->uuid, sizeof(header->uuid), 0) != (ssize_t)sizeof(header->uuid))
        return SHMTEL_SYSTEM_ERROR;
    memcpy(header->catalogue_of, header->uuid, sizeof(header->uuid));
    memcpy(header->boot_id, me.boot_id, sizeof(me.boot_id));
    header->pid_namespace = me.pid_namespace;
    header->pid = me.pid;
    header->pid_start = me.start;
    header->uid = geteuid();
    header->flags = setup->flags;
    header->created_ns = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
    header->schema_length = setup->schema_length;
    return SHMTEL_OK;
}

SHMTEL_COLD int shmtel_map(shmtel_segment *segment, int fd, size_t size) {
    segment->size = size;
    segment->reserved = shmtel_page_up(size + SHMTEL_MAX_CATALOGUE);
    void *base = mmap(NULL, segment->reserved, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return errno == ENOMEM ? SHMTEL_NO_MEMORY : SHMTEL_SYSTEM_ERROR;
    madvise(base, segment->reserved, MADV_DONTFORK); /* a child would keep the lock of a dead parent alive */
    segment->base = (unsigned char *)base;
    for (size_t page = 0; page < size; page += SHMTEL_PAGE) /* so that no emit pays for a page fault */
        *(volatile unsigned char *)(segment->base + page) = 0;
    return SHMTEL_OK;
}

/* The unnamed file becomes a segment, whole and locked, and then gets its name. */
SHMTEL_COLD int shmtel_build(shmtel_segment *segment, int fd, const shmtel_setup *setup, uint64_t capacity) {
    shmtel_header header;
    struct stat status;
    char path[64];
    unsigned char token[8];
    int error = shmtel_fill_header(&header, setup, capacity);
    size_t room = setup->catalogue_length;
    if (setup->flags & SHMTEL_FLAG_INSTRUMENTS && room < SHMTEL_CATALOGUE_STEP)
        room = SHMTEL_CATALOGUE_STEP;
    size_t size = (size_t)header.catalogue_offset + shmtel_page_up(room);
    if (!error && !shmtel_lock(fd, SHMTEL_LOCK_PRODUCER))
        error = SHMTEL_SYSTEM_ERROR;
    if (!error)
        error = shmtel_reserve(fd, size, 0);
    if (!error)
        error = shmtel_map(segment, fd, size);
    if (error)
        return error;
    memcpy(segment->base, &header, sizeof(header));
    memcpy(segment->base + sizeof(header), setup->schema, setup->schema_length);
    if (setup->catalogue_length)
        memcpy(segment->base + header.catalogue_offset, setup->catalogue, setup->catalogue_length);
    SHMTEL_STORE_RELEASE(&shmtel_out_of(segment)->catalogue_length, setup->catalogue_length);
    SHMTEL_STORE_RELEASE(&shmtel_header_of(segment)->magic, SHMTEL_MAGIC);
    if (fstat(fd, &status) || (setup->mode != 0600 && fchmod(fd, setup->mode)) ||
        getrandom(token, sizeof(token), 0) != (ssize_t)sizeof(token))
        return SHMTEL_SYSTEM_ERROR;
    segment->inode = status.st_ino;
    int at = snprintf(segment->name, sizeof(segment->name), "shmtel.%s.%s.", setup->space, setup->name);
    for (size_t byte = 0; byte < sizeof(token); byte++, at += 2)
        snprintf(segment->name + at, 3, "%02x", token[byte]);
    char target[sizeof(SHMTEL_DIRECTORY) + 256];
    snprintf(target, sizeof(target), SHMTEL_DIRECTORY "%s", segment->name);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, path, AT_FDCWD, target, AT_SYMLINK_FOLLOW) ? SHMTEL_SYSTEM_ERROR : SHMTEL_OK;
}

/* A new segment with every definition so far. */
SHMTEL_COLD int shmtel_create(shmtel_segment *segment, const shmtel_setup *setup, uint64_t capacity) {
    struct statfs system;
    memset(segment, 0, sizeof(*segment));
    if (statfs(SHMTEL_DIRECTORY, &system) || system.f_type != 0x01021994) /* TMPFS_MAGIC: statfs(2) */
        return SHMTEL_NO_TMPFS;
    if (setup->policy == SHMTEL_OVERWRITE_OLDEST || setup->mode != 0600)
        shmtel_tidy(setup);
    shmtel_fork_lock();
    int fd = open(SHMTEL_DIRECTORY, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    int error = fd < 0 ? (int)SHMTEL_SYSTEM_ERROR : shmtel_build(segment, fd, setup, capacity);
    if (error)
        shmtel_unmap(segment);
    if (fd >= 0)
        close(fd);
    shmtel_fork_end();
    return error;
}

/* Let the file grow to so many bytes, into address space that is reserved. */
SHMTEL_COLD int shmtel_grow(shmtel_segment *segment, size_t wanted) {
    struct stat status;
    size_t size = (wanted + SHMTEL_CATALOGUE_STEP - 1) / SHMTEL_CATALOGUE_STEP * SHMTEL_CATALOGUE_STEP;
    if (size > shmtel_header_of(segment)->catalogue_offset + SHMTEL_MAX_CATALOGUE)
        return SHMTEL_NO_SPACE;
    int fd = shmtel_open_file(segment->name, O_RDWR);
    if (fd < 0)
        return SHMTEL_SYSTEM_ERROR;
    int ours = !fstat(fd, &status) && status.st_ino == segment->inode;
    int error = ours ? shmtel_reserve(fd, size, segment->size) : (int)SHMTEL_SYSTEM_ERROR;
    if (!error)
        segment->size = size;
    close(fd);
    return error;
}

/* Whether an ended segment holds nothing that a reader would want. */
SHMTEL_COLD int shmtel_nobody_needs(const shmtel_segment *segment) {
    const shmtel_producer_page *out = shmtel_out_of(segment);
    const shmtel_reader_page *in = shmtel_in_of(segment);
    uint64_t written = SHMTEL_LOAD_ACQUIRE(&out->write_position);
    uint64_t read = SHMTEL_LOAD_ACQUIRE(&in->read_position) + SHMTEL_LOAD_ACQUIRE(&in->overwritten);
    uint64_t beside = out->coalesced + out->dropped_full + out->dropped_no_ring + out->rejected;
    int owed = SHMTEL_LOAD_ACQUIRE(&in->reader_role) == SHMTEL_ROLE_READER && (beside || written != in->read_position);
    return written == read && !owed;
}

#endif
