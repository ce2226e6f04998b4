/*
 * libelektra-plugin-stdioproc.so: what Elektra loads.
 *
 * Everything that needs no child is answered here: opening, closing, and the contract of an instance that knows no program. The rest
 * goes as bytes to the embedding library (boot.h), and comes back as bytes.
 *
 * Rules that shape this file: open and close never fail because of a child, since one failing open makes all of KDB unusable and
 * one failing close keeps other plugins open; a keyset changes only on success; no warning is lost.
 */
#include "../include/stdioproc.h"
#include "boot.h"
#include "elektra_abi.h"
#include "keyset_dump.h"
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Must be the NAME of the library file: Elektra's tools ask for the contract below it, and KDB opens by it. */
#define PLUGIN_NAME "stdioproc"
#define MODULES "system:/elektra/modules/"
#define CONTRACT_ROOT MODULES PLUGIN_NAME

#define SOURCE_FILE "plugin.c"
#define OPERATION_COUNT 7

/* Long enough for a child's last words, which the host quotes. */
#define REASON_SIZE 4096

typedef void (*any_function) (void);

/* One opened plugin. Made at the first operation, so that opening cannot fail. */
struct instance
{
    uint64_t remote; /* what the embedding library calls it; 0: not known there */
    struct dump_buffer config;
    struct dump_buffer parent;
    struct dump_buffer data;
};

static void fail (Key * parent, const char * number, int line, const char * format, ...) __attribute__ ((format (printf, 4, 5)));

static void fail (Key * parent, const char * number, int line, const char * format, ...)
{
    char reason[REASON_SIZE];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (reason, sizeof (reason), format, arguments);
    va_end (arguments);
    report_error (parent, number, PLUGIN_NAME, SOURCE_FILE, line, reason);
}

/* ---- configuration that is looked at without Python ---- */

static const char * config_text (KeySet * config, const char * name)
{
    Key * key = config ? ksLookupByName (config, name, 0) : NULL;
    return key ? keyString (key) : NULL;
}

/* The program as the user wrote it; checked later, where an error can be reported. NULL: this instance knows none. */
static const char * program_of (KeySet * config)
{
    const char * program = config_text (config, "/app");
    return program ? program : config_text (config, "/executable");
}

static bool is_module (KeySet * config)
{
    return config_text (config, "/module") != NULL;
}

/* A way out for someone whose programs must not run, such as an administrator who repairs a system. */
static bool is_disabled (void)
{
    const char * value = getenv ("STDIOPROC_DISABLE");
    return value && *value && strcmp (value, "0") != 0;
}

/* ---- talking to the embedding library ---- */

static struct stdioproc_bytes bytes_of (const struct dump_buffer * buffer)
{
    return (struct stdioproc_bytes){ buffer->data, buffer->size };
}

static bool is_empty (struct stdioproc_bytes bytes)
{
    return bytes.size == 0;
}

/* One request under the SIGPIPE guard. NULL with the reason in why when there was nobody to answer. */
static const struct stdioproc_bridge * send_request (const struct stdioproc_request * request, struct stdioproc_reply * reply, char * why, size_t why_size)
{
    struct sigpipe_guard guard;
    *reply = (struct stdioproc_reply){ .status = ELEKTRA_PLUGIN_STATUS_ERROR };
    const struct stdioproc_bridge * bridge = boot_bridge (why, why_size);
    if (!bridge) return NULL;
    sigpipe_guard_begin (&guard);
    int sent = bridge->request (request, reply, why, why_size);
    sigpipe_guard_end (&guard);
    return sent == 0 ? bridge : NULL;
}

static void release_reply (const struct stdioproc_bridge * bridge, struct stdioproc_reply * reply)
{
    struct sigpipe_guard guard;
    sigpipe_guard_begin (&guard);
    bridge->release (reply);
    sigpipe_guard_end (&guard);
}

static void copy_text (char * out, size_t out_size, struct stdioproc_bytes bytes, const char * otherwise)
{
    if (is_empty (bytes))
        snprintf (out, out_size, "%s", otherwise);
    else
        snprintf (out, out_size, "%.*s", (int) (bytes.size < REASON_SIZE ? bytes.size : REASON_SIZE), bytes.data);
}

