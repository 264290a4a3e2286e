/* Make a call fail: one of those that `record.c` knows, or of those below, which change nothing. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "record.h"

static long counted, fail_at;
static int fail_error, fail_mode;
static char failed[2 * PATH_MAX];

void fail_arm(long at, int error, int mode) {
    record_here();
    counted = 0;
    fail_at = at;
    fail_error = error;
    fail_mode = mode;
    failed[0] = 0;
}

const char *fail_what(void) { return failed; }

static void describe(const char *name, int file, const char *path) {
    char link[64], of[PATH_MAX] = "";
    if (!path) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t length = ((__typeof__(&readlink))real("readlink"))(link, of, sizeof of - 1);
        of[length < 0 ? 0 : length] = 0;
    }
    snprintf(failed, sizeof failed, "%s %s", name, path ? path : of);
}

static int is_hit(enum need need, const char *name, int file, const char *path) {
    if (fail_mode == FULL && need != ROOM) return 0;
    if (fail_mode == SHORT && strcmp(name, "write") && strcmp(name, "pwrite")) return 0;
    long number = ++counted;
    if (!fail_at) describe(name, file, path);
    if (!fail_at) note_path('f', -1, 0, failed);
    if (number != fail_at && !(fail_mode == FULL && number > fail_at && fail_at > 0)) return 0;
    if (number == fail_at) describe(name, file, path);
    return 1;
}

int fails(enum need need, const char *name, int file, int at, const char *path) {
    char full[PATH_MAX];
    if (!fail_mode || !is_recorded()) return 0;
    if (path ? !is_in_folder(at, path, full) : !touches(file)) return 0;
    enter();
    int hit = is_hit(need, name, file, path ? full : NULL);
    errno = fail_error;
    leave();
    return hit;
}

ssize_t fail_part(const char *name, int file, size_t count) {
    if (!fails(ROOM, name, file, 0, NULL)) return (ssize_t)count;
    return fail_mode != ONCE && count > 1 && counted == fail_at ? (ssize_t)(count / 2) : -1;
}

/* calls that only look */

ssize_t read(int file, void *data, size_t count) {
    return fails(NOTHING, "read", file, 0, NULL) ? -1 : REAL(read)(file, data, count);
}

#define PREAD(name, type)                                                                                              \
    ssize_t name(int file, void *data, size_t count, type offset) {                                                    \
        return fails(NOTHING, "pread", file, 0, NULL) ? -1 : REAL(name)(file, data, count, offset);                    \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

#define STAT(name, type)                                                                                               \
    int name(const char *path, type *status) {                                                                         \
        return fails(NOTHING, "stat", -1, AT_FDCWD, path) ? -1 : REAL(name)(path, status);                             \
    }
STAT(stat, struct stat)
STAT(stat64, struct stat64)
STAT(lstat, struct stat)
STAT(lstat64, struct stat64)

#define FSTAT(name, type)                                                                                              \
    int name(int file, type *status) {                                                                                 \
        return fails(NOTHING, "fstat", file, 0, NULL) ? -1 : REAL(name)(file, status);                                 \
    }
FSTAT(fstat, struct stat)
FSTAT(fstat64, struct stat64)

#define FSTATAT(name, type)                                                                                            \
    int name(int at, const char *path, type *status, int flags) {                                                      \
        return fails(NOTHING, "stat", -1, at, path) ? -1 : REAL(name)(at, path, status, flags);                        \
    }
FSTATAT(fstatat, struct stat)
FSTATAT(fstatat64, struct stat64)

int access(const char *path, int mode) {
    return fails(NOTHING, "access", -1, AT_FDCWD, path) ? -1 : REAL(access)(path, mode);
}

int faccessat(int at, const char *path, int mode, int flags) {
    return fails(NOTHING, "access", -1, at, path) ? -1 : REAL(faccessat)(at, path, mode, flags);
}

ssize_t readlink(const char *path, char *to, size_t size) {
    return fails(NOTHING, "readlink", -1, AT_FDCWD, path) ? -1 : REAL(readlink)(path, to, size);
}

DIR *opendir(const char *path) {
    return fails(NOTHING, "opendir", -1, AT_FDCWD, path) ? NULL : REAL(opendir)(path);
}

static int is_lock(int command) { return command == F_SETLK || command == F_SETLKW; }

/* Locks; all else goes on as it is. Its third argument is an int or a pointer: a register either way. */
#define FCNTL(name)                                                                                                    \
    int name(int file, int command, ...) {                                                                             \
        va_list list;                                                                                                  \
        va_start(list, command);                                                                                       \
        void *argument = va_arg(list, void *);                                                                         \
        va_end(list);                                                                                                  \
        if (is_lock(command) && fails(NOTHING, "lock", file, 0, NULL)) return -1;                                      \
        return REAL(name)(file, command, argument);                                                                    \
    }
FCNTL(fcntl)
FCNTL(fcntl64)
