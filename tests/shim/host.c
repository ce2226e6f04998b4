/*
 * A C program that uses the plugin as Elektra does: dlopen with RTLD_NOW | RTLD_LOCAL, elektraPluginSymbol, then calls.
 *
 * Usage: host PLUGIN COMMAND... Each argument is one command, a verb and its fields with single blanks between them; the last
 * field takes the rest. What comes out is one line for each thing that happened, on the descriptor that was standard output at the
 * start, so that a test can close the standard descriptors. Linked with the test double of Elektra's libraries.
 */
#include "elektra_double.h"
#include "keyset_dump.h"

#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PLUGINS 8
#define MODULE "system:/elektra/modules/stdioproc"

extern char ** environ;

/* What one thread works on. Plugins belong to the process, everything else to the thread. */
struct bench
{
    KeySet * config;
    KeySet * data;
    Key * parent;
};

static const char * plugin_path;
static void * library;
static Plugin * plugins[PLUGINS];
static int out;
static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;

static void die (const char * format, ...) __attribute__ ((format (printf, 1, 2), noreturn));

static void die (const char * format, ...)
{
    char text[1024];
    va_list arguments;
    va_start (arguments, format);
    int size = vsnprintf (text, sizeof (text), format, arguments);
    va_end (arguments);
    if (size > 0) (void) !write (out, text, strlen (text));
    (void) !write (out, "\n", 1);
    _exit (99);
}

static void say (const char * format, ...) __attribute__ ((format (printf, 1, 2)));

/* One line, in one write. Bytes that would break the line are escaped. */
static void say (const char * format, ...)
{
    static char text[65536];
    static char line[4 * sizeof (text)];
    pthread_mutex_lock (&out_lock);
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (text, sizeof (text), format, arguments);
    va_end (arguments);
    size_t used = 0;
    for (const char * at = text; *at; ++at)
    {
        if (*at == '\n')
            used += (size_t) sprintf (line + used, "\\n");
        else
            line[used++] = *at;
    }
    line[used++] = '\n';
    if (write (out, line, used) != (ssize_t) used) _exit (98);
    pthread_mutex_unlock (&out_lock);
}

/* ---- keys ---- */

static Key * make_key (const char * name)
{
    Key * key = keyNew (name, KEY_END);
    if (!key) die ("not a key name: %s", name);
    return key;
}

static Key * string_key (const char * name, const char * value)
{
    Key * key = make_key (name);
    keySetString (key, value);
    return key;
}

/* NAME=VALUE; a name without namespace is below user:/, as kdb mount puts it. */
static void add_config (struct bench * bench, char * text)
{
    char name[512];
    char * value = strchr (text, '=');
    if (!value) die ("config wants NAME=VALUE: %s", text);
    *value++ = '\0';
    snprintf (name, sizeof (name), "%s%s", strstr (text, ":/") ? "" : "user:/", text);
    ksAppendKey (bench->config, string_key (name, value));
}

static char * field (char ** rest)
{
    char * start = *rest;
    if (!start) die ("a field is missing");
    char * blank = strchr (start, ' ');
    *rest = blank ? blank + 1 : NULL;
    if (blank) *blank = '\0';
    return start;
}

static char * last_field (char ** rest)
{
    char * start = *rest ? *rest : "";
    *rest = NULL;
    return start;
}

static Key * find_key (struct bench * bench, const char * name)
{
    if (bench->parent && strcmp (keyName (bench->parent), name) == 0) return bench->parent;
    for (ssize_t i = 0; i < ksGetSize (bench->data); ++i)
        if (strcmp (keyName (ksAtCursor (bench->data, i)), name) == 0) return ksAtCursor (bench->data, i);
    die ("no such key: %s", name);
}

