/* Times a real Elektra, in a process of its own, one command a line of stdin:
 *
 *   load FILE               read the keyset that later commands work on, with Elektra's `dump`
 *   open PLUGIN K=V<TAB>…   a plugin with a configuration below user:/
 *   read FILE | write FILE  Elektra's `dump`, full names
 *   get N TIMES             get of the plugin that was opened as number N, on a copy of the keyset
 *   empty N TIMES           the same with an empty keyset
 *   rss                     resident bytes
 *
 * Each is answered with one line: a number (seconds of one call, a plugin's number, bytes), or `error` and the reason. Copies are made and
 * freed outside of the timing. The libraries are found by the loader. Plugins are called directly: elektraInvoke would ask each for its
 * functions, which Elektra's `python`, living in a fork, answers with pointers that are none.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_PLUGINS 32
#define PARENT "user:/bench"

typedef struct Key Key;
typedef struct KeySet KeySet;
typedef struct Handle Handle;

/* The beginning of Elektra's struct _Plugin, the same from 0.9 to 0.11. */
struct Handle
{
	KeySet * config;
	int (*open) (Handle *, Key *);
	int (*close) (Handle *, Key *);
	int (*init) (Handle *, Key *);
	int (*get) (Handle *, KeySet *, Key *);
	int (*set) (Handle *, KeySet *, Key *);
};

typedef int (*operation) (Handle *, KeySet *, Key *);

static Key * (*key_new) (const char *, ...);
static int (*key_del) (Key *);
static long (*key_set_string) (Key *, const char *);
static const Key * (*key_get_meta) (const Key *, const char *);
static const char * (*key_string) (const Key *);
static KeySet * (*ks_new) (size_t, ...);
static KeySet * (*ks_dup) (const KeySet *);
static int (*ks_del) (KeySet *);
static long (*ks_append_key) (KeySet *, Key *);
static int (*modules_init) (KeySet *, Key *);
static Handle * (*plugin_open) (const char *, KeySet *, KeySet *, Key *);
static int (*plugin_close) (Handle *, Key *);

static const struct
{
	const char * name;
	void * function;
} needed[] = {
	{ "keyNew", &key_new },		    { "keyDel", &key_del },	  { "keySetString", &key_set_string }, { "keyGetMeta", &key_get_meta },
	{ "keyString", &key_string },	    { "ksNew", &ks_new },	  { "ksDup", &ks_dup },		       { "ksDel", &ks_del },
	{ "ksAppendKey", &ks_append_key },  { "elektraModulesInit", &modules_init },
	{ "elektraPluginOpen", &plugin_open }, { "elektraPluginClose", &plugin_close },
};

static Handle *dump, *plugins[MAX_PLUGINS];
static int plugin_count;
static KeySet *base, *modules;

static double now (void)
{
	struct timespec time;
	clock_gettime (CLOCK_MONOTONIC, &time);
	return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

static void failed (const char * what, const Key * parent)
{
	const Key * reason = parent ? key_get_meta (parent, "error/reason") : NULL;
	printf ("error %s%s", what, reason ? ": " : "");
	/* The answer is one line. */
	for (const char * text = reason ? key_string (reason) : ""; *text; text++)
		putchar (*text == '\n' ? ' ' : *text);
	putchar ('\n');
}

static int load_libraries (void)
{
	static const char * const libraries[] = { "libelektra-core.so.5", "libelektra-kdb.so.5" };
	for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++)
	{
		if (!dlopen (libraries[i], RTLD_NOW | RTLD_GLOBAL))
		{
			printf ("error %s\n", dlerror ());
			return -1;
		}
	}
	for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
	{
		void * found = dlsym (RTLD_DEFAULT, needed[i].name);
		if (!found)
		{
			printf ("error there is no %s\n", needed[i].name);
			return -1;
		}
		memcpy (needed[i].function, &found, sizeof found);
	}
	return 0;
}

