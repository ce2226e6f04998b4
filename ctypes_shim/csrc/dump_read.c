#include "dump_internal.h"
#include "dumpscan.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Nothing but the memory that the host gave bounds a reply here: the limits were kept where it was read. */
static const struct dump_limits no_limits = { SIZE_MAX >> 2, SIZE_MAX >> 2, SIZE_MAX >> 2, SIZE_MAX >> 2 };

struct reader
{
    const char * start;
    size_t size;
    size_t at;
    struct dump_problem * problem;
};

static bool misread (struct reader * reader, const char * expected)
{
    char readable[80];
    size_t left = reader->size - reader->at;
    size_t shown = left < 16 ? left : 16;
    return dump_refuse (reader->problem, "byte %zu of the dump: expected %s, found %s%s%s", reader->at, expected, left ? "\"" : "its end",
                        dump_readable (readable, sizeof (readable), reader->start + reader->at, shown), left ? "\"" : "");
}

static bool next_record (struct reader * reader, struct dump_record * record)
{
    size_t need;
    if (dump_next ((const unsigned char *) reader->start, reader->size, reader->at, &no_limits, record, &need) != DUMP_WHOLE)
    {
        return misread (reader, "a whole record");
    }
    return true;
}

static struct dump_span first_of (const struct reader * reader, const struct dump_record * record)
{
    return (struct dump_span){ reader->start + record->first, record->first_size };
}

static struct dump_span second_of (const struct reader * reader, const struct dump_record * record)
{
    return (struct dump_span){ reader->start + record->second, record->second_size };
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

/* Metadata arrives in order: our own encoder wrote it. */
static struct dump_meta * find_meta (struct dump_records * records, const struct dump_key * key, struct dump_span name)
{
    size_t low = key->first_meta;
    size_t high = key->first_meta + key->meta_count;
    while (low < high)
    {
        size_t middle = low + (high - low) / 2;
        struct dump_meta * meta = &records->metas[middle];
        int order = dump_metaname_compare ((const unsigned char *) meta->name.data, meta->name.size, (const unsigned char *) name.data, name.size);
        if (order == 0) return meta;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool read_key (struct reader * reader, struct dump_records * records, const struct dump_record * record)
{
    struct dump_key key = {
        .name = first_of (reader, record),
        .value = second_of (reader, record),
        .binary = record->kind == DUMP_BINARY,
        .first_meta = records->meta_count,
    };
    if (has_nul (key.name) || (!key.binary && has_nul (key.value)))
    {
        return misread (reader, "a name, and a string value, without a NUL byte");
    }
    void * items = grow (records->records, records->count, &records->capacity, sizeof (*records->records));
    if (!items) return dump_out_of_memory (reader->problem, records->capacity);
    records->records = items;
    records->records[records->count++] = key;
    return true;
}

static bool add_meta (struct reader * reader, struct dump_records * records, struct dump_meta meta)
{
    if (dump_span_is (meta.name, "binary") && !records->records[records->count - 1].binary)
    {
        return misread (reader, "no metakey binary on a string");
    }
    void * items = grow (records->metas, records->meta_count, &records->meta_capacity, sizeof (*records->metas));
    if (!items) return dump_out_of_memory (reader->problem, records->meta_capacity);
    records->metas = items;
    records->metas[records->meta_count++] = meta;
    ++records->records[records->count - 1].meta_count;
    return true;
}

static bool read_meta (struct reader * reader, struct dump_records * records, const struct dump_record * record)
{
    struct dump_meta meta = { .name = first_of (reader, record), .value = second_of (reader, record), .source = -1 };
    if (has_nul (meta.name) || has_nul (meta.value)) return misread (reader, "metadata without a NUL byte");
    return add_meta (reader, records, meta);
}

static bool read_copymeta (struct reader * reader, struct dump_records * records, const struct dump_record * record)
{
    struct dump_meta meta = { .name = second_of (reader, record), .source = -1 };
    ptrdiff_t source = find_record (records, first_of (reader, record));
    if (source == -2) return dump_out_of_memory (reader->problem, records->slot_count);
    struct dump_meta * original = source < 0 ? NULL : find_meta (records, &records->records[source], meta.name);
    if (!original || source == (ptrdiff_t) records->count - 1) return misread (reader, "an earlier key that has this metakey");
    meta.value = original->value;
    meta.source = original->source >= 0 ? original->source : source;
    return add_meta (reader, records, meta);
}

bool dump_read (struct dump_records * records, const char * data, size_t size, struct dump_problem * problem)
{
    *records = (struct dump_records){ 0 };
    struct reader reader = { data, size, 0, problem };
    struct dump_record record;
    if (!next_record (&reader, &record)) return false;
    if (record.kind != DUMP_HEADER) return misread (&reader, "the line kdbOpen 2");
    for (reader.at = record.end;; reader.at = record.end)
    {
        bool good = next_record (&reader, &record);
        if (!good) return false;
        if (record.kind == DUMP_END)
        {
            reader.at = record.end;
            return reader.at == reader.size || misread (&reader, "nothing after $end");
        }
        if (record.kind == DUMP_STRING || record.kind == DUMP_BINARY)
            good = read_key (&reader, records, &record);
        else if (records->count && record.kind == DUMP_META)
            good = read_meta (&reader, records, &record);
        else if (records->count && record.kind == DUMP_COPYMETA)
            good = read_copymeta (&reader, records, &record);
        else
            good = misread (&reader, records->count ? "$key, $meta, $copymeta or $end" : "$key or $end");
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
