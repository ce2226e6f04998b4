/*
 * What a reply may change on the parent key: its value where it is not locked, its metadata, one error, more warnings.
 */
#ifndef STDIOPROC_PARENT_H
#define STDIOPROC_PARENT_H

#include "elektra_abi.h"
#include "keyset_dump.h"

/*
 * dump holds the parent key as it came back. The value is taken only with_value, and nothing but an error and warnings when status
 * says that the operation failed. module fills in what an error leaves out. False with the reason when dump is not about this key.
 */
bool parent_merge (Key * parent, struct dump_span dump, int status, bool with_value, const char * module, struct dump_problem * problem);

#endif
