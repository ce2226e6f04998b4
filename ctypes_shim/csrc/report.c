#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value of meta:/error and of each warning: the names of the parts that stand below it. Elektra writes this very text. */
#define PARTS_TEXT "number description  module file line mountpoint configfile reason"

#define LAST_WARNING 99 /* Elektra keeps a hundred, then starts again at #0 */

struct report
{
    const char * number;
    const char * description;
    const char * module;
    const char * file;
    const char * line;
    const char * mountpoint;
    const char * configfile;
    const char * reason;
};

const char * report_description (const char * number)
{
    static const struct
    {
        const char * number;
        const char * description;
    } categories[] = { { REPORT_RESOURCE, "Resource" },
                       { REPORT_OUT_OF_MEMORY, "Out of Memory" },
                       { REPORT_INSTALLATION, "Installation" },
                       { REPORT_INTERNAL, "Internal" },
                       { REPORT_INTERFACE, "Interface" },
                       { REPORT_MISBEHAVIOR, "Plugin Misbehavior" },
                       { "C02000", "Conflict" },
                       { "C03100", "Validation Syntactic" },
                       { "C03200", "Validation Semantic" } };
    for (size_t i = 0; i < sizeof (categories) / sizeof (*categories); ++i)
        if (strcmp (categories[i].number, number) == 0) return categories[i].description;
    return "Unknown";
}

static void put_part (Key * key, const char * root, const char * part, const char * text)
{
    char name[64];
    snprintf (name, sizeof (name), "meta:/%s/%s", root, part);
    keySetMeta (key, name, text);
}

static void put (Key * key, const char * root, const struct report * report)
{
    char name[64];
    snprintf (name, sizeof (name), "meta:/%s", root);
    keySetMeta (key, name, PARTS_TEXT);
    put_part (key, root, "number", report->number);
    put_part (key, root, "description", report->description);
    put_part (key, root, "module", report->module);
    put_part (key, root, "file", report->file);
    put_part (key, root, "line", report->line);
    put_part (key, root, "mountpoint", report->mountpoint);
    put_part (key, root, "configfile", report->configfile);
    put_part (key, root, "reason", report->reason);
}

/* "#7" is 7, "#_12" is 12; anything else counts as no warning yet. */
static int warning_index (const char * text)
{
    if (text[0] != '#') return -1;
    const char * digits = text[1] == '_' ? text + 2 : text + 1;
    char * end;
    long index = strtol (digits, &end, 10);
    return end == digits || *end || index < 0 || index > LAST_WARNING ? -1 : (int) index;
}

static void put_warning (Key * key, const struct report * report)
{
    char last[16];
    char root[32];
    const Key * count = keyGetMeta (key, "meta:/warnings");
    int index = (count ? warning_index (keyString (count)) : -1) + 1;
    if (index > LAST_WARNING) index = 0;
    snprintf (last, sizeof (last), index < 10 ? "#%d" : "#_%d", index);
    snprintf (root, sizeof (root), "warnings/%s", last);
    keySetMeta (key, "meta:/warnings", last);
    put (key, root, report);
}

void report_warning (Key * key, const char * number, const char * module, const char * file, int line, const char * reason)
{
    char line_text[16];
    if (!key) return;
    snprintf (line_text, sizeof (line_text), "%d", line);
    struct report report = { number, report_description (number), module, file, line_text, keyName (key), keyString (key), reason };
    put_warning (key, &report);
}

void report_error (Key * key, const char * number, const char * module, const char * file, int line, const char * reason)
{
    char line_text[16];
    if (!key) return;
    if (keyGetMeta (key, "meta:/error"))
    {
        report_warning (key, number, module, file, line, reason);
        return;
    }
    snprintf (line_text, sizeof (line_text), "%d", line);
    struct report report = { number, report_description (number), module, file, line_text, keyName (key), keyString (key), reason };
    put (key, "error", &report);
}

static const char * part_or (Key * key, const char * part, const char * fallback)
{
    char name[64];
    snprintf (name, sizeof (name), "meta:/error/%s", part);
    const Key * meta = keyGetMeta (key, name);
    return meta && *keyString (meta) ? keyString (meta) : fallback;
}

static struct report read_error (Key * key, const char * module, const char * file, const char * line)
{
    const char * number = part_or (key, "number", REPORT_INTERFACE);
    return (struct report){ number,
                            part_or (key, "description", report_description (number)),
                            part_or (key, "module", module),
                            part_or (key, "file", file),
                            part_or (key, "line", line),
                            part_or (key, "mountpoint", keyName (key)),
                            part_or (key, "configfile", keyString (key)),
                            part_or (key, "reason", "the program reported an error without a reason") };
}

void report_complete (Key * key, const char * module, const char * file, int line)
{
    static const char * const parts[] = { "number", "description", "module", "file", "line", "mountpoint", "configfile", "reason" };
    char line_text[16];
    if (!key) return;
    snprintf (line_text, sizeof (line_text), "%d", line);
    struct report report = read_error (key, module, file, line_text);
    const char * const texts[] = { report.number, report.description, report.module,     report.file,
                                   report.line,   report.mountpoint,  report.configfile, report.reason };
    if (!keyGetMeta (key, "meta:/error")) keySetMeta (key, "meta:/error", PARTS_TEXT);
    for (size_t i = 0; i < sizeof (parts) / sizeof (*parts); ++i)
    {
        const char * present = part_or (key, parts[i], NULL);
        /* Setting it again would free the text that is to be set. */
        if (!present) put_part (key, "error", parts[i], texts[i]);
    }
}
