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
#include "contract.h"
#include "elektra_abi.h"
#include "keyset_dump.h"
#include "parent.h"
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCE_FILE "plugin.c"

/* Long enough for a child's last words, which the host quotes. */
#define REASON_SIZE 4096

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
    return value && strcmp (value, "1") == 0;
}

/* ---- talking to the embedding library ---- */

static struct stdioproc_bytes bytes_of (const struct dump_buffer * buffer)
{
    return (struct stdioproc_bytes){ buffer->data, buffer->size };
}

static struct dump_span span_of (struct stdioproc_bytes bytes)
{
    return (struct dump_span){ bytes.data, bytes.size };
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

/* Take over what the reply says about the parent key, if anything. */
static bool take_parent (Key * parent, const struct stdioproc_reply * reply, bool with_value, struct dump_problem * problem)
{
    char module[128];
    if (is_empty (reply->parent)) return true;
    copy_text (module, sizeof (module), reply->module, PLUGIN_NAME);
    return parent_merge (parent, span_of (reply->parent), reply->status, with_value, module, problem);
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
    if (!take_parent (parent, reply, with_value, &problem))
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
            done = reply.status == ELEKTRA_PLUGIN_STATUS_SUCCESS && contract_append_program (ks, root, span_of (reply.data)) == 0;
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
    if (contract_append_static (ks, root, known_program) == 0) return ELEKTRA_PLUGIN_STATUS_SUCCESS;
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
            bool taken = take_parent (errorKey, &reply, false, &problem);
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
