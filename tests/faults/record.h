/* What record.c and fail.c share. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define REAL(name) ((__typeof__(&name))real(#name))

enum need { NOTHING, ROOM };             /* what a call needs of the disk */
enum mode { OFF, ONCE, FULL, SHORT };    /* which calls fail: one; all that need room, from one on; one write by half */

void *real(const char *name);
void enter(void);
void leave(void);

/* Record this process from now on, a child of the one that was recorded. */
void record_here(void);
int is_recorded(void);

/* Append to the log. */
void note_path(char kind, int file, int64_t offset, const char *path);

/* Tell whether an open file lies in the folder. */
int touches(int file);
int is_in_folder(int at, const char *path, char *full);

/* From now on, in this process, let the call with this number fail, the first being 1; 0: none, but each is noted. */
void fail_arm(long at, int error, int mode);
/* The call that failed, and its file. */
const char *fail_what(void);

/* Tell whether a call on a path (relative to `at`) or on an open file is to fail; errno is set then. */
int fails(enum need need, const char *name, int file, int at, const char *path);

/* Return how much of a write is to be done: all, or where it is to fail a part; -1: nothing. */
ssize_t fail_part(const char *name, int file, size_t count);
