/* The record scanner in C: the same rules as dumpfmt/scan.py, for those bytes that are in perfect order.
 *
 * It answers "this is a whole record", "more bytes are needed" or "not sure". It never explains: what it is not sure of is read
 * again by the Python scanner, which accepts or refuses it with the reason. No Python and no Elektra here; the extension module
 * (native.c) and the shim for C hosts both compile this file.
 */
#ifndef DUMPSCAN_H
#define DUMPSCAN_H

#include <stddef.h>
#include <stdint.h>

enum dump_kind { DUMP_HEADER, DUMP_STRING, DUMP_BINARY, DUMP_META, DUMP_COPYMETA, DUMP_END };

enum dump_answer { DUMP_WHOLE, DUMP_MORE, DUMP_UNSURE };

struct dump_limits {
	size_t message, name, value, keys; /* as dumpfmt.Limits */
};

/* Offsets into the scanned bytes; `first` and `second` are the payloads. */
struct dump_record {
	enum dump_kind kind;
	size_t start, end;
	size_t first, first_size;
	size_t second, second_size;
};

/* Cut the record at `position` of `data`. With DUMP_MORE, `*need` bytes in all must be there before another call makes sense. */
enum dump_answer dump_next (const unsigned char * data, size_t size, size_t position, const struct dump_limits * limits,
			    struct dump_record * record, size_t * need);

/* Whether a full key name, or the name of a metakey without `meta:/`, is surely valid and canonical. */
int dump_name_is_canonical (const unsigned char * name, size_t size);
int dump_metaname_is_canonical (const unsigned char * name, size_t size);

/* A canonical name, given byte by byte in its unescaped form (dumpfmt/names.py). */
struct dump_unescaper {
	const unsigned char *at, *end;
	int stage;
};
void dump_unescape_name (struct dump_unescaper * it, const unsigned char * name, size_t size);
void dump_unescape_metaname (struct dump_unescaper * it, const unsigned char * name, size_t size);
int dump_unescape_next (struct dump_unescaper * it); /* -1 at the end */

/* Order of canonical names by their unescaped forms: negative, 0, positive. */
int dump_name_compare (const unsigned char * a, size_t a_size, const unsigned char * b, size_t b_size);
int dump_metaname_compare (const unsigned char * a, size_t a_size, const unsigned char * b, size_t b_size);
/* The same against a name that is unescaped already. */
int dump_name_compare_unescaped (const unsigned char * name, size_t size, const unsigned char * unescaped, size_t unescaped_size);

#endif
