#include "dump_internal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct reader
{
    const char * start;
    const char * at;
    const char * end;
    struct dump_problem * problem;
};

static bool misread (struct reader * reader, const char * expected)
{
    char readable[80];
    size_t left = (size_t) (reader->end - reader->at);
    size_t shown = left < 16 ? left : 16;
    return dump_refuse (reader->problem, "byte %zu of the dump: expected %s, found %s%s%s", (size_t) (reader->at - reader->start), expected,
                   left ? "\"" : "its end", dump_readable (readable, sizeof (readable), reader->at, shown), left ? "\"" : "");
}

static bool read_word (struct reader * reader, const char * word)
{
    size_t size = strlen (word);
    if ((size_t) (reader->end - reader->at) < size || memcmp (reader->at, word, size) != 0) return false;
    reader->at += size;
    return true;
}

/* Digits without sign, blank or leading zero, then the byte that has to follow them. */
static bool read_length (struct reader * reader, char follows, size_t * length)
{
    size_t value = 0;
    const char * at = reader->at;
    while (at < reader->end && *at >= '0' && *at <= '9')
    {
        if (value > (SIZE_MAX - 9) / 10) return misread (reader, "a length that fits the memory");
        value = value * 10 + (size_t) (*at++ - '0');
    }
    bool digits = at > reader->at && (at - reader->at == 1 || *reader->at != '0');
    if (!digits || at == reader->end || *at != follows) return misread (reader, "a length");
    reader->at = at + 1;
    *length = value;
    return true;
}

static bool read_payload (struct reader * reader, size_t length, struct dump_span * span)
{
    if (length >= (size_t) (reader->end - reader->at)) return misread (reader, "as many bytes as the length says");
    *span = (struct dump_span){ reader->at, length };
    reader->at += length;
    if (*reader->at != '\n') return misread (reader, "a newline after the bytes that the length counts");
    ++reader->at;
    return true;
}

static bool has_nul (struct dump_span span)
{
    return span.size && memchr (span.data, '\0', span.size);
}

static void * grow (void * items, size_t count, size_t * capacity, size_t item_size)
{
    if (count < *capacity) return items;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    if (wanted > SIZE_MAX / item_size) return NULL;
    void * larger = realloc (items, wanted * item_size);
    if (larger) *capacity = wanted;
    return larger;
}

static size_t hash_name (struct dump_span name)
{
    uint64_t hash = UINT64_C (1469598103934665603);
    for (size_t i = 0; i < name.size; ++i)
        hash = (hash ^ (unsigned char) name.data[i]) * UINT64_C (1099511628211);
    return (size_t) (hash ^ (hash >> 32));
}

static void slot_put (struct dump_records * records, size_t index)
{
    size_t at = hash_name (records->records[index].name) & (records->slot_count - 1);
    while (records->slots[at] && !dump_same_span (records->records[records->slots[at] - 1].name, records->records[index].name))
        at = (at + 1) & (records->slot_count - 1);
    records->slots[at] = index + 1;
}

/* The record of that name among those read so far: -1 none, -2 out of memory. */
static ptrdiff_t find_record (struct dump_records * records, struct dump_span name)
{
    if (records->count * 2 > records->slot_count)
    {
        size_t wanted = 256;
        while (wanted < records->count * 4)
            wanted *= 2;
        size_t * slots = calloc (wanted, sizeof (*slots));
        if (!slots) return -2;
        free (records->slots);
        records->slots = slots;
        records->slot_count = wanted;
        records->hashed = 0;
    }
    while (records->hashed < records->count)
        slot_put (records, records->hashed++);
    size_t at = hash_name (name) & (records->slot_count - 1);
    while (records->slots[at])
    {
        if (dump_same_span (records->records[records->slots[at] - 1].name, name)) return (ptrdiff_t) records->slots[at] - 1;
        at = (at + 1) & (records->slot_count - 1);
    }
    return -1;
}

static struct dump_meta * find_meta (struct dump_records * records, const struct dump_record * record, struct dump_span name)
{
    for (size_t i = record->meta_count; i > 0; --i)
    {
        struct dump_meta * meta = &records->metas[record->first_meta + i - 1];
        if (dump_same_span (meta->name, name)) return meta;
    }
    return NULL;
}

