/* An Elektra plugin in C, one file and no library: a key with the metadata `check/length/max` holds at most so many characters.
 *
 *     cc -O2 -o maxlength maxlength.c
 *     kdb mount users.ecf user:/users dump stdioproc app=/…/maxlength
 *     kdb meta-set user:/users/login check/length/max 8
 *     kdb set user:/users/login albert        # stored
 *     kdb set user:/users/login alexandrina   # refused: C03200
 *
 * It speaks both wordings of the protocol, that of the INIT line. Keysets are handed back as they came, byte for byte. Memory is
 * bounded by LIMIT for each keyset; a host that sends more, or what is no keyset, is told so on stderr and left.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LIMIT = 64 << 20, /* bytes of one keyset */
	LINE = 256,	  /* bytes of a line that is no payload: three words and two lengths */
	LENGTH_DIGITS = 9 /* of a payload's length; more cannot be within LIMIT */
};

static const char META[] = "check/length/max";

_Noreturn static void fail (const char *format, ...)
{
	va_list arguments;
	va_start (arguments, format);
	fputs ("maxlength: ", stderr);
	vfprintf (stderr, format, arguments);
	fputc ('\n', stderr);
	va_end (arguments);
	exit (76);
}

/* ---- bytes that grow */

struct bytes
{
	char *data;
	size_t size, room;
};

static char *extend (struct bytes *bytes, size_t more)
{
	if (more > LIMIT || bytes->size > LIMIT - more) fail ("a keyset has more than %d bytes", LIMIT);
	if (bytes->room - bytes->size < more)
	{
		size_t room = (bytes->size + more) * 2;
		char *data = realloc (bytes->data, room);
		if (data == NULL) fail ("out of memory");
		bytes->data = data;
		bytes->room = room;
	}
	bytes->size += more;
	return bytes->data + bytes->size - more;
}

static void add (struct bytes *bytes, const void *data, size_t size)
{
	if (size > 0) memcpy (extend (bytes, size), data, size);
}

/* ---- reading */

/* A line without its line feed, as a string; 0 at the end of the input. */
static int read_line (char line[LINE])
{
	size_t size = 0;
	int byte;
	while ((byte = getchar ()) != '\n')
	{
		if (byte == EOF)
		{
			if (size == 0) return 0;
			fail ("the input ends inside a line");
		}
		if (byte == 0 || size == LINE - 1) fail ("a line holds a NUL byte or more than %d bytes", LINE - 1);
		line[size++] = (char) byte;
	}
	line[size] = 0;
	return 1;
}

/* A place in the bytes of a keyset: they move when they grow, so no pointers are kept. */
struct span
{
	size_t start, size;
};

static struct span read_payload (struct bytes *keyset, size_t size)
{
	struct span span = { keyset->size, size };
	char *place = extend (keyset, size + 1);
	if (fread (place, 1, size + 1, stdin) != size + 1) fail ("the input ends inside a payload of %zu bytes", size);
	if (place[size] != '\n') fail ("a payload is longer than its %zu bytes", size);
	return span;
}

/* The decimal length at *text, which is moved behind it and the character `end`. */
static size_t length (const char **text, char end)
{
	size_t value = 0, digits = 0;
	for (; **text >= '0' && **text <= '9'; ++*text)
	{
		if (++digits > LENGTH_DIGITS) fail ("a payload has more than %d bytes", LIMIT);
		value = value * 10 + (size_t) (**text - '0');
	}
	if (digits == 0 || **text != end) fail ("expected a length, found '%s'", *text);
	if (end != 0) ++*text;
	return value;
}

static int skip (const char **text, const char *prefix)
{
	size_t size = strlen (prefix);
	if (strncmp (*text, prefix, size) != 0) return 0;
	*text += size;
	return 1;
}

/* ---- keysets */

/* A key whose length is bounded: its name, its value and the bound as it stands in the metadata. */
struct bounded
{
	struct span name, value, bound;
	int is_text;
};

struct keyset
{
	struct bytes bytes; /* all of it but the last line */
	struct span name, value;
	struct bounded *bounded;
	size_t count, room;
};

static int same (const struct keyset *keyset, struct span left, struct span right)
{
	return left.size == right.size && memcmp (keyset->bytes.data + left.start, keyset->bytes.data + right.start, left.size) == 0;
}

