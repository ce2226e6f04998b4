/*
 * KeySets as dump version 2 with full key names, both ways, without any Python object.
 *
 * Reading is strict: lengths are plain digits, every record ends where it says, $end is the last line. Nothing is changed in a
 * KeySet before the whole text was found to be right.
 */
#ifndef STDIOPROC_KEYSET_DUMP_H
#define STDIOPROC_KEYSET_DUMP_H

#include "elektra_abi.h"

#include <stdbool.h>

/* Bytes that grow; kept between operations so that the second one need not grow them again. */
struct dump_buffer
{
    char * data;
    size_t size;
    size_t capacity;
};

/* Why something was refused. Key names in it are escaped and cut to a readable length. */
struct dump_problem
{
    char text[600];
};

struct dump_span
{
    const char * data;
    size_t size;
};

struct dump_meta
{
    struct dump_span name; /* without meta:/ */
    struct dump_span value;
    ptrdiff_t source; /* the record whose metakey this one is ($copymeta), or -1 */
};

struct dump_key
{
    struct dump_span name;
    struct dump_span value;
    bool binary;
    size_t first_meta;
    size_t meta_count;
};

/* A validated dump. The spans point into the text that was read. */
struct dump_records
{
    struct dump_key * records;
    size_t count;
    size_t capacity;
    struct dump_meta * metas;
    size_t meta_count;
    size_t meta_capacity;
    size_t * slots; /* hash of record names, made when the first $copymeta is met: index + 1, 0 is free */
    size_t slot_count;
    size_t hashed;
};

void dump_buffer_free (struct dump_buffer * buffer);
bool dump_buffer_append (struct dump_buffer * buffer, const void * data, size_t size);

/* Replace the content of the buffer by the dump of a keyset, or of a single key. False with the reason in problem. */
bool dump_write_keyset (struct dump_buffer * buffer, const KeySet * ks, struct dump_problem * problem);
bool dump_write_key (struct dump_buffer * buffer, Key * key, struct dump_problem * problem);

/* Call dump_records_free whatever the result was. */
bool dump_read (struct dump_records * records, const char * data, size_t size, struct dump_problem * problem);
void dump_records_free (struct dump_records * records);

/*
 * Make the content of ks what the dump says. A key that is the same in name, value and metadata stays the same object; a key that
 * differs is replaced, and shares the metakeys that are the same. On failure ks is as it was.
 * protect, if not NULL, survives even when it is a member of ks and falls out of it.
 */
bool dump_apply (const char * data, size_t size, KeySet * ks, Key * protect, struct dump_problem * problem);

/* NUL-terminated copy of a span in a buffer, valid until the buffer is used again. NULL: out of memory. */
const char * dump_text (struct dump_buffer * buffer, struct dump_span span);

bool dump_span_is (struct dump_span span, const char * text);
bool dump_span_starts (struct dump_span span, const char * prefix);

/* Writes name into out, control bytes and bytes outside ASCII as \xNN, cut to fit. Returns out. */
char * dump_readable (char * out, size_t out_size, const char * name, size_t name_size);

#endif