static void set_hex (Key * key, const char * hex)
{
    unsigned char bytes[1024];
    size_t size = strlen (hex) / 2;
    for (size_t i = 0; i < size && i < sizeof (bytes); ++i)
    {
        unsigned value;
        if (sscanf (hex + 2 * i, "%2x", &value) != 1) die ("not hexadecimal: %s", hex);
        bytes[i] = (unsigned char) value;
    }
    keySetBinary (key, size ? bytes : NULL, size);
}

static const char * meta_text (Key * key, const char * name)
{
    const Key * meta = keyGetMeta (key, name);
    return meta ? keyString (meta) : "";
}

static void say_reports (Key * parent)
{
    if (keyGetMeta (parent, "error"))
        say ("error %s %s:%s %s", meta_text (parent, "error/number"), meta_text (parent, "error/module"), meta_text (parent, "error/mountpoint"),
             meta_text (parent, "error/reason"));
    KeySet * metas = keyMeta (parent);
    for (ssize_t i = 0; i < ksGetSize (metas); ++i)
    {
        const Key * meta = ksAtCursor (metas, i);
        const char * name = keyName (meta);
        size_t size = strlen (name);
        if (strncmp (name, "meta:/warnings/", 15) == 0 && size > 7 && strcmp (name + size - 7, "/reason") == 0) say ("warning %s", keyString (meta));
    }
}

static void say_key (const char * word, Key * key)
{
    char bytes[2048] = "";
    if (keyIsBinary (key))
    {
        const unsigned char * value = keyValue (key);
        for (ssize_t i = 0; value && i < keyGetValueSize (key) && i < 512; ++i)
            sprintf (bytes + 2 * i, "%02x", value[i]);
        say ("%s %s binary %s", word, keyName (key), bytes);
    }
    else
    {
        say ("%s %s %s", word, keyName (key), keyString (key));
    }
    KeySet * metas = keyMeta (key);
    for (ssize_t i = 0; i < ksGetSize (metas); ++i)
    {
        const Key * meta = ksAtCursor (metas, i);
        if (strcmp (keyName (meta), "meta:/binary") != 0) say ("  %s %s", keyName (meta), keyString (meta));
    }
}

/* ---- the plugin ---- */

static void load_library (void)
{
    library = dlopen (plugin_path, RTLD_NOW | RTLD_LOCAL);
    if (!library) die ("dlopen: %s", dlerror ());
}

static void * symbol (const char * name)
{
    if (!library) load_library ();
    void * found = dlsym (library, name);
    if (!found) die ("dlsym: %s", dlerror ());
    return found;
}

static int number (const char * text)
{
    int index = atoi (text);
    if (index < 0 || index >= PLUGINS) die ("no such plugin number: %s", text);
    return index;
}

static Plugin * plugin_at (const char * text)
{
    Plugin * plugin = plugins[number (text)];
    if (!plugin) die ("plugin %s is not open", text);
    return plugin;
}

static void open_plugin (struct bench * bench, const char * text)
{
    int status = -9;
    Key * key = make_key ("/");
    Plugin * (*factory) (void);
    *(void **) &factory = symbol ("elektraPluginSymbol");
    plugins[number (text)] = double_open (factory, bench->config, key, &status);
    bench->config = ksNew (0, KS_END);
    say ("open %s %d", text, status);
    say_reports (key);
    keyDel (key);
}

static void close_plugin (const char * text)
{
    say ("close %s %d", text, double_close (plugin_at (text), NULL));
    plugins[number (text)] = NULL;
}

static void contract (const char * text)
{
    KeySet * ks = ksNew (0, KS_END);
    Key * parent = make_key (MODULE);
    say ("contract %s %d", text, double_operation_of (plugin_at (text), "get") (plugin_at (text), ks, parent));
    for (ssize_t i = 0; i < ksGetSize (ks); ++i)
    {
        Key * key = ksAtCursor (ks, i);
        const char * name = keyName (key) + strlen (MODULE);
        if (strncmp (name, "/exports/", 9) == 0)
            say ("  %s %s", name, keyIsBinary (key) && keyGetValueSize (key) == sizeof (void (*) (void)) ? "function" : "NO FUNCTION");
        else
            say ("  %s %s", name, keyString (key));
    }
    say_reports (parent);
    ksDel (ks);
    keyDel (parent);
}

