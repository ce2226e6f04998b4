#include "dump_internal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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
    if (!dump_buffer_reserve (buffer, head + first.size + 2 + (payload ? payload->size : 0))) return false;
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
    struct dump_span name = dump_name_of (key);
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
        return dump_refuse (problem, "the string value of %s contains a NUL byte; a plugin that stores such bytes must set them as binary",
                       dump_readable (readable, sizeof (readable), name.data, name.size));
    }
    if (!put_record (buffer, binary ? "$key binary " : "$key string ", name, value.size, &value)) return dump_out_of_memory (problem, value.size);

    KeySet * metas = keyMeta (key);
    ssize_t count = metas ? ksGetSize (metas) : 0;
    for (ssize_t i = 0; i < count; ++i)
    {
        const Key * meta = ksAtCursor (metas, i);
        struct dump_span meta_name = dump_name_of (meta);
        if (!dump_span_starts (meta_name, META_PREFIX))
            return dump_refuse (problem, "%s has metadata that is not below " META_PREFIX, dump_readable (readable, sizeof (readable), name.data, name.size));
        meta_name.data += META_PREFIX_SIZE;
        meta_name.size -= META_PREFIX_SIZE;

        const Key * first = NULL;
        if (!seen_before (seen, meta, key, &first)) return dump_out_of_memory (problem, seen->capacity);
        bool written;
        if (first)
        {
            written = put_record (buffer, "$copymeta ", dump_name_of (first), meta_name.size, &meta_name);
        }
        else
        {
            struct dump_span text;
            if (!string_of (meta, &text))
                return dump_refuse (problem, "metadata of %s contains a NUL byte", dump_readable (readable, sizeof (readable), name.data, name.size));
            written = put_record (buffer, "$meta ", meta_name, text.size, &text);
        }
        if (!written) return dump_out_of_memory (problem, meta_name.size);
    }
    return true;
}

bool dump_write_keyset (struct dump_buffer * buffer, const KeySet * ks, struct dump_problem * problem)
{
    struct seen_metas seen = { NULL, 0, 0 };
    buffer->size = 0;
    bool good = dump_buffer_append (buffer, FIRST_LINE, sizeof (FIRST_LINE) - 1) || dump_out_of_memory (problem, sizeof (FIRST_LINE));
    ssize_t count = ks ? ksGetSize (ks) : 0;
    for (ssize_t i = 0; good && i < count; ++i)
        good = write_one (buffer, ksAtCursor (ks, i), &seen, problem);
    good = good && (dump_buffer_append (buffer, LAST_LINE, sizeof (LAST_LINE) - 1) || dump_out_of_memory (problem, sizeof (LAST_LINE)));
    free (seen.slots);
    return good;
}

bool dump_write_key (struct dump_buffer * buffer, Key * key, struct dump_problem * problem)
{
    struct seen_metas seen = { NULL, 0, 0 };
    buffer->size = 0;
    bool good = (dump_buffer_append (buffer, FIRST_LINE, sizeof (FIRST_LINE) - 1) || dump_out_of_memory (problem, sizeof (FIRST_LINE))) &&
                write_one (buffer, key, &seen, problem) &&
                (dump_buffer_append (buffer, LAST_LINE, sizeof (LAST_LINE) - 1) || dump_out_of_memory (problem, sizeof (LAST_LINE)));
    free (seen.slots);
    return good;
}