static void bound (struct keyset *keyset, int is_text, struct span bound)
{
	if (keyset->count == keyset->room)
	{
		size_t room = keyset->room * 2 + 16;
		struct bounded *more = realloc (keyset->bounded, room * sizeof *more);
		if (more == NULL) fail ("out of memory");
		keyset->bounded = more;
		keyset->room = room;
	}
	keyset->bounded[keyset->count++] = (struct bounded){ keyset->name, keyset->value, bound, is_text };
}

static int is_meta (const struct keyset *keyset, struct span name)
{
	return name.size == sizeof META - 1 && memcmp (keyset->bytes.data + name.start, META, name.size) == 0;
}

static void read_keyset (struct keyset *keyset)
{
	char line[LINE];
	int is_text = 1, has_key = 0;
	keyset->bytes.size = 0;
	keyset->count = 0;
	if (!read_line (line) || strcmp (line, "kdbOpen 2") != 0) fail ("a keyset begins with 'kdbOpen 2'");
	add (&keyset->bytes, "kdbOpen 2\n", 10);
	for (;;)
	{
		if (!read_line (line)) fail ("the input ends inside a keyset");
		if (strcmp (line, "$end") == 0) return;
		const char *rest = line;
		add (&keyset->bytes, line, strlen (line));
		add (&keyset->bytes, "\n", 1);
		int text = 0;
		if ((text = skip (&rest, "$key string ")) || skip (&rest, "$key binary "))
		{
			size_t name = length (&rest, ' '), value = length (&rest, 0);
			is_text = text;
			has_key = 1;
			keyset->name = read_payload (&keyset->bytes, name);
			keyset->value = read_payload (&keyset->bytes, value);
		}
		else if (has_key && skip (&rest, "$meta "))
		{
			size_t name = length (&rest, ' '), value = length (&rest, 0);
			struct span first = read_payload (&keyset->bytes, name);
			struct span second = read_payload (&keyset->bytes, value);
			if (is_meta (keyset, first)) bound (keyset, is_text, second);
		}
		else if (has_key && skip (&rest, "$copymeta "))
		{
			size_t key = length (&rest, ' '), name = length (&rest, 0);
			struct span first = read_payload (&keyset->bytes, key);
			struct span second = read_payload (&keyset->bytes, name);
			if (!is_meta (keyset, second)) continue;
			/* Shared metadata is mostly that of a key just before. */
			size_t index = keyset->count;
			while (index > 0 && !same (keyset, keyset->bounded[index - 1].name, first))
				--index;
			if (index == 0) fail ("metadata is copied from a key that has none");
			bound (keyset, is_text, keyset->bounded[index - 1].bound);
		}
		else
			fail ("a keyset has no line '%s'", line);
	}
}

/* ---- writing */

static void write_bytes (const struct bytes *bytes)
{
	fwrite (bytes->data, 1, bytes->size, stdout);
	fputs ("$end\n", stdout);
}

static void write_key (const char *root, const char *name, const char *value)
{
	printf ("$key string %zu %zu\n%s%s\n%s\n", strlen (root) + strlen (name), strlen (value), root, name, value);
}

static void write_contract (const char *root)
{
	puts ("kdbOpen 2");
	write_key (root, "/exports/has/set", "1");
	write_key (root, "/exports/set", "1");
	write_key (root, "/infos", "maxlength");
	write_key (root, "/infos/author", "The stdioproc developers <stdioproc@example.org>");
	write_key (root, "/infos/description", "refuses values that are longer than their metadata check/length/max");
	write_key (root, "/infos/licence", "BSD");
	write_key (root, "/infos/metadata", META);
	write_key (root, "/infos/placements", "presetstorage");
	write_key (root, "/infos/provides", "check");
	write_key (root, "/infos/status", "maintained unittest nodep");
	write_key (root, "/infos/version", "1");
	puts ("$end");
}

static void add_meta (struct bytes *parent, const char *name, const void *value, size_t size)
{
	char line[LINE];
	int written = snprintf (line, sizeof line, "$meta %zu %zu\n%s\n", strlen (name), size, name);
	add (parent, line, (size_t) written);
	add (parent, value, size);
	add (parent, "\n", 1);
}

