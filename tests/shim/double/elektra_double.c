/*
 * A test double of libelektra-core and libelektra-plugin: small, slow, and only what the shim calls.
 *
 * It lets the shim's tests run where no Elektra is installed. It knows canonical names only, and keeps the rules that matter to
 * the shim: keysets sorted by unescaped name, shared immutable metakeys, locks, reference counts, null and empty values. It aborts on
 * misuse that a real library would turn into a crash or a leak. The same scenarios run against a real Elektra where one is installed.
 */
#include "elektra_double.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct _Key
{
    char * name;
    char * unescaped;
    size_t unescaped_size;
    char * value;
    size_t size;
    KeySet * meta;
    size_t references;
    int locks;
};

struct _KeySet
{
    Key ** keys;
    size_t size;
    size_t capacity;
};

struct _Plugin
{
    const char * name;
    int (*open) (Plugin *, Key *);
    int (*close) (Plugin *, Key *);
    int (*get) (Plugin *, KeySet *, Key *);
    int (*set) (Plugin *, KeySet *, Key *);
    int (*error) (Plugin *, KeySet *, Key *);
    int (*commit) (Plugin *, KeySet *, Key *);
    KeySet * config;
    KeySet * global;
    void * data;
};

static _Atomic long alive; /* hosts use threads */

long double_keys_alive (void)
{
    return alive;
}

static void misuse (const char * what)
{
    fprintf (stderr, "test double: %s\n", what);
    abort ();
}

static void * need (void * memory)
{
    if (!memory) misuse ("out of memory");
    return memory;
}

/* ---- keys ---- */

static int namespace_of (const char * name)
{
    static const char * const words[] = { "", "meta:", "spec:", "proc:", "dir:", "user:", "system:", "default:" };
    for (int i = 7; i >= 0; --i)
    {
        size_t size = strlen (words[i]);
        if (strncmp (name, words[i], size) == 0 && name[size] == '/') return i + 1;
    }
    return 0;
}

static bool set_name (Key * key, const char * name)
{
    int space = namespace_of (name);
    if (!space) return false;
    const char * path = strchr (name, '/');
    char * out = need (malloc (strlen (name) + 3));
    size_t used = 0;
    out[used++] = (char) space;
    if (!path[1])
    {
        out[used++] = '\0';
        out[used++] = '\0';
    }
    else
    {
        for (const char * at = path; *at; ++at)
        {
            if (*at == '/')
            {
                out[used++] = '\0';
                if (at[1] == '%' && (at[2] == '/' || !at[2])) ++at;
                continue;
            }
            if (*at == '\\' && !*++at)
            {
                free (out);
                return false;
            }
            out[used++] = *at;
        }
        out[used++] = '\0';
    }
    key->name = need (strdup (name));
    key->unescaped = out;
    key->unescaped_size = used;
    return true;
}

static void set_bytes (Key * key, const void * value, size_t size)
{
    char * copy = size ? need (malloc (size)) : NULL;
    if (size) memcpy (copy, value, size);
    free (key->value);
    key->value = copy;
    key->size = size;
}

Key * keyNew (const char * name, ...)
{
    va_list arguments;
    va_start (arguments, name);
    if (va_arg (arguments, void *) != KEY_END) misuse ("keyNew of the double takes a name only");
    va_end (arguments);
    Key * key = need (calloc (1, sizeof (*key)));
    if (!name || !set_name (key, name))
    {
        free (key);
        return NULL;
    }
    ++alive;
    return key;
}

int keyDel (Key * key)
{
    if (!key) return -1;
    if (key->references) return (int) key->references;
    if (key->meta) ksDel (key->meta);
    free (key->name);
    free (key->unescaped);
    free (key->value);
    free (key);
    --alive;
    return 0;
}

ssize_t keyIncRef (Key * key)
{
    return (ssize_t) ++key->references;
}

ssize_t keyDecRef (Key * key)
{
    if (!key->references) misuse ("keyDecRef below zero");
    return (ssize_t) --key->references;
}

const char * keyName (const Key * key)
{
    return key->name;
}

ssize_t keyGetNameSize (const Key * key)
{
    return (ssize_t) strlen (key->name) + 1;
}

const void * keyUnescapedName (const Key * key)
{
    return key->unescaped;
}

ssize_t keyGetUnescapedNameSize (const Key * key)
{
    return (ssize_t) key->unescaped_size;
}

const void * keyValue (const Key * key)
{
    return key->value;
}

const char * keyString (const Key * key)
{
    if (!key) return "(null)";
    if (!key->value) return "";
    return keyIsBinary (key) ? "(binary)" : key->value;
}

ssize_t keyGetValueSize (const Key * key)
{
    if (!key->value) return keyIsBinary (key) ? 0 : 1;
    return (ssize_t) key->size;
}

int keyIsBinary (const Key * key)
{
    return keyGetMeta (key, "meta:/binary") != NULL;
}

