#include "parent.h"

#include "report.h"

#include <stdio.h>
#include <string.h>

#define SOURCE_FILE "parent.c"

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

static void put_group (Key * parent, const struct dump_records * records, const char * group)
{
    for (size_t i = 0; i < records->meta_count; ++i)
        if (in_group (records->metas[i].name, group)) put_meta (parent, records->metas[i].name, records->metas[i].value);
}

static void put_value (Key * parent, const struct dump_key * record)
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

bool parent_merge (Key * parent, struct dump_span dump, int status, bool with_value, const char * module, struct dump_problem * problem)
{
    struct dump_records records;
    bool good = dump_read (&records, dump.data, dump.size, problem);
    if (good && (records.count != 1 || !dump_span_is (records.records[0].name, keyName (parent))))
    {
        snprintf (problem->text, sizeof (problem->text), "the reply is not about the parent key %s", keyName (parent));
        good = false;
    }
    if (good)
    {
        put_group (parent, &records, "warnings");
        /* An error that stands already stays: KDB puts one there while it rolls back. A second one came as a warning. */
        if (status == ELEKTRA_PLUGIN_STATUS_ERROR && !keyGetMeta (parent, "meta:/error"))
        {
            put_group (parent, &records, "error");
            report_complete (parent, module, SOURCE_FILE, __LINE__);
        }
        if (status != ELEKTRA_PLUGIN_STATUS_ERROR)
        {
            if (with_value && !keyIsLocked (parent, KEY_LOCK_VALUE)) put_value (parent, &records.records[0]);
            for (size_t i = 0; i < records.meta_count; ++i)
                if (!is_special (records.metas[i].name)) put_meta (parent, records.metas[i].name, records.metas[i].value);
        }
    }
    dump_records_free (&records);
    return good;
}