/* Put the error of the bridge on the key, if it sent one. */
static bool report_reply (Key * parent, const struct stdioproc_reply * reply, int line)
{
    char number[16];
    char module[128];
    char reason[REASON_SIZE];
    if (is_empty (reply->number)) return false;
    copy_text (number, sizeof (number), reply->number, REPORT_INTERNAL);
    copy_text (module, sizeof (module), reply->module, PLUGIN_NAME);
    copy_text (reason, sizeof (reason), reply->reason, "no reason was given");
    report_error (parent, number, module, SOURCE_FILE, line, reason);
    return true;
}

/* ---- instances ---- */

static struct instance * instance_of (Plugin * handle)
{
    struct instance * instance = elektraPluginGetData (handle);
    if (!instance)
    {
        instance = calloc (1, sizeof (*instance));
        if (!instance) return NULL;
        elektraPluginSetData (handle, instance);
    }
    return instance;
}

/* ---- the parent key ---- */

static bool in_group (struct dump_span name, const char * group)
{
    size_t size = strlen (group);
    return dump_span_starts (name, group) && (name.size == size || name.data[size] == '/');
}

/* Metadata that follows rules of its own. */
static bool is_special (struct dump_span name)
{
    return dump_span_is (name, "binary") || in_group (name, "error") || in_group (name, "warnings") || in_group (name, "internal/stdioproc");
}

static void put_meta (Key * parent, struct dump_span name, struct dump_span value)
{
    struct dump_buffer full = { 0 };
    struct dump_buffer text = { 0 };
    bool made = dump_buffer_append (&full, "meta:/", 6) && dump_buffer_append (&full, name.data, name.size) && dump_buffer_append (&full, "", 1);
    const char * new_text = dump_text (&text, value);
    if (made && new_text)
    {
        const Key * old = keyGetMeta (parent, full.data);
        if (!old || strcmp (keyString (old), new_text) != 0) keySetMeta (parent, full.data, new_text);
    }
    dump_buffer_free (&full);
    dump_buffer_free (&text);
}

/* True when the reply's error is not the one that the parent key already had. */
static bool brings_another_error (Key * parent, const struct dump_records * records)
{
    for (size_t i = 0; i < records->meta_count; ++i)
    {
        const struct dump_meta * meta = &records->metas[i];
        struct dump_buffer full = { 0 };
        bool other = false;
        if (in_group (meta->name, "error") && dump_buffer_append (&full, "meta:/", 6) && dump_buffer_append (&full, meta->name.data, meta->name.size) &&
            dump_buffer_append (&full, "", 1))
        {
            const Key * old = keyGetMeta (parent, full.data);
            other = !old || strlen (keyString (old)) != meta->value.size || memcmp (keyString (old), meta->value.data, meta->value.size) != 0;
        }
        dump_buffer_free (&full);
        if (other) return true;
    }
    return false;
}

static void put_group (Key * parent, const struct dump_records * records, const char * group)
{
    for (size_t i = 0; i < records->meta_count; ++i)
        if (in_group (records->metas[i].name, group)) put_meta (parent, records->metas[i].name, records->metas[i].value);
}

/* An error stands already (KDB puts one there while it rolls back): what the child says besides becomes a warning. */
static void put_second_error (Key * parent, const struct dump_records * records, const char * module)
{
    Key * scratch = keyNew (keyName (parent), KEY_END);
    if (!scratch) return;
    keySetString (scratch, keyString (parent));
    put_group (scratch, records, "error");
    report_as_warning (parent, scratch, module, SOURCE_FILE, __LINE__);
    keyDel (scratch);
}

static void put_value (Key * parent, const struct dump_record * record)
{
    struct dump_buffer text = { 0 };
    if (record->binary)
    {
        keySetBinary (parent, record->value.size ? record->value.data : NULL, record->value.size);
    }
    else
    {
        const char * value = dump_text (&text, record->value);
        if (value && (keyIsBinary (parent) == 1 || strcmp (keyString (parent), value) != 0)) keySetString (parent, value);
    }
    dump_buffer_free (&text);
}