static void check_conf (struct bench * bench)
{
    Key * parent = make_key ("/");
    int (*function) (Key *, KeySet *);
    *(void **) &function = symbol ("elektraStdprocioCheckConf");
    say ("checkconf %d", function (parent, bench->config));
    for (ssize_t i = 0; i < ksGetSize (bench->config); ++i)
        say_key ("  ", ksAtCursor (bench->config, i));
    say_reports (parent);
    keyDel (parent);
}

static void operate (struct bench * bench, const char * word, const char * text)
{
    Plugin * plugin = plugin_at (text);
    if (!bench->parent) bench->parent = string_key ("user:/tests/shim", "/nowhere/file");
    int status = double_operation_of (plugin, word) (plugin, bench->data, bench->parent);
    say ("%s %s %d %s", word, text, status, keyString (bench->parent));
    say_reports (bench->parent);
}

/* ---- the state of this process ---- */

static long count_entries (const char * path)
{
    long count = 0;
    DIR * directory = opendir (path);
    if (!directory) return -1;
    while (readdir (directory))
        ++count;
    closedir (directory);
    return count;
}

static bool maps_hold (const char * text)
{
    char line[4096];
    bool found = false;
    FILE * file = fopen ("/proc/self/maps", "r");
    while (file && !found && fgets (line, sizeof (line), file))
        found = strstr (line, text) != NULL;
    if (file) fclose (file);
    return found;
}

/* Children of this process, zombies among them: the same file of each thread. */
static void say_children (void)
{
    char line[4096] = "";
    int children = 0;
    DIR * tasks = opendir ("/proc/self/task");
    for (struct dirent * task = readdir (tasks); task; task = readdir (tasks))
    {
        char path[300];
        snprintf (path, sizeof (path), "/proc/self/task/%.250s/children", task->d_name);
        FILE * file = task->d_name[0] == '.' ? NULL : fopen (path, "r");
        if (!file) continue;
        if (fgets (line, sizeof (line), file))
            for (char * at = line; *at; ++at)
                children += *at == ' ';
        fclose (file);
    }
    closedir (tasks);
    say ("children %d", children);
}

/* What a guest must not change. */
static void say_state (void)
{
    char cwd[1024] = "";
    int handlers = 0;
    size_t environment = 0;
    sigset_t mask;
    for (int i = 1; i < 32; ++i)
    {
        struct sigaction action;
        if (sigaction (i, NULL, &action) == 0) handlers = handlers * 3 + (action.sa_handler == SIG_DFL ? 0 : action.sa_handler == SIG_IGN ? 1 : 2);
    }
    for (char ** entry = environ; *entry; ++entry)
        environment = environment * 31 + strlen (*entry);
    pthread_sigmask (SIG_BLOCK, NULL, &mask);
    int blocked = 0;
    for (int i = 1; i < 32; ++i)
        blocked += sigismember (&mask, i);
    mode_t old = umask (0);
    umask (old);
    if (!getcwd (cwd, sizeof (cwd))) cwd[0] = '\0';
    say ("state cwd=%s signals=%d blocked=%d environment=%zu umask=%o descriptors=%ld threads=%ld", cwd, handlers, blocked, environment, (unsigned) old,
         count_entries ("/proc/self/fd"), count_entries ("/proc/self/task"));
}

static void on_signal (int number)
{
    (void) number;
}

/* ---- commands ---- */

static void run (struct bench * bench, char * command);

static void run_list (struct bench * bench, char * commands)
{
    char * save = NULL;
    for (char * command = strtok_r (commands, ";", &save); command; command = strtok_r (NULL, ";", &save))
        run (bench, command);
}

