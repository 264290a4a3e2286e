/* Record what a process does to the files of one folder: preload it (LD_PRELOAD) with RECORD_FOLDER and RECORD_LOG.

   Each call that succeeds and changes something, or makes it lasting, is appended to the log in the order in which
   the calls were made: see `struct head`, and `tests.faults.replay`, which reads it. Only this process is
   recorded, not those that it starts. SQLite's -shm file is left out: it is shared memory, and made again.

   Any of these calls, and those that only look (`fail.c`), may be made to fail instead: see `fail_arm`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "record.h"

#define FILES 4096

struct head {
    char kind;         /* o open, w write, t truncate, s sync, c close, d dup, r rename, u unlink, m mkdir, k rmdir,
                          l link, ! a mark of the program's own, f a call that may fail, ? what can't be replayed */
    char pad[3];
    int32_t file;      /* descriptor */
    int64_t offset;    /* of a write; flags of an open; the new descriptor of a dup; the new size of a truncate */
    uint32_t length;   /* of the data that follow: what was written, or paths that end in 0 */
    uint32_t zero;
};

static char folder[PATH_MAX];
static size_t folder_length;
static int log_file = -1;
static pid_t owner;
static char tracked[FILES]; /* what an open file is: RECORDED, OTHER (of the folder), or none of these */
enum { RECORDED = 1, OTHER = 2 };
static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("RECORD_FOLDER"), *log = getenv("RECORD_LOG");
    if (!path || !log || !realpath(path, folder)) return;
    folder_length = strlen(folder);
    log_file = REAL(open)(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    owner = getpid();
    unsetenv("LD_PRELOAD"); /* of the processes that this one starts */
}

void record_here(void) { owner = getpid(); }

/* a child between fork and exec may share our memory: it is none of ours */
int is_recorded(void) { return log_file >= 0 && getpid() == owner; }

static int follows(int file) { return is_recorded() && file >= 0 && file < FILES && tracked[file] == RECORDED; }

int touches(int file) { return is_recorded() && file >= 0 && file < FILES && tracked[file]; }

void enter(void) { pthread_mutex_lock(&mutex); }

void leave(void) {
    int before = errno;
    pthread_mutex_unlock(&mutex);
    errno = before;
}

static void note(char kind, int file, int64_t offset, const void *data, size_t length, const void *more, size_t rest) {
    int before = errno;
    struct head head = {kind, {0}, file, offset, (uint32_t)(length + rest), 0};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)data, length}, {(void *)more, rest}};
    if (REAL(writev)(log_file, parts, 3) != (ssize_t)(sizeof head + length + rest)) abort();
    errno = before;
}

void note_path(char kind, int file, int64_t offset, const char *path) {
    note(kind, file, offset, path, strlen(path) + 1, NULL, 0);
}

/* Put the absolute path into `full`, its folder's links resolved; tell whether it lies in the folder. */
int is_in_folder(int at, const char *path, char *full) {
    char whole[PATH_MAX], parent[PATH_MAX];
    if (!is_recorded()) return 0;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        char link[64], base[PATH_MAX];
        ssize_t length = 0;
        if (at == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            length = readlink(link, base, sizeof base - 1);
            if (length < 0) return 0;
            base[length] = 0;
        }
        if (snprintf(whole, sizeof whole, "%s/%s", base, path) >= (int)sizeof whole) return 0;
    }
    size_t end = strlen(whole);
    while (end > 1 && whole[end - 1] == '/') whole[--end] = 0;
    char *slash = strrchr(whole, '/');
    if (!slash) return 0;
    if (strncmp(whole, folder, folder_length) == 0 && (whole[folder_length] == '/' || !whole[folder_length])) {
        strcpy(full, whole);
    } else {
        *slash = 0;
        if (!realpath(*whole ? whole : "/", parent)) return 0;
        if (snprintf(full, PATH_MAX, "%s/%s", parent, slash + 1) >= PATH_MAX) return 0;
        if (strncmp(full, folder, folder_length) || (full[folder_length] != '/' && full[folder_length])) return 0;
    }
    return 1;
}

/* The same; tell whether it is one that is recorded. */
static int is_inside(int at, const char *path, char *full) {
    if (!is_in_folder(at, path, full)) return 0;
    size_t end = strlen(full);
    return end < 4 || strcmp(full + end - 4, "-shm");
}

static int opened(int file, int at, const char *path, int flags) {
    char full[PATH_MAX];
    if (file < 0 || file >= FILES) return file;
    if (is_inside(at, path, full)) {
        tracked[file] = RECORDED;
        note_path('o', file, flags, full);
    } else if (is_in_folder(at, path, full)) {
        tracked[file] = OTHER;
    }
    return file;
}

