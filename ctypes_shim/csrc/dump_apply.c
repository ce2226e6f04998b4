#include "dump_internal.h"

#include <stdlib.h>
#include <string.h>

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

static bool same_value (const Key * key, const struct dump_key * record)
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
static bool same_metadata (struct applying * apply, Key * key, const struct dump_key * record)
{
    KeySet * metas = keyMeta (key);
    ssize_t count = metas ? ksGetSize (metas) : 0;
    if ((size_t) count != record->meta_count) return false;
    for (ssize_t i = 0; i < count; ++i)
    {
        const Key * meta = ksAtCursor (metas, i);
        const struct dump_meta * wanted = &apply->records.metas[record->first_meta + (size_t) i];
        struct dump_span name = dump_name_of (meta);
        if (name.size < META_PREFIX_SIZE) return false;
        name.data += META_PREFIX_SIZE;
        name.size -= META_PREFIX_SIZE;
        if (!dump_same_span (name, wanted->name) || !same_text (meta, wanted->value)) return false;
    }
    return true;
}

static bool key_has_name (const Key * key, struct dump_span name)
{
    return key && dump_same_span (dump_name_of (key), name);
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

static bool set_metadata (struct applying * apply, Key * key, const Key * old, const struct dump_key * record)
{
    char readable[240];
    for (size_t i = 0; i < record->meta_count; ++i)
    {
        const struct dump_meta * meta = &apply->records.metas[record->first_meta + i];
        const char * name = meta_full_name (&apply->name, meta->name);
        if (!name) return dump_out_of_memory (apply->problem, meta->name.size);
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
            if (!text) return dump_out_of_memory (apply->problem, meta->value.size);
            done = keySetMeta (key, name, text) > 0;
        }
        if (done != 1)
            return dump_refuse (apply->problem, "%s: Elektra does not accept the metakey name %s",
                           dump_readable (readable, sizeof (readable) / 2, record->name.data, record->name.size),
                           dump_readable (readable + sizeof (readable) / 2, sizeof (readable) / 2, meta->name.data, meta->name.size));
    }
    return true;
}

static bool set_value (struct applying * apply, Key * key, const struct dump_key * record)
{
    if (record->binary)
    {
        ssize_t size = keySetBinary (key, record->value.size ? record->value.data : NULL, record->value.size);
        return size == (ssize_t) record->value.size || dump_out_of_memory (apply->problem, record->value.size);
    }
    const char * text = dump_text (&apply->value, record->value);
    return (text && keySetString (key, text) >= 0) || dump_out_of_memory (apply->problem, record->value.size);
}

/* A key for the record at index: the old object when nothing differs, else a new one. next is where the walk over ks stands. */
static Key * key_for (struct applying * apply, const KeySet * ks, size_t index, ssize_t * next, bool * kept)
{
    char readable[240];
    const struct dump_key * record = &apply->records.records[index];
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
            dump_refuse (apply->problem, "Elektra does not accept the key name %s", dump_readable (readable, sizeof (readable), record->name.data, record->name.size));
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
        dump_out_of_memory (apply->problem, record->name.size);
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
            return dump_out_of_memory (apply->problem, apply->records.count * sizeof (key));
        }
        /* Must be refused at once: the earlier key is gone now, and a later $copymeta could point to it. */
        if ((size_t) ksGetSize (fresh) != i + 1)
            return dump_refuse (apply->problem, "the key %s comes twice",
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
        good = (fresh && apply.keys) || dump_out_of_memory (problem, apply.records.count * sizeof (*apply.keys));
    }
    bool changed = false;
    good = good && build (&apply, ks, fresh, &changed);
    if (good && changed)
    {
        if (protect) keyIncRef (protect);
        good = ksCopy (ks, fresh) == 1 || dump_out_of_memory (problem, apply.records.count);
        if (protect) keyDecRef (protect);
    }
    if (fresh) ksDel (fresh);
    free (apply.keys);
    dump_buffer_free (&apply.name);
    dump_buffer_free (&apply.value);
    dump_records_free (&apply.records);
    return good;
}