static struct bench * new_bench (void)
{
    struct bench * bench = calloc (1, sizeof (*bench));
    if (!bench) die ("out of memory");
    bench->config = ksNew (0, KS_END);
    bench->data = ksNew (0, KS_END);
    return bench;
}

static void free_bench (struct bench * bench)
{
    ksDel (bench->config);
    ksDel (bench->data);
    if (bench->parent) keyDel (bench->parent);
    free (bench);
}

static void * in_thread (void * commands)
{
    struct bench * bench = new_bench ();
    run_list (bench, commands);
    free_bench (bench);
    free (commands);
    return NULL;
}

/* The same commands in COUNT threads at once, with % standing for the number of the thread. */
static void run_threads (int count, const char * commands)
{
    pthread_t threads[PLUGINS];
    for (int i = 0; i < count && i < PLUGINS; ++i)
    {
        char * copy = strdup (commands);
        for (char * at = copy; *at; ++at)
            if (*at == '%') *at = (char) ('0' + i);
        if (pthread_create (&threads[i], NULL, in_thread, copy) != 0) die ("no thread");
    }
    for (int i = 0; i < count && i < PLUGINS; ++i)
        pthread_join (threads[i], NULL);
    say ("joined %d", count);
}

static void run_fork (struct bench * bench, char * commands)
{
    pid_t pid = fork ();
    if (pid < 0) die ("fork: %s", strerror (errno));
    if (pid == 0)
    {
        run_list (bench, commands);
        _exit (0);
    }
    int status = 0;
    if (waitpid (pid, &status, 0) != pid) die ("waitpid: %s", strerror (errno));
    say ("forked %s %d", WIFEXITED (status) ? "exit" : "signal", WIFEXITED (status) ? WEXITSTATUS (status) : WTERMSIG (status));
}