ssize_t keySetString (Key * key, const char * value)
{
    if (key->locks & KEY_LOCK_VALUE) return -1;
    keySetMeta (key, "meta:/binary", NULL);
    bool empty = !value || !*value;
    set_bytes (key, value, empty ? 0 : strlen (value) + 1);
    keySetMeta (key, "meta:/origvalue", NULL);
    return keyGetValueSize (key);
}

ssize_t keySetBinary (Key * key, const void * value, size_t size)
{
    if ((!size && value) || (key->locks & KEY_LOCK_VALUE)) return -1;
    keySetMeta (key, "meta:/binary", "");
    set_bytes (key, value, size);
    return (ssize_t) size;
}

void double_set_raw (Key * key, const void * value, size_t size)
{
    set_bytes (key, value, size);
}

void double_lock (Key * key, int what)
{
    key->locks |= what;
}

int keyIsLocked (const Key * key, int what)
{
    return key->locks & what;
}

/* ---- metadata ---- */

static void meta_name (char * out, size_t size, const char * name)
{
    bool full = strncmp (name, "meta:/", 6) == 0;
    if ((size_t) snprintf (out, size, "%s%s", full ? "" : "meta:/", name) >= size) misuse ("metakey name too long");
}

KeySet * keyMeta (Key * key)
{
    if (!key->meta) key->meta = ksNew (0, KS_END);
    return key->meta;
}

const Key * keyGetMeta (const Key * key, const char * name)
{
    char full[512];
    if (!key->meta) return NULL;
    meta_name (full, sizeof (full), name);
    return ksLookupByName (key->meta, full, 0);
}

static void drop_meta (Key * key, const char * full)
{
    KeySet * metas = keyMeta (key);
    for (size_t i = 0; i < metas->size; ++i)
    {
        if (strcmp (metas->keys[i]->name, full) != 0) continue;
        keyDecRef (metas->keys[i]);
        keyDel (metas->keys[i]);
        memmove (metas->keys + i, metas->keys + i + 1, (metas->size - i - 1) * sizeof (*metas->keys));
        --metas->size;
        return;
    }
}

ssize_t keySetMeta (Key * key, const char * name, const char * value)
{
    char full[512];
    meta_name (full, sizeof (full), name);
    if (!value)
    {
        drop_meta (key, full);
        return 0;
    }
    Key * meta = keyNew (full, KEY_END);
    if (!meta) return -1;
    set_bytes (meta, value, *value ? strlen (value) + 1 : 0);
    meta->locks = KEY_LOCK_VALUE;
    ksAppendKey (keyMeta (key), meta);
    return keyGetValueSize (meta);
}

int keyCopyMeta (Key * dest, const Key * source, const char * name)
{
    char full[512];
    meta_name (full, sizeof (full), name);
    Key * meta = (Key *) keyGetMeta (source, name);
    if (!meta)
    {
        drop_meta (dest, full);
        return 0;
    }
    ksAppendKey (keyMeta (dest), meta);
    return 1;
}

/* ---- keysets ---- */

KeySet * ksNew (size_t alloc, ...)
{
    KeySet * ks = need (calloc (1, sizeof (*ks)));
    ks->capacity = alloc + 1;
    ks->keys = need (calloc (ks->capacity, sizeof (*ks->keys)));
    return ks;
}

static void clear (KeySet * ks)
{
    for (size_t i = 0; i < ks->size; ++i)
    {
        keyDecRef (ks->keys[i]);
        keyDel (ks->keys[i]);
    }
    ks->size = 0;
}

int ksDel (KeySet * ks)
{
    clear (ks);
    free (ks->keys);
    free (ks);
    return 0;
}

int ksCopy (KeySet * dest, const KeySet * source)
{
    KeySet old = *dest;
    dest->capacity = source->size + 1;
    dest->keys = need (calloc (dest->capacity, sizeof (*dest->keys)));
    dest->size = source->size;
    for (size_t i = 0; i < source->size; ++i)
    {
        dest->keys[i] = source->keys[i];
        keyIncRef (dest->keys[i]);
    }
    clear (&old);
    free (old.keys);
    return 1;
}

ssize_t ksGetSize (const KeySet * ks)
{
    return (ssize_t) ks->size;
}

Key * ksAtCursor (const KeySet * ks, ssize_t position)
{
    return position >= 0 && (size_t) position < ks->size ? ks->keys[position] : NULL;
}

static int order (const Key * a, const Key * b)
{
    size_t size = a->unescaped_size < b->unescaped_size ? a->unescaped_size : b->unescaped_size;
    int found = memcmp (a->unescaped, b->unescaped, size);
    if (found) return found;
    return a->unescaped_size < b->unescaped_size ? -1 : a->unescaped_size > b->unescaped_size;
}

