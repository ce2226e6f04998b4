/* What the C host of the tests needs beyond Elektra's own functions. Only the test double has these. */
#ifndef TESTS_SHIM_ELEKTRA_DOUBLE_H
#define TESTS_SHIM_ELEKTRA_DOUBLE_H

#include "elektra_abi.h"

typedef int (*double_operation) (Plugin *, KeySet *, Key *);

/* As elektraPluginOpen does it: config belongs to the plugin from here on. */
Plugin * double_open (Plugin * (*symbol) (void), KeySet * config, Key * parent, int * status);
int double_close (Plugin * plugin, Key * parent);
/* As Elektra's KDB does before each call. Without it a plugin has no global keyset, as in Elektra's tools. */
void double_phase (Plugin * plugin, uint8_t phase);
const char * double_plugin_name (Plugin * plugin);
double_operation double_operation_of (Plugin * plugin, const char * name);

/* Any bytes as value, whatever the key's type says: what only broken plugins do. */
void double_set_raw (Key * key, const void * value, size_t size);
void double_lock (Key * key, int what);
/* Keys that were made and not freed yet. */
long double_keys_alive (void);

#endif
