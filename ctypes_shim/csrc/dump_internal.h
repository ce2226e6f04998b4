/* What the files of keyset_dump.h share among themselves. */
#ifndef STDIOPROC_DUMP_INTERNAL_H
#define STDIOPROC_DUMP_INTERNAL_H

#include "keyset_dump.h"

#define META_PREFIX "meta:/"
#define META_PREFIX_SIZE (sizeof (META_PREFIX) - 1)

#define FIRST_LINE "kdbOpen 2\n"
#define LAST_LINE "$end\n"

/* Say why, and return false. */
bool dump_refuse (struct dump_problem * problem, const char * format, ...) __attribute__ ((format (printf, 2, 3)));
bool dump_out_of_memory (struct dump_problem * problem, size_t size);

/* Make room for that many more bytes. */
bool dump_buffer_reserve (struct dump_buffer * buffer, size_t more);

bool dump_same_span (struct dump_span a, struct dump_span b);
struct dump_span dump_name_of (const Key * key);

#endif