/* What a reply may change on the parent key. False: the reply is not about this key. */
static bool merge_parent (Key * parent, const struct stdioproc_reply * reply, bool with_value, struct dump_problem * problem)
{
    struct dump_records records;
    char module[128];
    bool good = dump_read (&records, reply->parent.data, reply->parent.size, problem);
    if (good && (records.count != 1 || !dump_span_is (records.records[0].name, keyName (parent))))
    {
        snprintf (problem->text, sizeof (problem->text), "the reply is not about the parent key %s", keyName (parent));
        good = false;
    }
    if (good)
    {
        copy_text (module, sizeof (module), reply->module, PLUGIN_NAME);
        bool had_error = keyGetMeta (parent, "meta:/error") != NULL;
        put_group (parent, &records, "warnings");
        if (reply->status == ELEKTRA_PLUGIN_STATUS_ERROR && is_empty (reply->number))
        {
            if (!had_error)
            {
                put_group (parent, &records, "error");
                report_complete (parent, module, SOURCE_FILE, __LINE__);
            }
            else if (brings_another_error (parent, &records))
            {
                put_second_error (parent, &records, module);
            }
        }
        if (reply->status != ELEKTRA_PLUGIN_STATUS_ERROR)
        {
            if (with_value && !keyIsLocked (parent, KEY_LOCK_VALUE)) put_value (parent, &records.records[0]);
            for (size_t i = 0; i < records.meta_count; ++i)
                if (!is_special (records.metas[i].name)) put_meta (parent, records.metas[i].name, records.metas[i].value);
        }
    }
    dump_records_free (&records);
    return good;
}

/* ---- operations ---- */

enum operation
{
    OPERATION_GET,
    OPERATION_SET,
    OPERATION_COMMIT,
    OPERATION_ERROR
};

static const char * const operation_words[] = { "get", "set", "commit", "error" };

/* Elektra's phases (0.9.12 and later) as the placement words that a plugin knows. NULL: not known. */
static const char * phase_of (Plugin * handle, enum operation operation)
{
    static const struct
    {
        uint8_t phase;
        const char * words[4]; /* get, set, commit, error */
    } table[] = { { 0x01, { "getresolver", "setresolver", NULL, NULL } },   { 0x71, { "pregetstorage", "presetstorage", NULL, NULL } },
                  { 0x78, { "getstorage", "setstorage", NULL, NULL } },     { 0x7F, { "postgetstorage", NULL, NULL, NULL } },
                  { 0xE1, { NULL, NULL, "precommit", NULL } },              { 0xE8, { NULL, NULL, "commit", NULL } },
                  { 0xEF, { NULL, NULL, "postcommit", NULL } },             { 0xF1, { NULL, NULL, NULL, "prerollback" } },
                  { 0xF8, { NULL, NULL, NULL, "rollback" } },               { 0xFF, { NULL, NULL, NULL, "postrollback" } } };
    KeySet * global = elektraPluginGetGlobalKeySet (handle);
    Key * key = global ? ksLookupByName (global, "system:/elektra/kdb/backend/phase", 0) : NULL;
    if (!key || !keyValue (key)) return NULL;
    uint8_t phase = elektraPluginGetPhase (handle);
    for (size_t i = 0; i < sizeof (table) / sizeof (*table); ++i)
        if (table[i].phase == phase) return table[i].words[operation];
    return NULL;
}

static bool write_request (struct instance * instance, Plugin * handle, KeySet * ks, Key * parent)
{
    struct dump_problem problem;
    bool written = dump_write_key (&instance->parent, parent, &problem) && dump_write_keyset (&instance->data, ks, &problem);
    if (written && !instance->remote) written = dump_write_keyset (&instance->config, elektraPluginGetConfig (handle), &problem);
    if (!written) fail (parent, REPORT_INTERFACE, __LINE__, "these keys cannot be handed to the program: %s", problem.text);
    return written;
}

/* Apply a reply: data only on success, so that a failure leaves the keyset as it was. */
static int take_reply (const struct instance * instance, const struct stdioproc_reply * reply, KeySet * ks, Key * parent, enum operation operation)
{
    struct dump_problem problem = { "" };
    int status = reply->status;
    bool with_value = operation == OPERATION_GET || operation == OPERATION_SET;
    report_reply (parent, reply, __LINE__);
    /* The same bytes mean that the child changed nothing. */
    bool same = reply->data.size == instance->data.size && reply->data.size && memcmp (reply->data.data, instance->data.data, reply->data.size) == 0;
    if (status == ELEKTRA_PLUGIN_STATUS_SUCCESS && !is_empty (reply->data) && !same)
    {
        if (!dump_apply (reply->data.data, reply->data.size, ks, parent, &problem))
        {
            fail (parent, REPORT_MISBEHAVIOR, __LINE__, "the keys that the program returned cannot be taken over: %s", problem.text);
            return ELEKTRA_PLUGIN_STATUS_ERROR;
        }
    }
    if (!is_empty (reply->parent) && !merge_parent (parent, reply, with_value, &problem))
    {
        fail (parent, REPORT_MISBEHAVIOR, __LINE__, "%s", problem.text);
        return ELEKTRA_PLUGIN_STATUS_ERROR;
    }
    if (status == ELEKTRA_PLUGIN_STATUS_ERROR && !keyGetMeta (parent, "meta:/error")) report_complete (parent, PLUGIN_NAME, SOURCE_FILE, __LINE__);
    return status;
}