static Handle * open_plugin (const char * name, char * pairs)
{
	KeySet * config = ks_new (16, NULL);
	for (char * pair = strtok (pairs, "\t"); pair; pair = strtok (NULL, "\t"))
	{
		char keyname[256];
		char * value = strchr (pair, '=');
		if (!value) continue;
		*value++ = '\0';
		snprintf (keyname, sizeof keyname, "user:/%s", pair);
		Key * key = key_new (keyname, NULL);
		key_set_string (key, value);
		ks_append_key (config, key);
	}
	Key * parent = key_new (PARENT, NULL);
	Handle * handle = plugin_open (name, modules, config, parent); /* takes the configuration over */
	if (!handle) failed ("the plugin cannot be opened", parent);
	key_del (parent);
	return handle;
}

/* Seconds of one call, or a negative number when it failed, which is then answered already. */
static double call (Handle * handle, operation function, KeySet * keys, const char * file)
{
	Key * parent = key_new (PARENT, NULL);
	if (file) key_set_string (parent, file);
	double start = now ();
	int status = function (handle, keys, parent);
	double seconds = now () - start;
	if (status < 0)
	{
		failed ("it answered `error`", parent);
		seconds = -1;
	}
	key_del (parent);
	return seconds;
}

static void repeat (Handle * handle, long times, int empty)
{
	double seconds = 0;
	for (long i = 0; i < times; i++)
	{
		KeySet * keys = empty ? ks_new (0, NULL) : ks_dup (base);
		double one = call (handle, handle->get, keys, NULL);
		ks_del (keys);
		if (one < 0) return;
		seconds += one;
	}
	printf ("%.9f\n", seconds / (double) times);
}

static void resident (void)
{
	long pages = 0;
	FILE * file = fopen ("/proc/self/statm", "r");
	if (!file || fscanf (file, "%*s %ld", &pages) != 1) pages = 0;
	if (file) fclose (file);
	printf ("%ld\n", pages * sysconf (_SC_PAGESIZE));
}

static void obey (char * line)
{
	char * argument = strchr (line, ' ');
	if (argument) *argument++ = '\0';
	if (strcmp (line, "rss") == 0)
	{
		resident ();
	}
	else if (strcmp (line, "load") == 0)
	{
		base = ks_new (0, NULL);
		double seconds = call (dump, dump->get, base, argument);
		if (seconds >= 0) printf ("%.9f\n", seconds);
	}
	else if (strcmp (line, "read") == 0)
	{
		KeySet * keys = ks_new (0, NULL);
		double seconds = call (dump, dump->get, keys, argument);
		ks_del (keys);
		if (seconds >= 0) printf ("%.9f\n", seconds);
	}
	else if (strcmp (line, "write") == 0)
	{
		double seconds = call (dump, dump->set, base, argument);
		if (seconds >= 0) printf ("%.9f\n", seconds);
	}
	else if (strcmp (line, "open") == 0)
	{
		char * pairs = strchr (argument, ' ');
		if (pairs) *pairs++ = '\0';
		Handle * handle = plugin_count < MAX_PLUGINS ? open_plugin (argument, pairs) : NULL;
		if (!handle) return;
		plugins[plugin_count] = handle;
		printf ("%d\n", plugin_count++);
	}
	else
	{
		long number = strtol (argument, &argument, 10), times = strtol (argument, NULL, 10);
		if (number < 0 || number >= plugin_count)
			printf ("error no such plugin\n");
		else
			repeat (plugins[number], times, strcmp (line, "empty") == 0);
	}
}

int main (void)
{
	char * line = NULL;
	size_t room = 0;
	ssize_t size;
	char fullname[] = "fullname=1";
	setvbuf (stdout, NULL, _IOLBF, 0);
	if (load_libraries () < 0) return 1;
	modules = ks_new (0, NULL);
	modules_init (modules, NULL);
	dump = open_plugin ("dump", fullname);
	if (!dump) return 1;
	printf ("ready\n");
	while ((size = getline (&line, &room, stdin)) > 0)
	{
		if (line[size - 1] == '\n') line[size - 1] = '\0';
		obey (line);
	}
	for (int i = 0; i < plugin_count; i++)
		plugin_close (plugins[i], NULL);
	plugin_close (dump, NULL);
	free (line);
	return 0;
}
