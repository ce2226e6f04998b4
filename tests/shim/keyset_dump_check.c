/*
 * Checks of keyset_dump.h on the test double. Usage: keyset_dump_check SCENARIO.
 *
 * Prints nothing and ends with 0, or says which line failed. "roundtrip" reads a dump from standard input, applies it to an empty
 * keyset, and writes that keyset to standard output, so that recorded dumps of a real Elektra can be put through from outside.
 */
#include "elektra_double.h"
#include "keyset_dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct dump_problem problem;

#define CHECK(condition)                                                                                                                   \
    do                                                                                                                                     \
    {                                                                                                                                      \
        if (!(condition))                                                                                                                  \
        {                                                                                                                                  \
            fprintf (stderr, "line %d: %s (last problem: %s)\n", __LINE__, #condition, problem.text);                                      \
            exit (1);                                                                                                                      \
        }                                                                                                                                  \
    } while (0)

static Key * string_key (const char * name, const char * value)
{
    Key * key = keyNew (name, KEY_END);
    CHECK (key);
    keySetString (key, value);
    return key;
}

static Key * binary_key (const char * name, const void * value, size_t size)
{
    Key * key = keyNew (name, KEY_END);
    CHECK (key);
    keySetBinary (key, size ? value : NULL, size);
    return key;
}

static Key * with_meta (Key * key, const char * name, const char * value)
{
    CHECK (keySetMeta (key, name, value) > 0);
    return key;
}

static KeySet * keyset (Key * a, Key * b, Key * c)
{
    KeySet * ks = ksNew (3, KS_END);
    if (a) ksAppendKey (ks, a);
    if (b) ksAppendKey (ks, b);
    if (c) ksAppendKey (ks, c);
    return ks;
}

static void expect_dump (KeySet * ks, const char * expected, size_t size)
{
    struct dump_buffer buffer = { 0 };
    CHECK (dump_write_keyset (&buffer, ks, &problem));
    if (buffer.size != size || memcmp (buffer.data, expected, size) != 0)
    {
        fwrite (buffer.data, 1, buffer.size, stderr);
        CHECK (!"the dump above is not the expected one");
    }
    dump_buffer_free (&buffer);
}

#define EXPECT_DUMP(ks, text) expect_dump (ks, text, sizeof (text) - 1)
#define APPLY(ks, text) dump_apply (text, sizeof (text) - 1, ks, NULL, &problem)

static void writes_each_kind_of_value (void)
{
    KeySet * ks = keyset (string_key ("user:/b", "x\ny"), string_key ("/a", ""), binary_key ("user:/a", "\0\n", 2));
    ksAppendKey (ks, binary_key ("user:/c", NULL, 0));
    ksAppendKey (ks, string_key ("user:/a/%/\\%", "\xff"));
    EXPECT_DUMP (ks, "kdbOpen 2\n$key string 2 0\n/a\n\n"
                     "$key binary 7 2\nuser:/a\n\0\n\n$meta 6 0\nbinary\n\n"
                     "$key string 12 1\nuser:/a/%/\\%\n\xff\n"
                     "$key string 7 3\nuser:/b\nx\ny\n"
                     "$key binary 7 0\nuser:/c\n\n$meta 6 0\nbinary\n\n$end\n");
    ksDel (ks);
    ks = ksNew (0, KS_END);
    EXPECT_DUMP (ks, "kdbOpen 2\n$end\n");
    ksDel (ks);
}

static void writes_a_shared_metakey_once (void)
{
    Key * a = with_meta (string_key ("user:/a", "1"), "type", "long");
    Key * b = string_key ("user:/b", "2");
    Key * c = with_meta (string_key ("user:/c", "3"), "type", "long");
    CHECK (keyCopyMeta (b, a, "type") == 1);
    KeySet * ks = keyset (a, b, c);
    EXPECT_DUMP (ks, "kdbOpen 2\n$key string 7 1\nuser:/a\n1\n$meta 4 4\ntype\nlong\n"
                     "$key string 7 1\nuser:/b\n2\n$copymeta 7 4\nuser:/a\ntype\n"
                     "$key string 7 1\nuser:/c\n3\n$meta 4 4\ntype\nlong\n$end\n");
    ksDel (ks);
}

static void writes_many_shared_metakeys (void)
{
    KeySet * ks = ksNew (0, KS_END);
    Key * first = NULL;
    struct dump_buffer buffer = { 0 };
    struct dump_buffer again = { 0 };
    for (int i = 0; i < 2000; ++i)
    {
        char name[40];
        snprintf (name, sizeof (name), "user:/k/%04d", i);
        Key * key = with_meta (string_key (name, name), "own", name);
        if (first)
            CHECK (keyCopyMeta (key, first, "type") == 1);
        else
            first = with_meta (key, "type", "long");
        ksAppendKey (ks, key);
    }
    CHECK (dump_write_keyset (&buffer, ks, &problem));
    KeySet * copy = ksNew (0, KS_END);
    CHECK (dump_apply (buffer.data, buffer.size, copy, NULL, &problem));
    CHECK (ksGetSize (copy) == 2000);
    CHECK (keyGetMeta (ksAtCursor (copy, 0), "type") == keyGetMeta (ksAtCursor (copy, 1999), "type"));
    CHECK (dump_write_keyset (&again, copy, &problem));
    CHECK (again.size == buffer.size && memcmp (again.data, buffer.data, again.size) == 0);
    dump_buffer_free (&buffer);
    dump_buffer_free (&again);
    ksDel (copy);
    ksDel (ks);
}

static void refuses_a_string_that_holds_a_nul (void)
{
    struct dump_buffer buffer = { 0 };
    Key * inside = string_key ("user:/in\xc3\xa9side", "");
    double_set_raw (inside, "a\0b", 4);
    Key * open = string_key ("user:/open", "");
    double_set_raw (open, "ab", 2);
    Key * lone = string_key ("user:/lone", "");
    double_set_raw (lone, "a", 1);
    CHECK (!dump_write_key (&buffer, inside, &problem) && strstr (problem.text, "user:/in\\xc3\\xa9side contains a NUL byte"));
    CHECK (!dump_write_key (&buffer, open, &problem));
    CHECK (!dump_write_key (&buffer, lone, &problem));
    dump_buffer_free (&buffer);
    keyDel (inside);
    keyDel (open);
    keyDel (lone);
}

static void keeps_keys_that_come_back_unchanged (void)
{
    Key * a = with_meta (string_key ("user:/a", "1"), "type", "long");
    Key * b = with_meta (with_meta (string_key ("user:/b", "2"), "m", "x"), "n", "y");
    Key * c = binary_key ("user:/c", "\0", 1);
    CHECK (keyCopyMeta (b, a, "type") == 1);
    const Key * type = keyGetMeta (a, "type");
    const Key * m = keyGetMeta (b, "m");
    KeySet * ks = keyset (a, b, c);
    CHECK (APPLY (ks, "kdbOpen 2\n$key string 7 1\nuser:/a\n1\n$meta 4 4\ntype\nlong\n"
                      "$key string 7 1\nuser:/b\n3\n$meta 1 1\nm\nx\n$meta 1 1\nn\nz\n$copymeta 7 4\nuser:/a\ntype\n"
                      "$key binary 7 1\nuser:/c\n\0\n$meta 6 0\nbinary\n\n"
                      "$key string 7 0\nuser:/d\n\n$end\n"));
    CHECK (ksGetSize (ks) == 4);
    CHECK (ksAtCursor (ks, 0) == a && ksAtCursor (ks, 2) == c);
    Key * changed = ksAtCursor (ks, 1);
    CHECK (strcmp (keyString (changed), "3") == 0);
    CHECK (keyGetMeta (changed, "type") == type && keyGetMeta (changed, "m") == m);
    CHECK (strcmp (keyString (keyGetMeta (changed, "n")), "z") == 0);
    ksDel (ks);
}

static void follows_insertions_and_removals (void)
{
    KeySet * ks = ksNew (0, KS_END);
    Key * kept[10];
    for (int i = 0; i < 10; ++i)
    {
        char name[20];
        snprintf (name, sizeof (name), "user:/%d", i);
        ksAppendKey (ks, kept[i] = string_key (name, "v"));
    }
    CHECK (APPLY (ks, "kdbOpen 2\n$key string 7 1\nuser:/0\nv\n$key string 8 1\nuser:/0x\nv\n$key string 7 1\nuser:/4\nv\n"
                      "$key string 7 1\nuser:/5\nv\n$key string 7 1\nuser:/9\nv\n$end\n"));
    CHECK (ksGetSize (ks) == 5);
    CHECK (ksAtCursor (ks, 0) == kept[0] && ksAtCursor (ks, 2) == kept[4] && ksAtCursor (ks, 3) == kept[5] && ksAtCursor (ks, 4) == kept[9]);
    /* Out of order, as no child of ours writes it, but the meaning is clear. */
    CHECK (APPLY (ks, "kdbOpen 2\n$key string 7 1\nuser:/9\nv\n$key string 7 1\nuser:/4\nv\n$end\n"));
    CHECK (ksGetSize (ks) == 2);
    CHECK (APPLY (ks, "kdbOpen 2\n$end\n"));
    CHECK (ksGetSize (ks) == 0);
    ksDel (ks);
}

static void changes_the_kind_of_a_value (void)
{
    KeySet * ks = keyset (string_key ("user:/a", "1"), binary_key ("user:/b", "1", 1), binary_key ("user:/c", "1", 1));
    CHECK (APPLY (ks, "kdbOpen 2\n$key binary 7 1\nuser:/a\n1\n$meta 6 0\nbinary\n\n$key string 7 1\nuser:/b\n1\n"
                      "$key binary 7 0\nuser:/c\n\n$end\n"));
    CHECK (keyIsBinary (ksAtCursor (ks, 0)) == 1 && keyGetValueSize (ksAtCursor (ks, 0)) == 1);
    CHECK (keyIsBinary (ksAtCursor (ks, 1)) == 0 && keyGetValueSize (ksAtCursor (ks, 1)) == 2);
    CHECK (keyIsBinary (ksAtCursor (ks, 2)) == 1 && keyGetValueSize (ksAtCursor (ks, 2)) == 0);
    ksDel (ks);
}

static void replaces_a_locked_key (void)
{
    Key * locked = string_key ("user:/a", "1");
    double_lock (locked, KEY_LOCK_VALUE);
    keyIncRef (locked); /* someone else holds it too */
    KeySet * ks = keyset (locked, NULL, NULL);
    CHECK (APPLY (ks, "kdbOpen 2\n$key string 7 1\nuser:/a\n2\n$end\n"));
    CHECK (strcmp (keyString (locked), "1") == 0 && strcmp (keyString (ksAtCursor (ks, 0)), "2") == 0);
    ksDel (ks);
    keyDecRef (locked);
    keyDel (locked);
}

static void a_parent_inside_the_keyset_survives (void)
{
    Key * parent = string_key ("user:/a", "1");
    KeySet * ks = keyset (parent, NULL, NULL);
    CHECK (dump_apply ("kdbOpen 2\n$end\n", 15, ks, parent, &problem));
    CHECK (strcmp (keyName (parent), "user:/a") == 0);
    keyDel (parent);
    ksDel (ks);
}

static void refuses_what_is_not_a_dump (void)
{
    static const struct
    {
        const char * text;
        size_t size;
        const char * says;
    } wrong[] = {
#define CASE(text, says) { text, sizeof (text) - 1, says }
        CASE ("", "byte 0 of the dump: expected a whole record, found its end"),
        CASE ("kdbOpen 1\n$end\n", "a whole record"),
        CASE ("kdbOpen 2\n$end\n ", "nothing after $end"),
        CASE ("kdbOpen 2\n$end", "a whole record"),
        CASE ("kdbOpen 2\n\n$end\n", "a whole record"),
        CASE ("kdbOpen 2\n$meta 1 1\na\nb\n$end\n", "$key or $end"),
        CASE ("kdbOpen 2\n$key text 7 1\nuser:/a\n1\n$end\n", "a whole record"),
        CASE ("kdbOpen 2\n$key string +7 1\nuser:/a\n1\n$end\n", "a whole record"),
        CASE ("kdbOpen 2\n$key string 07 1\nuser:/a\n1\n$end\n", "a whole record"),
        CASE ("kdbOpen 2\n$key string 7  1\nuser:/a\n1\n$end\n", "a whole record"),
        CASE ("kdbOpen 2\n$key string 7 1 \nuser:/a\n1\n$end\n", "a whole record"),
        CASE ("kdbOpen 2\n$key string 7 -1\nuser:/a\n1\n$end\n", "a whole record"),
        CASE ("kdbOpen 2\n$key string 99999999999999999999999 1\nuser:/a\n1\n$end\n", "a whole record"),
        CASE ("kdbOpen 2\n$key string 7 9223372036854775807\nuser:/a\n1\n$end\n", "a whole record"),
        CASE ("kdbOpen 2\n$key string 7 2\nuser:/a\n1\n$end\n", "a whole record"),
        CASE ("kdbOpen 2\n$key string 7 1\nuser:/a\n\0\n$end\n", "without a NUL"),
        CASE ("kdbOpen 2\n$key string 7 1\nuser:/\0\n1\n$end\n", "without a NUL"),
        CASE ("kdbOpen 2\n$key string 7 1\nuser:/a\n1\n$meta 1 1\na\n\0\n$end\n", "without a NUL"),
        CASE ("kdbOpen 2\n$key string 7 1\nuser:/a\n1\n$meta 6 0\nbinary\n\n$end\n", "no metakey binary"),
        CASE ("kdbOpen 2\n$key string 7 1\nuser:/a\n1\n$copymeta 7 1\nuser:/b\na\n$end\n", "an earlier key"),
        CASE ("kdbOpen 2\n$key string 7 1\nuser:/a\n1\n$meta 1 0\na\n\n$copymeta 7 1\nuser:/a\na\n$end\n", "an earlier key"),
        CASE ("kdbOpen 2\n$key string 5 1\na:b/c\n1\n$end\n", "does not accept the key name a:b/c"),
        CASE ("kdbOpen 2\n$key string 7 1\nuser:/a\n1\n$meta 2 1\na\\\n1\n$end\n", "does not accept the metakey name a\\"),
        CASE ("kdbOpen 2\n$key string 7 1\nuser:/a\n1\n$key string 7 1\nuser:/a\n2\n$end\n", "user:/a comes twice"),
        CASE ("kdbOpen 2\n$key string 7 1\nuser:/z\n1\n$key string 7 1\nuser:/z\n1\n$end\n", "user:/z comes twice"),
#undef CASE
    };
    Key * only = with_meta (string_key ("user:/z", "1"), "type", "long");
    KeySet * ks = keyset (only, NULL, NULL);
    for (size_t i = 0; i < sizeof (wrong) / sizeof (*wrong); ++i)
    {
        problem.text[0] = '\0';
        /* A heap copy of the exact size, so that a checker sees any read past the end. */
        char * text = malloc (wrong[i].size + !wrong[i].size);
        memcpy (text, wrong[i].text, wrong[i].size);
        CHECK (!dump_apply (text, wrong[i].size, ks, NULL, &problem));
        free (text);
        if (!strstr (problem.text, wrong[i].says)) fprintf (stderr, "case %zu wants \"%s\"\n", i, wrong[i].says);
        CHECK (strstr (problem.text, wrong[i].says));
        CHECK (ksGetSize (ks) == 1 && ksAtCursor (ks, 0) == only && keyGetMeta (only, "type"));
    }
    ksDel (ks);
}

static void refuses_every_proper_prefix (void)
{
    static const char whole[] = "kdbOpen 2\n$key string 7 1\nuser:/a\n1\n$meta 4 4\ntype\nlong\n"
                                "$key binary 7 2\nuser:/b\n\0\n\n$meta 6 0\nbinary\n\n$copymeta 7 4\nuser:/a\ntype\n$end\n";
    KeySet * ks = ksNew (0, KS_END);
    for (size_t size = 0; size < sizeof (whole) - 1; ++size)
    {
        char * text = malloc (size + !size);
        memcpy (text, whole, size);
        CHECK (!dump_apply (text, size, ks, NULL, &problem));
        CHECK (ksGetSize (ks) == 0);
        free (text);
    }
    CHECK (APPLY (ks, whole) && ksGetSize (ks) == 2);
    ksDel (ks);
}

static void roundtrip (void)
{
    struct dump_buffer in = { 0 };
    struct dump_buffer out = { 0 };
    char piece[4096];
    size_t got;
    while ((got = fread (piece, 1, sizeof (piece), stdin)) > 0)
        CHECK (dump_buffer_append (&in, piece, got));
    KeySet * ks = ksNew (0, KS_END);
    CHECK (dump_apply (in.data, in.size, ks, NULL, &problem));
    CHECK (dump_write_keyset (&out, ks, &problem));
    CHECK (fwrite (out.data, 1, out.size, stdout) == out.size);
    CHECK (dump_apply (in.data, in.size, ks, NULL, &problem));
    dump_buffer_free (&in);
    dump_buffer_free (&out);
    ksDel (ks);
}

int main (int argc, char ** argv)
{
    static const struct
    {
        const char * name;
        void (*run) (void);
    } scenarios[] = {
#define SCENARIO(name) { #name, name }
        SCENARIO (writes_each_kind_of_value),
        SCENARIO (writes_a_shared_metakey_once),
        SCENARIO (writes_many_shared_metakeys),
        SCENARIO (refuses_a_string_that_holds_a_nul),
        SCENARIO (keeps_keys_that_come_back_unchanged),
        SCENARIO (follows_insertions_and_removals),
        SCENARIO (changes_the_kind_of_a_value),
        SCENARIO (replaces_a_locked_key),
        SCENARIO (a_parent_inside_the_keyset_survives),
        SCENARIO (refuses_what_is_not_a_dump),
        SCENARIO (refuses_every_proper_prefix),
        SCENARIO (roundtrip),
#undef SCENARIO
    };
    for (size_t i = 0; i < sizeof (scenarios) / sizeof (*scenarios); ++i)
    {
        if (argc == 2 && strcmp (argv[1], "--list") == 0) puts (scenarios[i].name);
        if (argc != 2 || strcmp (argv[1], scenarios[i].name) != 0) continue;
        scenarios[i].run ();
        CHECK (double_keys_alive () == 0);
        return 0;
    }
    return argc == 2 && strcmp (argv[1], "--list") == 0 ? 0 : 64;
}