static void run (struct bench * bench, char * command)
{
    char * rest = command;
    const char * verb = field (&rest);
#define IS(word) (strcmp (verb, word) == 0)
    if (IS ("config"))
        add_config (bench, last_field (&rest));
    else if (IS ("open"))
        open_plugin (bench, field (&rest));
    else if (IS ("close"))
        close_plugin (field (&rest));
    else if (IS ("contract"))
        contract (field (&rest));
    else if (IS ("checkconf"))
        check_conf (bench);
    else if (IS ("get") || IS ("set") || IS ("commit") || IS ("error"))
        operate (bench, verb, field (&rest));
    else if (IS ("repeat"))
    {
        int times = atoi (field (&rest));
        const char * commands = last_field (&rest);
        for (int i = 0; i < times; ++i)
        {
            char * copy = strdup (commands);
            run_list (bench, copy);
            free (copy);
        }
    }
    else if (IS ("phase"))
    {
        Plugin * plugin = plugin_at (field (&rest));
        double_phase (plugin, (uint8_t) strtol (field (&rest), NULL, 16));
    }
    else if (IS ("parent"))
    {
        if (bench->parent) keyDel (bench->parent);
        bench->parent = make_key (field (&rest));
        keySetString (bench->parent, last_field (&rest));
    }
    else if (IS ("lock"))
        double_lock (bench->parent, KEY_LOCK_VALUE);
    else if (IS ("parent-in-data"))
        ksAppendKey (bench->data, bench->parent);
    else if (IS ("key"))
    {
        const char * name = field (&rest);
        ksAppendKey (bench->data, string_key (name, last_field (&rest)));
    }
    else if (IS ("binary"))
    {
        Key * key = make_key (field (&rest));
        set_hex (key, last_field (&rest));
        ksAppendKey (bench->data, key);
    }
    else if (IS ("nul"))
        double_set_raw (find_key (bench, field (&rest)), "a\0b", 4);
    else if (IS ("meta"))
    {
        Key * key = find_key (bench, field (&rest));
        const char * name = field (&rest);
        keySetMeta (key, name, last_field (&rest));
    }
    else if (IS ("share"))
    {
        Key * to = find_key (bench, field (&rest));
        Key * from = find_key (bench, field (&rest));
        keyCopyMeta (to, from, last_field (&rest));
    }
    else if (IS ("many"))
    {
        long count = atol (field (&rest));
        for (long i = 0; i < count; ++i)
        {
            char name[64];
            snprintf (name, sizeof (name), "user:/tests/shim/%08ld", i);
            ksAppendKey (bench->data, string_key (name, "a value of some length that fills a pipe soon enough"));
        }
    }
    else if (IS ("where")) /* the address of a key: whether it is still the same object */
        say ("where %p", (void *) find_key (bench, last_field (&rest)));
    else if (IS ("same"))
    {
        const Key * first = keyGetMeta (find_key (bench, field (&rest)), "type");
        say ("same %d", first && first == keyGetMeta (find_key (bench, field (&rest)), "type"));
    }
    else if (IS ("clear"))
    {
        ksDel (bench->data);
        bench->data = ksNew (0, KS_END);
    }
    else if (IS ("show"))
    {
        for (ssize_t i = 0; i < ksGetSize (bench->data); ++i)
            say_key ("key", ksAtCursor (bench->data, i));
    }
    else if (IS ("count"))
        say ("count %zd", ksGetSize (bench->data));
    else if (IS ("show-parent"))
        say_key ("parent", bench->parent);
    else if (IS ("load"))
        load_library ();
    else if (IS ("unload"))
    {
        say ("unload %d", dlclose (library));
        library = NULL;
    }
    else if (IS ("symbol"))
        say ("symbol %s %d", rest, dlsym (library, rest) != NULL);
    else if (IS ("maps"))
        say ("maps %s %d", rest, maps_hold (rest));
    else if (IS ("children"))
        say_children ();
    else if (IS ("state"))
        say_state ();
    else if (IS ("handlers"))
    {
        signal (SIGCHLD, on_signal);
        signal (SIGINT, on_signal);
        signal (SIGUSR1, on_signal);
    }
    else if (IS ("ignore-sigchld"))
        signal (SIGCHLD, SIG_IGN);
    else if (IS ("close-stdio"))
    {
        close (0);
        close (1);
        close (2);
    }
    else if (IS ("fork"))
        run_fork (bench, last_field (&rest));
    else if (IS ("threads"))
    {
        int count = atoi (field (&rest));
        run_threads (count, last_field (&rest));
    }
    else if (IS ("time"))
    {
        struct timespec before, after;
        clock_gettime (CLOCK_MONOTONIC, &before);
        run_list (bench, last_field (&rest));
        clock_gettime (CLOCK_MONOTONIC, &after);
        say ("time %.6f", (double) (after.tv_sec - before.tv_sec) + (double) (after.tv_nsec - before.tv_nsec) / 1e9);
    }
    else if (IS ("wait-for-end")) /* until standard input ends: for a test that kills this process */
    {
        char byte;
        say ("waiting");
        while (read (0, &byte, 1) > 0)
            ;
    }
    else
        die ("unknown command: %s", verb);
#undef IS
}

int main (int argc, char ** argv)
{
    if (argc < 3) return 64;
    out = fcntl (1, F_DUPFD_CLOEXEC, 100);
    plugin_path = argv[1];
    struct bench * bench = new_bench ();
    for (int i = 2; i < argc; ++i)
    {
        char * copy = strdup (argv[i]);
        run (bench, copy);
        free (copy);
    }
    free_bench (bench);
    for (int i = 0; i < PLUGINS; ++i)
        if (plugins[i]) double_close (plugins[i], NULL);
    if (double_keys_alive () != 0) die ("%ld keys were not freed", double_keys_alive ());
    close (out);
    return 0;
}