static int operate (Plugin * handle, KeySet * ks, Key * parent, enum operation operation)
{
    char why[REASON_SIZE] = "";
    struct stdioproc_reply reply;
    KeySet * config = elektraPluginGetConfig (handle);
    const char * program = program_of (config);
    if (!program)
    {
        /* The instance that KDB keeps for the contract is never asked for anything else. */
        if (is_module (config)) return ELEKTRA_PLUGIN_STATUS_NO_UPDATE;
        fail (parent, REPORT_INSTALLATION, __LINE__, "no program is configured for this mountpoint; mount it again with app=/absolute/path/of/the/program");
        return ELEKTRA_PLUGIN_STATUS_ERROR;
    }
    if (is_disabled ())
    {
        fail (parent, REPORT_INSTALLATION, __LINE__, "%s was not asked, because STDIOPROC_DISABLE is set in the environment; nothing was read or written", program);
        return ELEKTRA_PLUGIN_STATUS_ERROR;
    }
    struct instance * instance = instance_of (handle);
    if (!instance)
    {
        fail (parent, REPORT_OUT_OF_MEMORY, __LINE__, "out of memory");
        return ELEKTRA_PLUGIN_STATUS_ERROR;
    }
    if (!write_request (instance, handle, ks, parent)) return ELEKTRA_PLUGIN_STATUS_ERROR;
    struct stdioproc_request request = {
        .kind = STDIOPROC_CALL,
        .instance = instance->remote,
        .operation = operation_words[operation],
        .phase = phase_of (handle, operation),
        .config = bytes_of (&instance->config),
        .parent = bytes_of (&instance->parent),
        .data = bytes_of (&instance->data),
    };
    const struct stdioproc_bridge * bridge = send_request (&request, &reply, why, sizeof (why));
    if (!bridge)
    {
        fail (parent, REPORT_INSTALLATION, __LINE__, "%s was not started: %s", program, why);
        return ELEKTRA_PLUGIN_STATUS_ERROR;
    }
    instance->remote = reply.instance;
    int status = take_reply (instance, &reply, ks, parent, operation);
    release_reply (bridge, &reply);
    return status;
}

/* ---- contract ---- */

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

/* What never depends on a program. needs, provides and metadata are empty: Elektra's tools search them in every plugin. */
static int append_static_contract (KeySet * ks, const char * root, bool known_program)
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

/* The contract that the embedding library made of the program's own one: texts, and exports/OPERATION for each that it has. */
static int append_child_contract (KeySet * ks, const char * root, struct stdioproc_bytes contract)
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

/* True when the program could be asked. Its failure is not reported here: the tools drop it, and checkconf tells it. */
static bool append_program_contract (Plugin * handle, KeySet * ks, const char * root)
{
    char why[REASON_SIZE];
    struct dump_problem problem;
    struct dump_buffer config = { 0 };
    struct stdioproc_reply reply;
    bool done = false;
    if (dump_write_keyset (&config, elektraPluginGetConfig (handle), &problem))
    {
        struct stdioproc_request request = { .kind = STDIOPROC_CONTRACT, .config = bytes_of (&config) };
        const struct stdioproc_bridge * bridge = send_request (&request, &reply, why, sizeof (why));
        if (bridge)
        {
            done = reply.status == ELEKTRA_PLUGIN_STATUS_SUCCESS && append_child_contract (ks, root, reply.data) == 0;
            release_reply (bridge, &reply);
        }
    }
    dump_buffer_free (&config);
    return done;
}

