/* A disk and a clock with injected faults, for one process and its children: LD_PRELOAD=trouble.so.
 *
 * TROUBLE names a file of the layout below, which the test maps and may change at any time. TROUBLE_UNDER is the folder
 * that stands for the faulty disk: only descriptors and paths below it are affected.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct trouble {
    int32_t write_errno;   /* error of every write, truncation and new name, 0: none */
    int32_t sync_errno;    /* error of a failing sync */
    int32_t syncfs_fails;  /* number of syncs of the whole disk that fail; the kernel reports an error only once */
    int32_t fsync_fails;   /* number of syncs of a file that fail */
    int32_t stalled;       /* while set, writes, syncs and new names do not return */
    int32_t slow_us;       /* duration of every write */
    int64_t ahead;         /* seconds by which the wall clock is ahead */
    int64_t hit;           /* number of system calls that failed or had to wait */
};

static struct trouble *told;
static char under[PATH_MAX];
static size_t under_length;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TROUBLE"), *folder = getenv("TROUBLE_UNDER");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0 || !folder)
        return;
    under_length = (size_t)snprintf(under, sizeof under, "%s", folder);
    void *map = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    told = map == MAP_FAILED ? NULL : map;
}

static int below(const char *path)
{
    return strncmp(path, under, under_length) == 0 && (path[under_length] == '/' || path[under_length] == 0);
}

static int on_disk(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return below(path);
}

static void wait_for_disk(void)
{
    struct timespec pause = {0, 5000000};
    __atomic_add_fetch(&told->hit, 1, __ATOMIC_RELAXED);
    while (told->stalled)
        nanosleep(&pause, NULL);
}

/* Return whether a write to this descriptor fails. */
static int refused(int fd)
{
    if (!told || !(told->write_errno || told->stalled || told->slow_us) || !on_disk(fd))
        return 0;
    if (told->stalled)
        wait_for_disk();
    if (told->slow_us)
        usleep(told->slow_us);
    if (!told->write_errno)
        return 0;
    __atomic_add_fetch(&told->hit, 1, __ATOMIC_RELAXED);
    errno = told->write_errno;
    return 1;
}

/* Return whether a sync fails; `fails` counts down the remaining failures of its kind. */
static int unsynced(int fd, int32_t *fails)
{
    if (!(*fails > 0 || told->stalled) || !on_disk(fd))
        return 0;
    if (told->stalled)
        wait_for_disk();
    if (*fails <= 0 || __atomic_sub_fetch(fails, 1, __ATOMIC_SEQ_CST) < 0)
        return 0;
    __atomic_add_fetch(&told->hit, 1, __ATOMIC_RELAXED);
    errno = told->sync_errno;
    return 1;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) \
        *(void **)&real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(ssize_t, write, int, const void *, size_t);
    return refused(fd) ? -1 : real(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    return refused(fd) ? -1 : real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    return refused(fd) ? -1 : real(fd, data, size, at);
}

int ftruncate64(int fd, off64_t size)
{
    REAL(int, ftruncate64, int, off64_t);
    return refused(fd) ? -1 : real(fd, size);
}

int fsync(int fd)
{
    REAL(int, fsync, int);
    return told && unsynced(fd, &told->fsync_fails) ? -1 : real(fd);
}

int fdatasync(int fd)
{
    REAL(int, fdatasync, int);
    return told && unsynced(fd, &told->fsync_fails) ? -1 : real(fd);
}

int syncfs(int fd)
{
    REAL(int, syncfs, int);
    return told && unsynced(fd, &told->syncfs_fails) ? -1 : real(fd);
}

/* Return whether creating a name at this path fails, as on a file system that cannot write its journal. */
static int unnamed(const char *path, int flags)
{
    if (!told || !(told->write_errno || told->stalled) || !(flags & O_CREAT) || !below(path))
        return 0;
    if (told->stalled)
        wait_for_disk();
    if (!told->write_errno)
        return 0;
    __atomic_add_fetch(&told->hit, 1, __ATOMIC_RELAXED);
    errno = told->write_errno;
    return 1;
}

#define MODE_OF(flags) \
    mode_t mode = 0; \
    if (flags & O_CREAT) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...)
{
    REAL(int, open, const char *, int, ...);
    MODE_OF(flags)
    return unnamed(path, flags) ? -1 : real(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    REAL(int, open64, const char *, int, ...);
    MODE_OF(flags)
    return unnamed(path, flags) ? -1 : real(path, flags, mode);
}

int rename(const char *old, const char *new)
{
    REAL(int, rename, const char *, const char *);
    return unnamed(new, O_CREAT) ? -1 : real(old, new);
}

int unlink(const char *path)
{
    REAL(int, unlink, const char *);
    return unnamed(path, O_CREAT) ? -1 : real(path);
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int done = real(clock, at);
    if (done == 0 && clock == CLOCK_REALTIME && told)
        at->tv_sec += told->ahead;
    return done;
}

time_t time(time_t *into)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (into)
        *into = at.tv_sec;
    return at.tv_sec;
}

int gettimeofday(struct timeval *at, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

/* The timestamps of packets come from the same clock. */
int recvmmsg(int fd, struct mmsghdr *messages, unsigned int room, int flags, struct timespec *timeout)
{
    REAL(int, recvmmsg, int, struct mmsghdr *, unsigned int, int, struct timespec *);
    int count = real(fd, messages, room, flags, timeout);
    for (int i = 0; told && told->ahead && i < count; i++) {
        struct msghdr *message = &messages[i].msg_hdr;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
            if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS)
                ((struct timespec *)CMSG_DATA(c))->tv_sec += told->ahead;
    }
    return count;
}
