#include "boot.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REBUILD "run `stdioproc shim install` in the Python environment that shall serve Elektra (`stdioproc shim doctor` says what is wrong)"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct stdioproc_bridge * bridge;

/*
 * A fork while another thread is in boot_bridge would leave the lock taken for good in the child.
 */
static void before_fork (void)
{
    pthread_mutex_lock (&lock);
}

static void after_fork (void)
{
    pthread_mutex_unlock (&lock);
}

/* Where this library was loaded from. Absolute, since the host may change its directory before the first request. */
static char own_path[PATH_MAX];

__attribute__ ((constructor)) static void loaded (void)
{
    Dl_info info;
    pthread_atfork (before_fork, after_fork, after_fork);
    if (!dladdr ((void *) &boot_bridge, &info) || !info.dli_fname) return;
    if (info.dli_fname[0] == '/')
        snprintf (own_path, sizeof (own_path), "%s", info.dli_fname);
    else if (!realpath (info.dli_fname, own_path))
        own_path[0] = '\0';
}

/* The embedding library in the directory of path, which is absolute. */
static bool beside (const char * path, char * out, size_t out_size)
{
    const char * slash = strrchr (path, '/');
    int size = snprintf (out, out_size, "%.*s/%s", (int) (slash - path), path, STDIOPROC_BRIDGE_FILE);
    return size > 0 && (size_t) size < out_size;
}

/* Where this library was installed as a copy, and where it was built when it is a link. */
static bool find_file (char * out, size_t out_size, char * why, size_t why_size)
{
    char real[PATH_MAX];
    if (!own_path[0])
    {
        snprintf (why, why_size, "the loader does not tell where libelektra-plugin-stdioproc.so lies");
        return false;
    }
    if (beside (own_path, out, out_size) && access (out, R_OK) == 0) return true;
    if (realpath (own_path, real) && beside (real, out, out_size) && access (out, R_OK) == 0) return true;
    snprintf (why, why_size, "%s is missing or not readable (%s) beside %s, so no program can be started; %s", STDIOPROC_BRIDGE_FILE,
              strerror (errno), own_path, REBUILD);
    return false;
}

static const struct stdioproc_bridge * load (char * why, size_t why_size)
{
    char path[PATH_MAX + sizeof (STDIOPROC_BRIDGE_FILE)];
    if (!find_file (path, sizeof (path), why, why_size)) return NULL;
    void * handle = dlopen (path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
    {
        const char * reason = dlerror ();
        snprintf (why, why_size, "cannot load %s: %s; if the Python that it was built for is gone or changed, %s", path, reason ? reason : "no reason given",
                  REBUILD);
        return NULL;
    }
    const struct stdioproc_bridge * found = dlsym (handle, STDIOPROC_BRIDGE_SYMBOL);
    if (!found || found->version != STDIOPROC_BRIDGE_VERSION)
    {
        snprintf (why, why_size, "%s is of another version than this plugin; %s", path, REBUILD);
        dlclose (handle);
        return NULL;
    }
    return found;
}

const struct stdioproc_bridge * boot_bridge (char * why, size_t why_size)
{
    pthread_mutex_lock (&lock);
    if (!bridge) bridge = load (why, why_size);
    const struct stdioproc_bridge * result = bridge;
    pthread_mutex_unlock (&lock);
    return result;
}

static bool sigpipe_is_pending (void)
{
    sigset_t pending;
    return sigpending (&pending) == 0 && sigismember (&pending, SIGPIPE) == 1;
}

void sigpipe_guard_begin (struct sigpipe_guard * guard)
{
    sigset_t sigpipe;
    sigemptyset (&sigpipe);
    sigaddset (&sigpipe, SIGPIPE);
    guard->was_pending = sigpipe_is_pending ();
    guard->active = pthread_sigmask (SIG_BLOCK, &sigpipe, &guard->before) == 0;
}

void sigpipe_guard_end (struct sigpipe_guard * guard)
{
    if (!guard->active) return;
    int kept = errno;
    if (!guard->was_pending)
    {
        sigset_t sigpipe;
        const struct timespec now = { 0, 0 };
        sigemptyset (&sigpipe);
        sigaddset (&sigpipe, SIGPIPE);
        while (sigpipe_is_pending () && sigtimedwait (&sigpipe, NULL, &now) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask (SIG_SETMASK, &guard->before, NULL);
    errno = kept;
}
