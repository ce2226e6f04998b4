#include "keyset_dump.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define META_PREFIX "meta:/"
#define META_PREFIX_SIZE (sizeof (META_PREFIX) - 1)

static bool refuse (struct dump_problem * problem, const char * format, ...) __attribute__ ((format (printf, 2, 3)));

static bool refuse (struct dump_problem * problem, const char * format, ...)
{
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (problem->text, sizeof (problem->text), format, arguments);
    va_end (arguments);
    return false;
}

static bool out_of_memory (struct dump_problem * problem, size_t size)
{
    return refuse (problem, "out of memory (%zu bytes were asked for)", size);
}

char * dump_readable (char * out, size_t out_size, const char * name, size_t name_size)
{
    size_t used = 0;
    for (size_t i = 0; i < name_size; ++i)
    {
        unsigned char byte = (unsigned char) name[i];
        bool plain = byte >= 0x20 && byte < 0x7f;
        if (used + (plain ? 1 : 4) + sizeof ("...") > out_size)
        {
            memcpy (out + used, "...", 3);
            used += 3;
            break;
        }
        if (plain)
            out[used++] = (char) byte;
        else
            used += (size_t) snprintf (out + used, out_size - used, "\\x%02x", byte);
    }
    out[used] = '\0';
    return out;
}

/* ---- bytes ---- */

void dump_buffer_free (struct dump_buffer * buffer)
{
    free (buffer->data);
    *buffer = (struct dump_buffer){ 0 };
}

