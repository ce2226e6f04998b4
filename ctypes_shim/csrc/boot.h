/*
 * Loading of the embedding library, and what must hold around every call into it.
 */
#ifndef STDIOPROC_BOOT_H
#define STDIOPROC_BOOT_H

#include "bridge.h"

#include <signal.h>
#include <stdbool.h>

/*
 * The bridge in the library beside this one, loaded at the first call. NULL with the reason, and what to do, in why.
 * May be called from any thread.
 */
const struct stdioproc_bridge * boot_bridge (char * why, size_t why_size);

/*
 * A write to a child that is gone raises SIGPIPE, whose default ends the host. It is held back in the calling thread only, for the
 * time of one call, and taken away when this call caused it. The host's handler and its other threads see nothing.
 */
struct sigpipe_guard
{
    sigset_t before;
    bool was_pending;
    bool active;
};

void sigpipe_guard_begin (struct sigpipe_guard * guard);
void sigpipe_guard_end (struct sigpipe_guard * guard);

#endif
