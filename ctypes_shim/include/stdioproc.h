/*
 * The functions that libelektra-plugin-stdioproc.so exports, for C hosts that call them by name.
 *
 * Elektra itself needs only elektraPluginSymbol and gets the rest from the plugin that it returns. A host that uses these functions
 * opens the plugin with Elektra (elektraPluginOpen), so that its configuration is attached, and passes the handle.
 * Each function stands under the name of the draft specification (Stdprocio) and under the plugin's own (Stdioproc).
 *
 * Results: 1 success, 0 nothing to do, -1 error with the metadata meta:/error/... on the parent key. open and close never return -1.
 * One handle may be used by one thread at a time; different handles by different threads.
 */
#ifndef STDIOPROC_H
#define STDIOPROC_H

#ifdef __cplusplus
extern "C" {
#endif

struct _Key;
struct _KeySet;
struct _Plugin;

struct _Plugin * elektraPluginSymbol (void);

int elektraStdprocioOpen (struct _Plugin * handle, struct _Key * errorKey);
int elektraStdprocioClose (struct _Plugin * handle, struct _Key * errorKey);
int elektraStdprocioGet (struct _Plugin * handle, struct _KeySet * returned, struct _Key * parentKey);
int elektraStdprocioSet (struct _Plugin * handle, struct _KeySet * returned, struct _Key * parentKey);
int elektraStdprocioCommit (struct _Plugin * handle, struct _KeySet * returned, struct _Key * parentKey);
int elektraStdprocioError (struct _Plugin * handle, struct _KeySet * returned, struct _Key * parentKey);
int elektraStdprocioCheckConf (struct _Key * errorKey, struct _KeySet * config);

int elektraStdioprocOpen (struct _Plugin * handle, struct _Key * errorKey);
int elektraStdioprocClose (struct _Plugin * handle, struct _Key * errorKey);
int elektraStdioprocGet (struct _Plugin * handle, struct _KeySet * returned, struct _Key * parentKey);
int elektraStdioprocSet (struct _Plugin * handle, struct _KeySet * returned, struct _Key * parentKey);
int elektraStdioprocCommit (struct _Plugin * handle, struct _KeySet * returned, struct _Key * parentKey);
int elektraStdioprocError (struct _Plugin * handle, struct _KeySet * returned, struct _Key * parentKey);
int elektraStdioprocCheckConf (struct _Key * errorKey, struct _KeySet * config);

#ifdef __cplusplus
}
#endif

#endif