static bool buffer_reserve (struct dump_buffer * buffer, size_t more)
{
    if (more <= buffer->capacity - buffer->size) return true;
    if (more > SIZE_MAX / 2 - buffer->size) return false;
    size_t wanted = buffer->size + more;
    size_t capacity = buffer->capacity < 4096 ? 4096 : buffer->capacity;
    while (capacity < wanted)
        capacity += capacity / 2;
    char * data = realloc (buffer->data, capacity);
    if (!data) return false;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

bool dump_buffer_append (struct dump_buffer * buffer, const void * data, size_t size)
{
    if (!buffer_reserve (buffer, size)) return false;
    if (size) memcpy (buffer->data + buffer->size, data, size);
    buffer->size += size;
    return true;
}

const char * dump_text (struct dump_buffer * buffer, struct dump_span span)
{
    buffer->size = 0;
    return dump_buffer_append (buffer, span.data, span.size) && dump_buffer_append (buffer, "", 1) ? buffer->data : NULL;
}

bool dump_span_is (struct dump_span span, const char * text)
{
    size_t size = strlen (text);
    return span.size == size && memcmp (span.data, text, size) == 0;
}

bool dump_span_starts (struct dump_span span, const char * prefix)
{
    size_t size = strlen (prefix);
    return span.size >= size && memcmp (span.data, prefix, size) == 0;
}

/* ---- writing ---- */

/* Decimal digits of n, without the cost of printf: two numbers are written for each key and each metakey. */
static char * put_number (char * out, size_t n)
{
    char digits[24];
    size_t count = 0;
    do
    {
        digits[count++] = (char) ('0' + n % 10);
        n /= 10;
    } while (n);
    while (count)
        *out++ = digits[--count];
    return out;
}

static char * put_bytes (char * out, const void * data, size_t size)
{
    if (size) memcpy (out, data, size);
    return out + size;
}

/* WORD first second LF, then one or two payload lines. The longest head is $copymeta with two numbers of 20 digits. */
static bool put_record (struct dump_buffer * buffer, const char * word, struct dump_span first, size_t second, const struct dump_span * payload)
{
    size_t head = 64;
    if (payload && payload->size > SIZE_MAX / 4) return false;
    if (!buffer_reserve (buffer, head + first.size + 2 + (payload ? payload->size : 0))) return false;
    char * out = buffer->data + buffer->size;
    out = put_bytes (out, word, strlen (word));
    out = put_number (out, first.size);
    *out++ = ' ';
    out = put_number (out, second);
    *out++ = '\n';
    out = put_bytes (out, first.data, first.size);
    *out++ = '\n';
    if (payload)
    {
        out = put_bytes (out, payload->data, payload->size);
        *out++ = '\n';
    }
    buffer->size = (size_t) (out - buffer->data);
    return true;
}

/* Where each metakey object was written first; the same object again becomes a $copymeta. */
struct seen_metas
{
    struct
    {
        const Key * meta;
        const Key * owner;
    } * slots;
    size_t capacity; /* power of two, or 0 */
    size_t count;
};

static size_t hash_pointer (const void * pointer)
{
    /* The low bits of heap addresses carry nothing; the multiplier spreads the rest. */
    uint64_t bits = (uint64_t) (uintptr_t) pointer >> 4;
    bits *= UINT64_C (0x9E3779B97F4A7C15);
    return (size_t) (bits ^ (bits >> 29));
}

static bool seen_grow (struct seen_metas * seen)
{
    size_t capacity = seen->capacity ? seen->capacity * 2 : 256;
    if (capacity > SIZE_MAX / sizeof (*seen->slots)) return false;
    struct seen_metas larger = { calloc (capacity, sizeof (*seen->slots)), capacity, seen->count };
    if (!larger.slots) return false;
    for (size_t i = 0; i < seen->capacity; ++i)
    {
        if (!seen->slots[i].meta) continue;
        size_t at = hash_pointer (seen->slots[i].meta) & (capacity - 1);
        while (larger.slots[at].meta)
            at = (at + 1) & (capacity - 1);
        larger.slots[at] = seen->slots[i];
    }
    free (seen->slots);
    *seen = larger;
    return true;
}

/* The key where meta was written first, or NULL after noting that this is owner. */
static bool seen_before (struct seen_metas * seen, const Key * meta, const Key * owner, const Key ** first)
{
    if (seen->count * 2 >= seen->capacity && !seen_grow (seen)) return false;
    size_t at = hash_pointer (meta) & (seen->capacity - 1);
    while (seen->slots[at].meta && seen->slots[at].meta != meta)
        at = (at + 1) & (seen->capacity - 1);
    *first = seen->slots[at].meta ? seen->slots[at].owner : NULL;
    if (!seen->slots[at].meta)
    {
        seen->slots[at].meta = meta;
        seen->slots[at].owner = owner;
        ++seen->count;
    }
    return true;
}

static struct dump_span name_of (const Key * key)
{
    return (struct dump_span){ keyName (key), (size_t) keyGetNameSize (key) - 1 };
}

/*
 * The bytes of a string without its NUL. A string that holds a NUL, or lacks the last one, cannot be written truthfully: readers
 * of the format stop at the NUL, and a shorter text would be a silent change.
 */
static bool string_of (const Key * key, struct dump_span * text)
{
    const char * data = keyValue (key);
    ssize_t size = keyGetValueSize (key);
    if (!data || size <= 1)
    {
        *text = (struct dump_span){ "", 0 };
        return !data || size <= 0 || data[0] == '\0';
    }
    *text = (struct dump_span){ data, (size_t) size - 1 };
    const char * end = memchr (data, '\0', (size_t) size);
    return end == data + size - 1;
}

static bool write_one (struct dump_buffer * buffer, Key * key, struct seen_metas * seen, struct dump_problem * problem)
{
    char readable[240];
    struct dump_span name = name_of (key);
    struct dump_span value;
    bool binary = keyIsBinary (key) == 1;
    if (binary)
    {
        const void * data = keyValue (key);
        ssize_t size = keyGetValueSize (key);
        value = data && size > 0 ? (struct dump_span){ data, (size_t) size } : (struct dump_span){ "", 0 };
    }
    else if (!string_of (key, &value))
    {
        return refuse (problem, "the string value of %s contains a NUL byte; a plugin that stores such bytes must set them as binary",
                       dump_readable (readable, sizeof (readable), name.data, name.size));
    }
    if (!put_record (buffer, binary ? "$key binary " : "$key string ", name, value.size, &value)) return out_of_memory (problem, value.size);

    KeySet * metas = keyMeta (key);
    ssize_t count = metas ? ksGetSize (metas) : 0;
    for (ssize_t i = 0; i < count; ++i)
    {
        const Key * meta = ksAtCursor (metas, i);
        struct dump_span meta_name = name_of (meta);
        if (!dump_span_starts (meta_name, META_PREFIX))
            return refuse (problem, "%s has metadata that is not below " META_PREFIX, dump_readable (readable, sizeof (readable), name.data, name.size));
        meta_name.data += META_PREFIX_SIZE;
        meta_name.size -= META_PREFIX_SIZE;

        const Key * first = NULL;
        if (!seen_before (seen, meta, key, &first)) return out_of_memory (problem, seen->capacity);
        bool written;
        if (first)
        {
            written = put_record (buffer, "$copymeta ", name_of (first), meta_name.size, &meta_name);
        }
        else
        {
            struct dump_span text;
            if (!string_of (meta, &text))
                return refuse (problem, "metadata of %s contains a NUL byte", dump_readable (readable, sizeof (readable), name.data, name.size));
            written = put_record (buffer, "$meta ", meta_name, text.size, &text);
        }
        if (!written) return out_of_memory (problem, meta_name.size);
    }
    return true;
}

#define HEADER "kdbOpen 2\n"
#define END "$end\n"

bool dump_write_keyset (struct dump_buffer * buffer, const KeySet * ks, struct dump_problem * problem)
{
    struct seen_metas seen = { NULL, 0, 0 };
    buffer->size = 0;
    bool good = dump_buffer_append (buffer, HEADER, sizeof (HEADER) - 1) || out_of_memory (problem, sizeof (HEADER));
    ssize_t count = ks ? ksGetSize (ks) : 0;
    for (ssize_t i = 0; good && i < count; ++i)
        good = write_one (buffer, ksAtCursor (ks, i), &seen, problem);
    good = good && (dump_buffer_append (buffer, END, sizeof (END) - 1) || out_of_memory (problem, sizeof (END)));
    free (seen.slots);
    return good;
}

bool dump_write_key (struct dump_buffer * buffer, Key * key, struct dump_problem * problem)
{
    struct seen_metas seen = { NULL, 0, 0 };
    buffer->size = 0;
    bool good = (dump_buffer_append (buffer, HEADER, sizeof (HEADER) - 1) || out_of_memory (problem, sizeof (HEADER))) &&
                write_one (buffer, key, &seen, problem) &&
                (dump_buffer_append (buffer, END, sizeof (END) - 1) || out_of_memory (problem, sizeof (END)));
    free (seen.slots);
    return good;
}

/* ---- reading ---- */

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
    return refuse (reader->problem, "byte %zu of the dump: expected %s, found %s%s%s", (size_t) (reader->at - reader->start), expected,
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

static bool same_span (struct dump_span a, struct dump_span b)
{
    return a.size == b.size && (a.size == 0 || memcmp (a.data, b.data, a.size) == 0);
}

static void slot_put (struct dump_records * records, size_t index)
{
    size_t at = hash_name (records->records[index].name) & (records->slot_count - 1);
    while (records->slots[at] && !same_span (records->records[records->slots[at] - 1].name, records->records[index].name))
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
        if (same_span (records->records[records->slots[at] - 1].name, name)) return (ptrdiff_t) records->slots[at] - 1;
        at = (at + 1) & (records->slot_count - 1);
    }
    return -1;
}

static struct dump_meta * find_meta (struct dump_records * records, const struct dump_record * record, struct dump_span name)
{
    for (size_t i = record->meta_count; i > 0; --i)
    {
        struct dump_meta * meta = &records->metas[record->first_meta + i - 1];
        if (same_span (meta->name, name)) return meta;
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
    if (!items) return out_of_memory (reader->problem, records->capacity);
    records->records = items;
    records->records[records->count++] = record;
    return true;
}

static bool add_meta (struct reader * reader, struct dump_records * records, struct dump_meta meta)
{
    void * items = grow (records->metas, records->meta_count, &records->meta_capacity, sizeof (*records->metas));
    if (!items) return out_of_memory (reader->problem, records->meta_capacity);
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
    if (source == -2) return out_of_memory (reader->problem, records->slot_count);
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
    if (!read_word (&reader, HEADER)) return misread (&reader, "the line kdbOpen 2");
    for (;;)
    {
        bool good;
        if (read_word (&reader, "$key "))
            good = read_key (&reader, records);
        else if (records->count && read_word (&reader, "$meta "))
            good = read_meta (&reader, records);
        else if (records->count && read_word (&reader, "$copymeta "))
            good = read_copymeta (&reader, records);
        else if (read_word (&reader, END))
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

/* ---- applying ---- */

struct applying
{
    struct dump_records records;
    Key ** keys; /* what became of each record; not owned, the fresh KeySet does that */
    struct dump_buffer name;
    struct dump_buffer value;
    struct dump_problem * problem;
};

/* meta:/NAME as a C string. With the prefix it is always taken as the full name, never as a relative one. */
static const char * meta_full_name (struct dump_buffer * buffer, struct dump_span name)
{
    buffer->size = 0;
    bool good = dump_buffer_append (buffer, META_PREFIX, META_PREFIX_SIZE) && dump_buffer_append (buffer, name.data, name.size) &&
                dump_buffer_append (buffer, "", 1);
    return good ? buffer->data : NULL;
}

static bool same_value (const Key * key, const struct dump_record * record)
{
    if ((keyIsBinary (key) == 1) != record->binary) return false;
    const void * data = keyValue (key);
    ssize_t size = keyGetValueSize (key);
    size_t bytes = !data || size <= 0 ? 0 : (size_t) size - (record->binary ? 0 : 1);
    return bytes == record->value.size && (bytes == 0 || memcmp (data, record->value.data, bytes) == 0);
}

static bool same_text (const Key * meta, struct dump_span text)
{
    return (size_t) keyGetValueSize (meta) == text.size + 1 && (text.size == 0 || memcmp (keyValue (meta), text.data, text.size) == 0);
}

/* The same metakeys in the same order: the only form that Elektra's own order and our writer produce. */
static bool same_metadata (struct applying * apply, Key * key, const struct dump_record * record)
{
    KeySet * metas = keyMeta (key);
    ssize_t count = metas ? ksGetSize (metas) : 0;
    if ((size_t) count != record->meta_count) return false;
    for (ssize_t i = 0; i < count; ++i)
    {
        const Key * meta = ksAtCursor (metas, i);
        const struct dump_meta * wanted = &apply->records.metas[record->first_meta + (size_t) i];
        struct dump_span name = name_of (meta);
        if (name.size < META_PREFIX_SIZE) return false;
        name.data += META_PREFIX_SIZE;
        name.size -= META_PREFIX_SIZE;
        if (!same_span (name, wanted->name) || !same_text (meta, wanted->value)) return false;
    }
    return true;
}

static bool key_has_name (const Key * key, struct dump_span name)
{
    return key && same_span (name_of (key), name);
}

/* Position of the key with the name of wanted, or -1. KeySets are sorted by their unescaped names. */
static ssize_t position_of (const KeySet * ks, const Key * wanted)
{
    const void * name = keyUnescapedName (wanted);
    size_t size = (size_t) keyGetUnescapedNameSize (wanted);
    ssize_t low = 0;
    ssize_t high = ksGetSize (ks) - 1;
    while (low <= high)
    {
        ssize_t middle = low + (high - low) / 2;
        const Key * key = ksAtCursor (ks, middle);
        size_t other = (size_t) keyGetUnescapedNameSize (key);
        int order = memcmp (keyUnescapedName (key), name, other < size ? other : size);
        if (order == 0 && other == size) return middle;
        if (order < 0 || (order == 0 && other < size))
            low = middle + 1;
        else
            high = middle - 1;
    }
    return -1;
}

static bool set_metadata (struct applying * apply, Key * key, const Key * old, const struct dump_record * record)
{
    char readable[240];
    for (size_t i = 0; i < record->meta_count; ++i)
    {
        const struct dump_meta * meta = &apply->records.metas[record->first_meta + i];
        const char * name = meta_full_name (&apply->name, meta->name);
        if (!name) return out_of_memory (apply->problem, meta->name.size);
        const Key * known = old ? keyGetMeta (old, name) : NULL;
        int done;
        if (known && same_text (known, meta->value))
        {
            done = keyCopyMeta (key, old, name);
        }
        else if (meta->source >= 0)
        {
            done = keyCopyMeta (key, apply->keys[meta->source], name);
        }
        else
        {
            const char * text = dump_text (&apply->value, meta->value);
            if (!text) return out_of_memory (apply->problem, meta->value.size);
            done = keySetMeta (key, name, text) > 0;
        }
        if (done != 1)
            return refuse (apply->problem, "%s: Elektra does not accept the metakey name %s",
                           dump_readable (readable, sizeof (readable) / 2, record->name.data, record->name.size),
                           dump_readable (readable + sizeof (readable) / 2, sizeof (readable) / 2, meta->name.data, meta->name.size));
    }
    return true;
}

static bool set_value (struct applying * apply, Key * key, const struct dump_record * record)
{
    if (record->binary)
    {
        ssize_t size = keySetBinary (key, record->value.size ? record->value.data : NULL, record->value.size);
        return size == (ssize_t) record->value.size || out_of_memory (apply->problem, record->value.size);
    }
    const char * text = dump_text (&apply->value, record->value);
    return (text && keySetString (key, text) >= 0) || out_of_memory (apply->problem, record->value.size);
}

/* A key for the record at index: the old object when nothing differs, else a new one. next is where the walk over ks stands. */
static Key * key_for (struct applying * apply, const KeySet * ks, size_t index, ssize_t * next, bool * kept)
{
    char readable[240];
    const struct dump_record * record = &apply->records.records[index];
    Key * old = NULL;
    Key * made = NULL;
    /* Mostly the child returns the keys in the same order, with some changed: the next key is the one, or the one after it. */
    for (ssize_t ahead = 0; ahead < 2 && !old; ++ahead)
    {
        Key * candidate = *next + ahead < ksGetSize (ks) ? ksAtCursor (ks, *next + ahead) : NULL;
        if (!key_has_name (candidate, record->name)) continue;
        old = candidate;
        *next += ahead + 1;
    }
    if (!old)
    {
        const char * name = dump_text (&apply->name, record->name);
        made = name ? keyNew (name, KEY_END) : NULL;
        if (!made)
        {
            refuse (apply->problem, "Elektra does not accept the key name %s", dump_readable (readable, sizeof (readable), record->name.data, record->name.size));
            return NULL;
        }
        ssize_t position = position_of (ks, made);
        if (position >= 0)
        {
            old = ksAtCursor (ks, position);
            *next = position + 1;
        }
    }
    *kept = old && same_value (old, record) && same_metadata (apply, old, record);
    if (*kept)
    {
        if (made) keyDel (made);
        return old;
    }
    if (!made) made = keyNew (keyName (old), KEY_END);
    if (!made)
    {
        out_of_memory (apply->problem, record->name.size);
        return NULL;
    }
    if (set_value (apply, made, record) && set_metadata (apply, made, old, record)) return made;
    keyDel (made);
    return NULL;
}

static bool build (struct applying * apply, const KeySet * ks, KeySet * fresh, bool * changed)
{
    char readable[240];
    ssize_t next = 0;
    *changed = (size_t) ksGetSize (ks) != apply->records.count;
    for (size_t i = 0; i < apply->records.count; ++i)
    {
        bool kept = false;
        Key * key = key_for (apply, ks, i, &next, &kept);
        if (!key) return false;
        *changed = *changed || !kept;
        apply->keys[i] = key;
        if (ksAppendKey (fresh, key) < 0)
        {
            if (!kept) keyDel (key);
            return out_of_memory (apply->problem, apply->records.count * sizeof (key));
        }
        /* Must be refused at once: the earlier key is gone now, and a later $copymeta could point to it. */
        if ((size_t) ksGetSize (fresh) != i + 1)
            return refuse (apply->problem, "the key %s comes twice",
                           dump_readable (readable, sizeof (readable), apply->records.records[i].name.data, apply->records.records[i].name.size));
    }
    return true;
}

bool dump_apply (const char * data, size_t size, KeySet * ks, Key * protect, struct dump_problem * problem)
{
    struct applying apply = { .problem = problem };
    bool good = dump_read (&apply.records, data, size, problem);
    KeySet * fresh = NULL;
    if (good)
    {
        fresh = ksNew (apply.records.count + 1, KS_END);
        apply.keys = calloc (apply.records.count + 1, sizeof (*apply.keys));
        good = (fresh && apply.keys) || out_of_memory (problem, apply.records.count * sizeof (*apply.keys));
    }
    bool changed = false;
    good = good && build (&apply, ks, fresh, &changed);
    if (good && changed)
    {
        if (protect) keyIncRef (protect);
        good = ksCopy (ks, fresh) == 1 || out_of_memory (problem, apply.records.count);
        if (protect) keyDecRef (protect);
    }
    if (fresh) ksDel (fresh);
    free (apply.keys);
    dump_buffer_free (&apply.name);
    dump_buffer_free (&apply.value);
    dump_records_free (&apply.records);
    return good;
}