static bool read_key (struct reader * reader, struct dump_records * records)
{
    size_t name_length;
    size_t value_length;
    struct dump_record record = { .binary = read_word (reader, "binary "), .first_meta = records->meta_count };
    if (!record.binary && !read_word (reader, "string ")) return misread (reader, "string or binary");
    if (!read_length (reader, ' ', &name_length) || !read_length (reader, '\n', &value_length)) return false;
    const char * where = reader->at;
    if (!read_payload (reader, name_length, &record.name) || !read_payload (reader, value_length, &record.value)) return false;
    if (has_nul (record.name) || (!record.binary && has_nul (record.value)))
    {
        reader->at = where;
        return misread (reader, "a name, and a string value, without a NUL byte");
    }
    void * items = grow (records->records, records->count, &records->capacity, sizeof (*records->records));
    if (!items) return dump_out_of_memory (reader->problem, records->capacity);
    records->records = items;
    records->records[records->count++] = record;
    return true;
}

static bool add_meta (struct reader * reader, struct dump_records * records, struct dump_meta meta)
{
    void * items = grow (records->metas, records->meta_count, &records->meta_capacity, sizeof (*records->metas));
    if (!items) return dump_out_of_memory (reader->problem, records->meta_capacity);
    records->metas = items;
    records->metas[records->meta_count++] = meta;
    ++records->records[records->count - 1].meta_count;
    return true;
}

static bool read_meta (struct reader * reader, struct dump_records * records)
{
    size_t name_length;
    size_t value_length;
    struct dump_meta meta = { .source = -1 };
    if (!read_length (reader, ' ', &name_length) || !read_length (reader, '\n', &value_length)) return false;
    const char * where = reader->at;
    if (!read_payload (reader, name_length, &meta.name) || !read_payload (reader, value_length, &meta.value)) return false;
    reader->at = has_nul (meta.name) || has_nul (meta.value) ? where : reader->at;
    if (reader->at == where) return misread (reader, "metadata without a NUL byte");
    if (dump_span_is (meta.name, "binary") && !records->records[records->count - 1].binary)
    {
        reader->at = where;
        return misread (reader, "no metakey binary on a string");
    }
    return add_meta (reader, records, meta);
}

static bool read_copymeta (struct reader * reader, struct dump_records * records)
{
    size_t key_length;
    size_t name_length;
    struct dump_span key = { 0 };
    struct dump_meta meta = { .source = -1 };
    if (!read_length (reader, ' ', &key_length) || !read_length (reader, '\n', &name_length)) return false;
    const char * where = reader->at;
    if (!read_payload (reader, key_length, &key) || !read_payload (reader, name_length, &meta.name)) return false;
    ptrdiff_t source = find_record (records, key);
    if (source == -2) return dump_out_of_memory (reader->problem, records->slot_count);
    struct dump_meta * original = source < 0 ? NULL : find_meta (records, &records->records[source], meta.name);
    if (!original || source == (ptrdiff_t) records->count - 1)
    {
        reader->at = where;
        return misread (reader, "an earlier key that has this metakey");
    }
    meta.value = original->value;
    meta.source = original->source >= 0 ? original->source : source;
    return add_meta (reader, records, meta);
}

bool dump_read (struct dump_records * records, const char * data, size_t size, struct dump_problem * problem)
{
    *records = (struct dump_records){ 0 };
    struct reader reader = { data, data, data + size, problem };
    if (!read_word (&reader, DUMP_HEADER)) return misread (&reader, "the line kdbOpen 2");
    for (;;)
    {
        bool good;
        if (read_word (&reader, "$key "))
            good = read_key (&reader, records);
        else if (records->count && read_word (&reader, "$meta "))
            good = read_meta (&reader, records);
        else if (records->count && read_word (&reader, "$copymeta "))
            good = read_copymeta (&reader, records);
        else if (read_word (&reader, DUMP_END))
            return reader.at == reader.end || misread (&reader, "nothing after $end");
        else
            return misread (&reader, records->count ? "$key, $meta, $copymeta or $end" : "$key or $end");
        if (!good) return false;
    }
}

void dump_records_free (struct dump_records * records)
{
    free (records->records);
    free (records->metas);
    free (records->slots);
    *records = (struct dump_records){ 0 };
}
