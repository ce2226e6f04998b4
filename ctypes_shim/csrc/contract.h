/*
 * The contract: what Elektra's tools are told about the plugin, as keys below the name that they ask for.
 */
#ifndef STDIOPROC_CONTRACT_H
#define STDIOPROC_CONTRACT_H

#include "elektra_abi.h"
#include "keyset_dump.h"

/* Must be the NAME of the library file: Elektra's tools ask for the contract below it, and KDB opens by it. */
#define PLUGIN_NAME "stdioproc"
#define MODULES "system:/elektra/modules/"
#define CONTRACT_ROOT MODULES PLUGIN_NAME

/*
 * What never depends on a program. needs, provides and metadata are empty: Elektra's tools search them in every plugin. An instance
 * with a known_program, which cannot be asked, gets placements that do no harm. 0, or -1 when memory is short.
 */
int contract_append_static (KeySet * ks, const char * root, bool known_program);

/*
 * The contract that the embedding library made of the program's own one: a dump with texts below CONTRACT_ROOT, and exports/OPERATION
 * for each operation that it has. 0, or -1 when it is no such dump.
 */
int contract_append_program (KeySet * ks, const char * root, struct dump_span contract);

#endif
