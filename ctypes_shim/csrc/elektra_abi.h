/*
 * The part of libelektra's binary interface that this plugin uses, declared here so that it builds where no Elektra is installed.
 *
 * Every name below is exported, with this signature, by libelektra-core.so.5 and libelektra-plugin.so.5 of Elektra 0.9.12 to 0.11.
 * The build makes two empty libraries from the two marked sections and links against them, which gives references without
 * symbol versions: one binary then binds to each of these releases. Keep one declaration a line; the build reads them.
 */
#ifndef STDIOPROC_ELEKTRA_ABI_H
#define STDIOPROC_ELEKTRA_ABI_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct _Key Key;
typedef struct _KeySet KeySet;
typedef struct _Plugin Plugin;

/* Ends the variable arguments of keyNew and ksNew. */
#define KEY_END ((void *) 0)
#define KS_END ((void *) 0)

/* What keyIsLocked is asked for. */
#define KEY_LOCK_VALUE (1 << 18)

/* Tags of elektraPluginExport, each followed by a function. */
enum
{
    ELEKTRA_PLUGIN_END = 0,
    ELEKTRA_PLUGIN_OPEN = 1,
    ELEKTRA_PLUGIN_CLOSE = 2,
    ELEKTRA_PLUGIN_GET = 4,
    ELEKTRA_PLUGIN_SET = 8,
    ELEKTRA_PLUGIN_ERROR = 16,
    ELEKTRA_PLUGIN_COMMIT = 32
};

enum
{
    ELEKTRA_PLUGIN_STATUS_ERROR = -1,
    ELEKTRA_PLUGIN_STATUS_NO_UPDATE = 0,
    ELEKTRA_PLUGIN_STATUS_SUCCESS = 1
};

/* Section: libelektra-core.so.5 */
Key * keyNew (const char * name, ...);
int keyDel (Key * key);
ssize_t keyIncRef (Key * key); /* narrower in newer releases; the result is not used */
ssize_t keyDecRef (Key * key); /* the same */
const char * keyName (const Key * key);
ssize_t keyGetNameSize (const Key * key); /* counts the final NUL */
const void * keyUnescapedName (const Key * key);
ssize_t keyGetUnescapedNameSize (const Key * key); /* counts the final NUL */
const char * keyString (const Key * key);
const void * keyValue (const Key * key);
ssize_t keyGetValueSize (const Key * key); /* counts the final NUL of a string; 1 for an empty string, 0 for a null binary */
int keyIsBinary (const Key * key);
ssize_t keySetString (Key * key, const char * value);
ssize_t keySetBinary (Key * key, const void * value, size_t size); /* NULL and 0 make a null binary */
ssize_t keySetMeta (Key * key, const char * name, const char * value); /* NULL removes */
const Key * keyGetMeta (const Key * key, const char * name);
int keyCopyMeta (Key * dest, const Key * source, const char * name); /* shares the metakey */
KeySet * keyMeta (Key * key);
int keyIsLocked (const Key * key, int what);
KeySet * ksNew (size_t alloc, ...);
int ksDel (KeySet * ks);
int ksCopy (KeySet * dest, const KeySet * source);
ssize_t ksGetSize (const KeySet * ks);
Key * ksAtCursor (const KeySet * ks, ssize_t position);
ssize_t ksAppendKey (KeySet * ks, Key * key); /* takes the key over, replaces one of the same name */
Key * ksLookupByName (KeySet * ks, const char * name, int options);
/* Section: libelektra-plugin.so.5 */
Plugin * elektraPluginExport (const char * name, ...);
KeySet * elektraPluginGetConfig (Plugin * plugin);
void elektraPluginSetData (Plugin * plugin, void * data);
void * elektraPluginGetData (Plugin * plugin);
KeySet * elektraPluginGetGlobalKeySet (Plugin * plugin);
uint8_t elektraPluginGetPhase (Plugin * plugin); /* crashes when the global keyset or its phase key is missing */
/* Section: end */

#endif