static void add_text (struct bytes *parent, const char *name, const char *value)
{
	add_meta (parent, name, value, strlen (value));
}

/* ---- the plugin */

/* Characters of a text (bytes that begin one, in UTF-8), bytes of a binary value. */
static size_t characters (const char *data, size_t size, int is_text)
{
	size_t count = 0;
	for (size_t index = 0; index < size; ++index)
		count += !is_text || ((unsigned char) data[index] & 0xC0) != 0x80;
	return count;
}

/* Why a value is refused, in `reason`; 0 when it is not. */
static int refuse (const struct keyset *data, const struct bounded *key, struct bytes *reason)
{
	const char *bytes = data->bytes.data;
	char text[LENGTH_DIGITS + 1] = "", say[LINE];
	const char *rest = text;
	size_t most = 0, found = characters (bytes + key->value.start, key->value.size, key->is_text);
	int is_number = key->bound.size > 0 && key->bound.size < sizeof text;
	if (is_number)
	{
		memcpy (text, bytes + key->bound.start, key->bound.size);
		is_number = strspn (text, "0123456789") == key->bound.size;
	}
	if (is_number) most = length (&rest, 0);
	if (is_number && found <= most) return 0;
	add (reason, bytes + key->name.start, key->name.size);
	if (is_number)
		snprintf (say, sizeof say, " has %zu characters; its metadata '%s' allows %zu", found, META, most);
	else
		snprintf (say, sizeof say, " cannot be checked: its metadata '%s' must be a number of at most %d digits", META, LENGTH_DIGITS);
	add (reason, say, strlen (say));
	return 1;
}

static const char *set (struct keyset *parent, const struct keyset *data)
{
	struct bytes reason = { 0 };
	size_t index = 0;
	while (index < data->count && !refuse (data, &data->bounded[index], &reason))
		++index;
	if (index == data->count) return "success";
	struct bytes *to = &parent->bytes;
	add_text (to, "error", "number description  module file line mountpoint configfile reason");
	add_text (to, "error/number", "C03200");
	add_text (to, "error/description", "Validation Semantic");
	add_text (to, "error/module", "maxlength");
	add_text (to, "error/file", __FILE__);
	add_text (to, "error/line", "0");
	/* The parent's bytes move when they grow: a copy is added. */
	struct bytes copy = { 0 };
	add (&copy, to->data + parent->name.start, parent->name.size);
	add_meta (to, "error/mountpoint", copy.data, copy.size);
	copy.size = 0;
	add (&copy, to->data + parent->value.start, parent->value.size);
	add_meta (to, "error/configfile", copy.data, copy.size);
	add_meta (to, "error/reason", reason.data, reason.size);
	free (copy.data);
	free (reason.data);
	return "error";
}

static const struct
{
	const char *init, *ack, *terminate, *root;
} wordings[] = {
	{ "ELEKTRA_STDIOPROC INIT v1", "ELEKTRA_STDIOPROC ACK v1", "ELEKTRA_STDIOPROC TERMINATE", "system:/elektra/modules/stdioproc" },
	{ "ELEKTRA_PROCESS INIT v1", "ELEKTRA_PROCESS ACK v1", "ELEKTRA_PROCESS TERMINATE", "system:/elektra/modules/process" },
};

int main (void)
{
	static struct keyset parent, data;
	char line[LINE];
	if (!read_line (line)) return 0;
	size_t wording = strcmp (line, wordings[1].init) == 0;
	if (strcmp (line, wordings[wording].init) != 0) fail ("expected an INIT line, not '%s'", line);
	printf ("%s\nmaxlength\n", wordings[wording].ack);
	write_contract (wordings[wording].root);
	/* What was written must leave before the next read waits. */
	while (fflush (stdout) == 0 && read_line (line))
	{
		if (strcmp (line, wordings[wording].terminate) == 0) return 0;
		if (strcmp (line, "set") != 0) fail ("only 'set' is announced, the host sent '%s'", line);
		read_keyset (&parent);
		read_keyset (&data);
		puts (set (&parent, &data));
		write_bytes (&parent.bytes);
		write_bytes (&data.bytes);
	}
	return ferror (stdout) ? 74 : 0;
}
