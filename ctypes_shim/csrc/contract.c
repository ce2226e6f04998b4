#include "contract.h"

#include "../include/stdioproc.h"
#include "keyset_dump.h"

#include <stdio.h>
#include <string.h>

typedef void (*any_function) (void);

#define OPERATION_COUNT 7

static int append_text (KeySet * ks, const char * root, const char * below, const char * value)
{
    char name[512];
    int size = snprintf (name, sizeof (name), "%s%s", root, below);
    Key * key = size > 0 && (size_t) size < sizeof (name) ? keyNew (name, KEY_END) : NULL;
    if (!key) return -1;
    keySetString (key, value);
    return ksAppendKey (ks, key) < 0 ? -1 : 0;
}

static any_function function_of (const char * word)
{
    static const struct
    {
        const char * word;
        any_function function;
    } functions[OPERATION_COUNT] = { { "open", (any_function) elektraStdprocioOpen },     { "close", (any_function) elektraStdprocioClose },
                                     { "get", (any_function) elektraStdprocioGet },       { "set", (any_function) elektraStdprocioSet },
                                     { "commit", (any_function) elektraStdprocioCommit }, { "error", (any_function) elektraStdprocioError },
                                     { "checkconf", (any_function) elektraStdprocioCheckConf } };
    for (size_t i = 0; i < OPERATION_COUNT; ++i)
        if (strcmp (functions[i].word, word) == 0) return functions[i].function;
    return NULL;
}

/* Elektra's tools want the function itself as a binary value, and check that it is the registered one. */
static int append_export (KeySet * ks, const char * root, const char * word)
{
    char name[512];
    any_function function = function_of (word);
    int size = snprintf (name, sizeof (name), "%s/exports/%s", root, word);
    Key * key = function && size > 0 && (size_t) size < sizeof (name) ? keyNew (name, KEY_END) : NULL;
    if (!key) return -1;
    keySetBinary (key, &function, sizeof (function));
    return ksAppendKey (ks, key) < 0 ? -1 : 0;
}

#define EVERY_PLACEMENT                                                                                                                    \
    "prerollback rollback postrollback getresolver pregetstorage getstorage procgetstorage postgetstorage setresolver presetstorage "     \
    "setstorage precommit commit postcommit"

int contract_append_static (KeySet * ks, const char * root, bool known_program)
{
    static const char * const words[OPERATION_COUNT] = { "open", "close", "get", "set", "commit", "error", "checkconf" };
    static const char * const infos[][2] = {
        { "", "stdioproc runs any program that reads standard input and writes standard output as a plugin" },
        { "/author", "stdioproc authors <stdioproc@users.noreply.github.com>" },
        { "/licence", "BSD" },
        { "/description", "delegates every operation of a plugin to a program of its own" },
        { "/needs", "" },
        { "/provides", "" },
        { "/recommends", "" },
        { "/metadata", "" },
        { "/status", "maintained unittest shelltest" },
        { "/version", "1" },
    };
    int failed = append_text (ks, root, "", "stdioproc plugin waits for your orders");
    failed |= append_text (ks, root, "/exports", "");
    for (size_t i = 0; i < OPERATION_COUNT; ++i)
        failed |= append_export (ks, root, words[i]);
    for (size_t i = 0; i < sizeof (infos) / sizeof (*infos); ++i)
    {
        char name[64];
        snprintf (name, sizeof (name), "/infos%s", infos[i][0]);
        failed |= append_text (ks, root, name, infos[i][1]);
    }
    /* A program that cannot be asked gets harmless ones: checkconf runs before they are used, and refuses with the reason. */
    failed |= append_text (ks, root, "/infos/placements", known_program ? "postgetstorage presetstorage" : EVERY_PLACEMENT);
    return failed;
}

int contract_append_program (KeySet * ks, const char * root, struct dump_span contract)
{
    struct dump_problem problem;
    struct dump_records records;
    struct dump_buffer name = { 0 };
    struct dump_buffer value = { 0 };
    static const size_t skip = sizeof (CONTRACT_ROOT) - 1;
    int failed = dump_read (&records, contract.data, contract.size, &problem) ? 0 : -1;
    for (size_t i = 0; !failed && i < records.count; ++i)
    {
        struct dump_span full = records.records[i].name;
        if (!dump_span_starts (full, CONTRACT_ROOT)) continue;
        const char * below = dump_text (&name, (struct dump_span){ full.data + skip, full.size - skip });
        const char * text = dump_text (&value, records.records[i].value);
        if (!below || !text)
            failed = -1;
        else if (strncmp (below, "/exports/", 9) == 0)
            failed = append_export (ks, root, below + 9);
        else
            failed = append_text (ks, root, below, text);
    }
    dump_buffer_free (&name);
    dump_buffer_free (&value);
    dump_records_free (&records);
    return failed;
}
