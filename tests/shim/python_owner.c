/*
 * A host that runs a Python of its own, as a plugin beside ours might, and ends it while our plugin is still open.
 *
 * Usage: python_owner PLUGIN PROGRAM [ARG]. Prints the status and the reason of two operations, before and after Py_Finalize.
 */
#include <Python.h>

#include "elektra_double.h"

#include <dlfcn.h>
#include <stdio.h>

static void get (Plugin * plugin, KeySet * ks)
{
    Key * parent = keyNew ("user:/tests/shim", KEY_END);
    int status = double_operation_of (plugin, "get") (plugin, ks, parent);
    const Key * reason = keyGetMeta (parent, "error/reason");
    printf ("get %d %s\n", status, reason ? keyString (reason) : "");
    keyDel (parent);
}

static void configure (KeySet * config, const char * name, const char * value)
{
    Key * key = keyNew (name, KEY_END);
    keySetString (key, value);
    ksAppendKey (config, key);
}

int main (int argc, char ** argv)
{
    int status = 0;
    Plugin * (*factory) (void);
    if (argc < 3) return 64;
    Py_InitializeEx (0);
    PyThreadState * state = PyEval_SaveThread ();
    void * library = dlopen (argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) return 1;
    *(void **) &factory = dlsym (library, "elektraPluginSymbol");
    KeySet * config = ksNew (2, KS_END);
    KeySet * ks = ksNew (0, KS_END);
    Key * parent = keyNew ("/", KEY_END);
    configure (config, "user:/app", argv[2]);
    if (argc > 3) configure (config, "user:/args/#0", argv[3]);
    if (argc > 4) configure (config, "user:/args/#1", argv[4]);
    Plugin * plugin = double_open (factory, config, parent, &status);
    get (plugin, ks);
    PyEval_RestoreThread (state);
    Py_Finalize ();
    get (plugin, ks);
    printf ("close %d\n", double_close (plugin, parent));
    keyDel (parent);
    ksDel (ks);
    return 0;
}
