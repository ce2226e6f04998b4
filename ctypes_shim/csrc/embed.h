/* What the C code that cffi generates gives to embed.c. */
#ifndef STDIOPROC_EMBED_H
#define STDIOPROC_EMBED_H

#include "bridge.h"

/* Lets cffi attach the functions of ctypes_shim._runtime, which is imported already. 0, or -1 after a traceback on standard error. */
int stdioproc_cffi_start (void);

/* The Python functions of _runtime. */
int32_t stdioproc_python_request (const struct stdioproc_request * request, struct stdioproc_reply * reply);
void stdioproc_python_release (uint64_t token);

#endif