static int get_contract (Plugin * handle, KeySet * ks, Key * parent)
{
    const char * root = keyName (parent);
    bool known_program = program_of (elektraPluginGetConfig (handle)) != NULL;
    if (known_program && !is_disabled () && append_program_contract (handle, ks, root)) return ELEKTRA_PLUGIN_STATUS_SUCCESS;
    if (append_static_contract (ks, root, known_program) == 0) return ELEKTRA_PLUGIN_STATUS_SUCCESS;
    fail (parent, REPORT_OUT_OF_MEMORY, __LINE__, "out of memory");
    return ELEKTRA_PLUGIN_STATUS_ERROR;
}

static bool asks_for_contract (const Key * parent)
{
    const char * name = keyName (parent);
    size_t size = sizeof (MODULES) - 1;
    return strncmp (name, MODULES, size) == 0 && name[size] && !strchr (name + size, '/');
}

/* ---- exported functions ---- */

#define EXPORTED __attribute__ ((visibility ("default")))
/* The draft specification says Stdprocio, the plugin's own name is Stdioproc; both are the same function. */
#define ALSO(name) __attribute__ ((visibility ("default"), alias (name)))

EXPORTED int elektraStdprocioOpen (Plugin * handle, Key * errorKey)
{
    KeySet * config = elektraPluginGetConfig (handle);
    const char * start = config_text (config, "/start");
    if (!start || strcmp (start, "eager") != 0 || !program_of (config) || is_module (config) || is_disabled ()) return ELEKTRA_PLUGIN_STATUS_SUCCESS;

    /* What goes wrong here is a warning; the first operation tries again and reports it as an error. */
    char why[REASON_SIZE] = "";
    struct dump_problem problem;
    struct stdioproc_reply reply;
    struct instance * instance = instance_of (handle);
    if (!instance || !dump_write_keyset (&instance->config, config, &problem)) return ELEKTRA_PLUGIN_STATUS_SUCCESS;
    struct stdioproc_request request = { .kind = STDIOPROC_START, .instance = instance->remote, .config = bytes_of (&instance->config) };
    const struct stdioproc_bridge * bridge = send_request (&request, &reply, why, sizeof (why));
    if (!bridge)
    {
        report_warning (errorKey, REPORT_INSTALLATION, PLUGIN_NAME, SOURCE_FILE, __LINE__, why);
        return ELEKTRA_PLUGIN_STATUS_SUCCESS;
    }
    instance->remote = reply.instance;
    if (!is_empty (reply.number))
    {
        char number[16];
        copy_text (number, sizeof (number), reply.number, REPORT_INTERNAL);
        copy_text (why, sizeof (why), reply.reason, "no reason was given");
        report_warning (errorKey, number, PLUGIN_NAME, SOURCE_FILE, __LINE__, why);
    }
    release_reply (bridge, &reply);
    return ELEKTRA_PLUGIN_STATUS_SUCCESS;
}

EXPORTED int elektraStdprocioClose (Plugin * handle, Key * errorKey)
{
    (void) errorKey; /* may be NULL, and what a child does while it ends is nobody's error any more */
    char why[REASON_SIZE];
    struct stdioproc_reply reply;
    struct instance * instance = elektraPluginGetData (handle);
    if (!instance) return ELEKTRA_PLUGIN_STATUS_SUCCESS;
    if (instance->remote)
    {
        struct stdioproc_request request = { .kind = STDIOPROC_END, .instance = instance->remote };
        const struct stdioproc_bridge * bridge = send_request (&request, &reply, why, sizeof (why));
        if (bridge) release_reply (bridge, &reply);
    }
    dump_buffer_free (&instance->config);
    dump_buffer_free (&instance->parent);
    dump_buffer_free (&instance->data);
    free (instance);
    elektraPluginSetData (handle, NULL);
    return ELEKTRA_PLUGIN_STATUS_SUCCESS;
}

EXPORTED int elektraStdprocioGet (Plugin * handle, KeySet * returned, Key * parentKey)
{
    if (asks_for_contract (parentKey)) return get_contract (handle, returned, parentKey);
    return operate (handle, returned, parentKey, OPERATION_GET);
}

EXPORTED int elektraStdprocioSet (Plugin * handle, KeySet * returned, Key * parentKey)
{
    return operate (handle, returned, parentKey, OPERATION_SET);
}

EXPORTED int elektraStdprocioCommit (Plugin * handle, KeySet * returned, Key * parentKey)
{
    return operate (handle, returned, parentKey, OPERATION_COMMIT);
}

