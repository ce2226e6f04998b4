#include "dump_internal.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool dump_refuse (struct dump_problem * problem, const char * format, ...)
{
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (problem->text, sizeof (problem->text), format, arguments);
    va_end (arguments);
    return false;
}

bool dump_out_of_memory (struct dump_problem * problem, size_t size)
{
    return dump_refuse (problem, "out of memory (%zu bytes were asked for)", size);
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

void dump_buffer_free (struct dump_buffer * buffer)
{
    free (buffer->data);
    *buffer = (struct dump_buffer){ 0 };
}

bool dump_buffer_reserve (struct dump_buffer * buffer, size_t more)
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
    if (!dump_buffer_reserve (buffer, size)) return false;
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

bool dump_same_span (struct dump_span a, struct dump_span b)
{
    return a.size == b.size && (a.size == 0 || memcmp (a.data, b.data, a.size) == 0);
}


struct dump_span dump_name_of (const Key * key)
{
    return (struct dump_span){ keyName (key), (size_t) keyGetNameSize (key) - 1 };
}