ssize_t ksAppendKey (KeySet * ks, Key * key)
{
    size_t at = ks->size;
    while (at > 0 && order (ks->keys[at - 1], key) > 0)
        --at;
    keyIncRef (key);
    if (at > 0 && order (ks->keys[at - 1], key) == 0)
    {
        keyDecRef (ks->keys[at - 1]);
        if (ks->keys[at - 1] != key) keyDel (ks->keys[at - 1]);
        ks->keys[at - 1] = key;
        return (ssize_t) ks->size;
    }
    if (ks->size + 1 > ks->capacity)
    {
        ks->capacity = ks->capacity * 2 + 1;
        ks->keys = need (realloc (ks->keys, ks->capacity * sizeof (*ks->keys)));
    }
    memmove (ks->keys + at + 1, ks->keys + at, (ks->size - at) * sizeof (*ks->keys));
    ks->keys[at] = key;
    return (ssize_t) ++ks->size;
}

static Key * exact (KeySet * ks, const char * name)
{
    for (size_t i = 0; i < ks->size; ++i)
        if (strcmp (ks->keys[i]->name, name) == 0) return ks->keys[i];
    return NULL;
}

Key * ksLookupByName (KeySet * ks, const char * name, int options)
{
    static const char * const order_of_lookup[] = { "spec:", "proc:", "dir:", "user:", "system:", "default:", "" };
    if (options) misuse ("lookup options");
    if (name[0] != '/') return exact (ks, name);
    for (size_t i = 0; i < sizeof (order_of_lookup) / sizeof (*order_of_lookup); ++i)
    {
        char full[512];
        if ((size_t) snprintf (full, sizeof (full), "%s%s", order_of_lookup[i], name) >= sizeof (full)) misuse ("lookup name too long");
        Key * found = exact (ks, full);
        if (found) return found;
    }
    return NULL;
}

/* ---- plugins ---- */

Plugin * elektraPluginExport (const char * name, ...)
{
    Plugin * plugin = need (calloc (1, sizeof (*plugin)));
    plugin->name = name;
    va_list arguments;
    va_start (arguments, name);
    for (int tag = va_arg (arguments, int); tag; tag = va_arg (arguments, int))
    {
        switch (tag)
        {
        case ELEKTRA_PLUGIN_OPEN:
            plugin->open = va_arg (arguments, int (*) (Plugin *, Key *));
            break;
        case ELEKTRA_PLUGIN_CLOSE:
            plugin->close = va_arg (arguments, int (*) (Plugin *, Key *));
            break;
        case ELEKTRA_PLUGIN_GET:
            plugin->get = va_arg (arguments, int (*) (Plugin *, KeySet *, Key *));
            break;
        case ELEKTRA_PLUGIN_SET:
            plugin->set = va_arg (arguments, int (*) (Plugin *, KeySet *, Key *));
            break;
        case ELEKTRA_PLUGIN_ERROR:
            plugin->error = va_arg (arguments, int (*) (Plugin *, KeySet *, Key *));
            break;
        case ELEKTRA_PLUGIN_COMMIT:
            plugin->commit = va_arg (arguments, int (*) (Plugin *, KeySet *, Key *));
            break;
        default:
            misuse ("unknown tag of elektraPluginExport");
        }
    }
    va_end (arguments);
    return plugin;
}

KeySet * elektraPluginGetConfig (Plugin * plugin)
{
    return plugin->config;
}

void elektraPluginSetData (Plugin * plugin, void * data)
{
    plugin->data = data;
}

void * elektraPluginGetData (Plugin * plugin)
{
    return plugin->data;
}

KeySet * elektraPluginGetGlobalKeySet (Plugin * plugin)
{
    return plugin->global;
}

#define PHASE "system:/elektra/kdb/backend/phase"

uint8_t elektraPluginGetPhase (Plugin * plugin)
{
    return *(const uint8_t *) keyValue (ksLookupByName (plugin->global, PHASE, 0));
}

Plugin * double_open (Plugin * (*symbol) (void), KeySet * config, Key * parent, int * status)
{
    Plugin * plugin = symbol ();
    if (!plugin) return NULL;
    plugin->config = config;
    *status = plugin->open ? plugin->open (plugin, parent) : 0;
    return plugin;
}

int double_close (Plugin * plugin, Key * parent)
{
    int status = plugin->close ? plugin->close (plugin, parent) : 0;
    ksDel (plugin->config);
    if (plugin->global) ksDel (plugin->global);
    free (plugin);
    return status;
}

void double_phase (Plugin * plugin, uint8_t phase)
{
    if (!plugin->global) plugin->global = ksNew (1, KS_END);
    Key * key = keyNew (PHASE, KEY_END);
    keySetBinary (key, &phase, sizeof (phase));
    ksAppendKey (plugin->global, key);
}

const char * double_plugin_name (Plugin * plugin)
{
    return plugin->name;
}

double_operation double_operation_of (Plugin * plugin, const char * name)
{
    if (strcmp (name, "get") == 0) return plugin->get;
    if (strcmp (name, "set") == 0) return plugin->set;
    if (strcmp (name, "commit") == 0) return plugin->commit;
    if (strcmp (name, "error") == 0) return plugin->error;
    misuse ("no such operation");
    return NULL;
}