EXPORTED int elektraStdprocioError (Plugin * handle, KeySet * returned, Key * parentKey)
{
    return operate (handle, returned, parentKey, OPERATION_ERROR);
}

EXPORTED int elektraStdprocioCheckConf (Key * errorKey, KeySet * config)
{
    char why[REASON_SIZE] = "";
    struct dump_problem problem = { "" };
    struct dump_buffer config_bytes = { 0 };
    struct dump_buffer parent_bytes = { 0 };
    struct stdioproc_reply reply;
    int status = ELEKTRA_PLUGIN_STATUS_ERROR;
    const char * program = program_of (config);
    if (!program)
    {
        fail (errorKey, REPORT_INSTALLATION, __LINE__, "stdioproc needs a program: add app=/absolute/path/of/the/program after the plugin's name");
        return status;
    }
    if (is_disabled ())
    {
        fail (errorKey, REPORT_INSTALLATION, __LINE__, "%s cannot be checked, because STDIOPROC_DISABLE is set in the environment; unset it to mount", program);
        return status;
    }
    if (!dump_write_keyset (&config_bytes, config, &problem) || !dump_write_key (&parent_bytes, errorKey, &problem))
    {
        fail (errorKey, REPORT_INTERFACE, __LINE__, "the configuration cannot be handed to the program: %s", problem.text);
    }
    else
    {
        struct stdioproc_request request = { .kind = STDIOPROC_CHECKCONF, .config = bytes_of (&config_bytes), .parent = bytes_of (&parent_bytes) };
        const struct stdioproc_bridge * bridge = send_request (&request, &reply, why, sizeof (why));
        if (!bridge)
        {
            fail (errorKey, REPORT_INSTALLATION, __LINE__, "%s was not started: %s", program, why);
        }
        else
        {
            status = reply.status;
            report_reply (errorKey, &reply, __LINE__);
            bool taken = is_empty (reply.parent) || merge_parent (errorKey, &reply, false, &problem);
            if (taken && status == ELEKTRA_PLUGIN_STATUS_SUCCESS && !is_empty (reply.data))
                taken = dump_apply (reply.data.data, reply.data.size, config, NULL, &problem);
            if (!taken)
            {
                status = ELEKTRA_PLUGIN_STATUS_ERROR;
                fail (errorKey, REPORT_MISBEHAVIOR, __LINE__, "%s", problem.text);
            }
            if (status == ELEKTRA_PLUGIN_STATUS_ERROR) report_complete (errorKey, PLUGIN_NAME, SOURCE_FILE, __LINE__);
            release_reply (bridge, &reply);
        }
    }
    dump_buffer_free (&config_bytes);
    dump_buffer_free (&parent_bytes);
    return status;
}

ALSO ("elektraStdprocioOpen") int elektraStdioprocOpen (Plugin * handle, Key * errorKey);
ALSO ("elektraStdprocioClose") int elektraStdioprocClose (Plugin * handle, Key * errorKey);
ALSO ("elektraStdprocioGet") int elektraStdioprocGet (Plugin * handle, KeySet * returned, Key * parentKey);
ALSO ("elektraStdprocioSet") int elektraStdioprocSet (Plugin * handle, KeySet * returned, Key * parentKey);
ALSO ("elektraStdprocioCommit") int elektraStdioprocCommit (Plugin * handle, KeySet * returned, Key * parentKey);
ALSO ("elektraStdprocioError") int elektraStdioprocError (Plugin * handle, KeySet * returned, Key * parentKey);
ALSO ("elektraStdprocioCheckConf") int elektraStdioprocCheckConf (Key * errorKey, KeySet * config);

EXPORTED Plugin * elektraPluginSymbol (void)
{
    return elektraPluginExport (PLUGIN_NAME, ELEKTRA_PLUGIN_OPEN, &elektraStdprocioOpen, ELEKTRA_PLUGIN_CLOSE, &elektraStdprocioClose,
                                ELEKTRA_PLUGIN_GET, &elektraStdprocioGet, ELEKTRA_PLUGIN_SET, &elektraStdprocioSet, ELEKTRA_PLUGIN_COMMIT,
                                &elektraStdprocioCommit, ELEKTRA_PLUGIN_ERROR, &elektraStdprocioError, ELEKTRA_PLUGIN_END);
}