#define GROWS(flags) ((flags) & O_CREAT ? ROOM : NOTHING)

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list list;                                                                                                  \
        va_start(list, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;                                        \
        va_end(list);                                                                                                  \
        if (fails(GROWS(flags), "open", -1, AT_FDCWD, path)) return -1;                                                \
        enter();                                                                                                       \
        int file = opened(REAL(name)(path, flags, mode), AT_FDCWD, path, flags);                                       \
        leave();                                                                                                       \
        return file;                                                                                                   \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                   \
    int name(int at, const char *path, int flags, ...) {                                                               \
        va_list list;                                                                                                  \
        va_start(list, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;                                        \
        va_end(list);                                                                                                  \
        if (fails(GROWS(flags), "open", -1, at, path)) return -1;                                                      \
        enter();                                                                                                       \
        int file = opened(REAL(name)(at, path, flags, mode), at, path, flags);                                         \
        leave();                                                                                                       \
        return file;                                                                                                   \
    }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static ssize_t wrote(int file, const void *data, ssize_t count, int64_t offset) {
    if (count > 0 && follows(file)) {
        if (offset < 0) offset = lseek(file, 0, SEEK_CUR) - count;
        note('w', file, offset, data, (size_t)count, NULL, 0);
    }
    return count;
}

ssize_t write(int file, const void *data, size_t count) {
    ssize_t part = fail_part("write", file, count);
    if (part < 0) return -1;
    count = (size_t)part;
    if (!follows(file)) return REAL(write)(file, data, count);
    enter();
    ssize_t done = wrote(file, data, REAL(write)(file, data, count), -1);
    leave();
    return done;
}

#define PWRITE(name, type)                                                                                             \
    ssize_t name(int file, const void *data, size_t count, type offset) {                                              \
        ssize_t part = fail_part("pwrite", file, count);                                                                 \
        if (part < 0) return -1;                                                                                       \
        count = (size_t)part;                                                                                          \
        if (!follows(file)) return REAL(name)(file, data, count, offset);                                              \
        enter();                                                                                                       \
        ssize_t done = wrote(file, data, REAL(name)(file, data, count, offset), offset);                               \
        leave();                                                                                                       \
        return done;                                                                                                   \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* each part by itself: a kill may come between them */
static ssize_t write_parts(int file, const struct iovec *parts, int count, int64_t offset) {
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        if (!parts[i].iov_len) continue;
        ssize_t done = offset < 0 ? write(file, parts[i].iov_base, parts[i].iov_len)
                                  : pwrite64(file, parts[i].iov_base, parts[i].iov_len, offset + total);
        if (done < 0) return total ? total : -1;
        total += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return total;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    return follows(file) ? write_parts(file, parts, count, -1) : REAL(writev)(file, parts, count);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
    return follows(file) ? write_parts(file, parts, count, offset) : REAL(pwritev)(file, parts, count, offset);
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) {
    return follows(file) ? write_parts(file, parts, count, offset) : REAL(pwritev64)(file, parts, count, offset);
}

#define FTRUNCATE(name, type)                                                                                          \
    int name(int file, type size) {                                                                                    \
        if (fails(ROOM, "ftruncate", file, 0, NULL)) return -1;                                                        \
        if (!follows(file)) return REAL(name)(file, size);                                                             \
        enter();                                                                                                       \
        int result = REAL(name)(file, size);                                                                           \
        if (!result) note('t', file, size, NULL, 0, NULL, 0);                                                          \
        leave();                                                                                                       \
        return result;                                                                                                 \
    }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

#define TRUNCATE(name, type)                                                                                           \
    int name(const char *path, type size) {                                                                            \
        char full[PATH_MAX];                                                                                           \
        if (fails(NOTHING, "truncate", -1, AT_FDCWD, path)) return -1;                                                 \
        enter();                                                                                                       \
        int result = REAL(name)(path, size);                                                                           \
        if (!result && is_inside(AT_FDCWD, path, full)) note_path('t', -1, size, full);                                \
        leave();                                                                                                       \
        return result;                                                                                                 \
    }
TRUNCATE(truncate, off_t)
TRUNCATE(truncate64, off64_t)

#define SYNC(name)                                                                                                     \
    int name(int file) {                                                                                               \
        if (fails(NOTHING, #name, file, 0, NULL)) return -1;                                                           \
        if (!follows(file)) return REAL(name)(file);                                                                   \
        enter();                                                                                                       \
        note('s', file, 0, NULL, 0, NULL, 0);                                                                          \
        leave();                                                                                                       \
        return 0; /* what it makes lasting is what the replay says: the disk needn't wait */                           \
    }
SYNC(fsync)
SYNC(fdatasync)

/* one that fails has closed the file all the same */
int close(int file) {
    if (!touches(file)) return REAL(close)(file);
    int was_recorded = follows(file), hit = fails(NOTHING, "close", file, 0, NULL), why = errno;
    enter();
    tracked[file] = 0;
    if (was_recorded) note('c', file, 0, NULL, 0, NULL, 0);
    int result = REAL(close)(file);
    leave();
    if (!hit) return result;
    errno = why;
    return -1;
}

static int doubled(int old, int file) {
    if (file < 0 || file >= FILES || !touches(old)) return file;
    tracked[file] = tracked[old];
    if (follows(old)) note('d', old, file, NULL, 0, NULL, 0);
    return file;
}

int dup(int old) {
    enter();
    int file = doubled(old, REAL(dup)(old));
    leave();
    return file;
}

int dup2(int old, int file) {
    enter();
    if (touches(file) && old != file) tracked[file] = 0;
    file = doubled(old, REAL(dup2)(old, file));
    leave();
    return file;
}

int dup3(int old, int file, int flags) {
    enter();
    if (touches(file)) tracked[file] = 0;
    file = doubled(old, REAL(dup3)(old, file, flags));
    leave();
    return file;
}

static int named(char kind, int result, int at, const char *old, int new_at, const char *new) {
    char from[PATH_MAX], to[PATH_MAX];
    if (result) return result;
    int before = is_inside(at, old, from), after = is_inside(new_at, new, to);
    if (before != after) note_path('?', 0, 0, "a name comes from outside the folder, or leaves it");
    if (before && after) note(kind, -1, 0, from, strlen(from) + 1, to, strlen(to) + 1);
    return result;
}

int rename(const char *old, const char *new) {
    if (fails(NOTHING, "rename", -1, AT_FDCWD, old)) return -1;
    enter();
    int result = named('r', REAL(rename)(old, new), AT_FDCWD, old, AT_FDCWD, new);
    leave();
    return result;
}

int renameat(int at, const char *old, int new_at, const char *new) {
    if (fails(NOTHING, "renameat", -1, at, old)) return -1;
    enter();
    int result = named('r', REAL(renameat)(at, old, new_at, new), at, old, new_at, new);
    leave();
    return result;
}

int renameat2(int at, const char *old, int new_at, const char *new, unsigned flags) {
    if (fails(NOTHING, "renameat2", -1, at, old)) return -1;
    enter();
    int result = named('r', REAL(renameat2)(at, old, new_at, new, flags), at, old, new_at, new);
    leave();
    return result;
}

int link(const char *old, const char *new) {
    if (fails(NOTHING, "link", -1, AT_FDCWD, old)) return -1;
    enter();
    int result = named('l', REAL(link)(old, new), AT_FDCWD, old, AT_FDCWD, new);
    leave();
    return result;
}

int linkat(int at, const char *old, int new_at, const char *new, int flags) {
    if (fails(NOTHING, "linkat", -1, at, old)) return -1;
    enter();
    int result = named('l', REAL(linkat)(at, old, new_at, new, flags), at, old, new_at, new);
    leave();
    return result;
}

static int changed(char kind, int result, int at, const char *path) {
    char full[PATH_MAX];
    if (!result && is_inside(at, path, full)) note_path(kind, -1, 0, full);
    return result;
}

int unlink(const char *path) {
    if (fails(NOTHING, "unlink", -1, AT_FDCWD, path)) return -1;
    enter();
    int result = changed('u', REAL(unlink)(path), AT_FDCWD, path);
    leave();
    return result;
}

int unlinkat(int at, const char *path, int flags) {
    if (fails(NOTHING, "unlinkat", -1, at, path)) return -1;
    enter();
    int result = changed(flags & AT_REMOVEDIR ? 'k' : 'u', REAL(unlinkat)(at, path, flags), at, path);
    leave();
    return result;
}

int rmdir(const char *path) {
    if (fails(NOTHING, "rmdir", -1, AT_FDCWD, path)) return -1;
    enter();
    int result = changed('k', REAL(rmdir)(path), AT_FDCWD, path);
    leave();
    return result;
}

int mkdir(const char *path, mode_t mode) {
    if (fails(ROOM, "mkdir", -1, AT_FDCWD, path)) return -1;
    enter();
    int result = changed('m', REAL(mkdir)(path, mode), AT_FDCWD, path);
    leave();
    return result;
}

int mkdirat(int at, const char *path, mode_t mode) {
    if (fails(ROOM, "mkdirat", -1, at, path)) return -1;
    enter();
    int result = changed('m', REAL(mkdirat)(at, path, mode), at, path);
    leave();
    return result;
}

/* A stream writes by ways of its own inside the C library: give it ours. */
static ssize_t stream_write(void *cookie, const char *data, size_t count) {
    ssize_t done = write((int)(intptr_t)cookie, data, count);
    return done < 0 ? 0 : done;
}
static ssize_t stream_read(void *cookie, char *data, size_t count) { return read((int)(intptr_t)cookie, data, count); }
static int stream_seek(void *cookie, off64_t *offset, int whence) {
    off64_t at = lseek64((int)(intptr_t)cookie, *offset, whence);
    if (at < 0) return -1;
    *offset = at;
    return 0;
}
static int stream_close(void *cookie) { return close((int)(intptr_t)cookie); }

static FILE *stream(const char *path, const char *mode) {
    int both = strchr(mode, '+') != NULL;
    int flags = mode[0] == 'r'   ? (both ? O_RDWR : O_RDONLY)
                : mode[0] == 'w' ? (both ? O_RDWR : O_WRONLY) | O_CREAT | O_TRUNC
                                 : (both ? O_RDWR : O_WRONLY) | O_CREAT | O_APPEND;
    int file = open(path, flags | O_CLOEXEC, 0666);
    if (file < 0) return NULL;
    cookie_io_functions_t ways = {stream_read, stream_write, stream_seek, stream_close};
    return fopencookie((void *)(intptr_t)file, mode, ways);
}

#define FOPEN(name)                                                                                                    \
    FILE *name(const char *path, const char *mode) {                                                                   \
        char full[PATH_MAX];                                                                                           \
        return is_inside(AT_FDCWD, path, full) ? stream(path, mode) : REAL(name)(path, mode);                          \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* What the replay doesn't know must not go unnoticed. */
#define UNKNOWN(file) (follows(file) ? note_path('?', file, 0, __func__) : (void)0)

void *mmap(void *at, size_t length, int protection, int flags, int file, off_t offset) {
    if (file >= 0 && fails(NOTHING, "mmap", file, 0, NULL)) return MAP_FAILED;
    if ((protection & PROT_WRITE) && (flags & MAP_SHARED)) UNKNOWN(file);
    return REAL(mmap)(at, length, protection, flags, file, offset);
}
void *mmap64(void *at, size_t length, int protection, int flags, int file, off64_t offset) {
    if (file >= 0 && fails(NOTHING, "mmap", file, 0, NULL)) return MAP_FAILED;
    if ((protection & PROT_WRITE) && (flags & MAP_SHARED)) UNKNOWN(file);
    return REAL(mmap64)(at, length, protection, flags, file, offset);
}
int fallocate(int file, int mode, off_t offset, off_t length) {
    UNKNOWN(file);
    return REAL(fallocate)(file, mode, offset, length);
}
int fallocate64(int file, int mode, off64_t offset, off64_t length) {
    UNKNOWN(file);
    return REAL(fallocate64)(file, mode, offset, length);
}
int posix_fallocate(int file, off_t offset, off_t length) {
    UNKNOWN(file);
    return REAL(posix_fallocate)(file, offset, length);
}
int posix_fallocate64(int file, off64_t offset, off64_t length) {
    UNKNOWN(file);
    return REAL(posix_fallocate64)(file, offset, length);
}
ssize_t copy_file_range(int from, off64_t *in, int file, off64_t *out, size_t length, unsigned flags) {
    UNKNOWN(file);
    return REAL(copy_file_range)(from, in, file, out, length, flags);
}
ssize_t sendfile(int file, int from, off_t *offset, size_t count);
ssize_t sendfile(int file, int from, off_t *offset, size_t count) {
    UNKNOWN(file);
    return REAL(sendfile)(file, from, offset, count);
}
ssize_t sendfile64(int file, int from, off64_t *offset, size_t count);
ssize_t sendfile64(int file, int from, off64_t *offset, size_t count) {
    UNKNOWN(file);
    return REAL(sendfile64)(file, from, offset, count);
}
int syncfs(int file) {
    UNKNOWN(file);
    return REAL(syncfs)(file);
}

/* Note something of the program's own in the log. */
void record_mark(const char *text);
void record_mark(const char *text) {
    if (is_recorded()) note_path('!', -1, 0, text);
}
