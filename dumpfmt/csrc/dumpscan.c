#include "dumpscan.h"

#include <string.h>

/* A command line is never longer (scan.py, _MAX_COMMAND). */
#define MAX_COMMAND 64
#define MAX_DIGITS 19

/* --- records --------------------------------------------------------------------------------------------------------------- */

static int starts (const unsigned char * line, size_t size, const char * word, size_t word_size)
{
	return size >= word_size && memcmp (line, word, word_size) == 0;
}

/* A plain decimal number at *at, up to `stop`; 0 when there is none. */
static int read_length (const unsigned char ** at, const unsigned char * end, unsigned char stop, size_t * length)
{
	const unsigned char * p = *at;
	size_t value = 0;
	while (p < end && *p >= '0' && *p <= '9' && p - *at < MAX_DIGITS)
	{
		value = value * 10 + (size_t) (*p - '0');
		p++;
	}
	if (p == *at || p >= end || *p != stop) return 0;
	if (**at == '0' && p - *at > 1) return 0;
	*at = p + 1;
	*length = value;
	return 1;
}

enum dump_answer dump_next (const unsigned char * data, size_t size, size_t position, const struct dump_limits * limits,
			    struct dump_record * record, size_t * need)
{
	const unsigned char * line = data + position;
	size_t left = size - position;
	const unsigned char * line_end = memchr (line, '\n', left < MAX_COMMAND ? left : MAX_COMMAND);
	if (!line_end)
	{
		*need = size + 1;
		return left >= MAX_COMMAND || size > limits->message ? DUMP_UNSURE : DUMP_MORE;
	}
	const unsigned char * after = line_end + 1;
	size_t line_size = (size_t) (line_end - line);
	const unsigned char * at;
	size_t first_limit = limits->name, second_limit = limits->value;

	record->start = position;
	if (starts (line, line_size, "$meta ", 6))
	{
		record->kind = DUMP_META;
		at = line + 6;
	}
	else if (starts (line, line_size, "$key string ", 12))
	{
		record->kind = DUMP_STRING;
		at = line + 12;
	}
	else if (starts (line, line_size, "$key binary ", 12))
	{
		record->kind = DUMP_BINARY;
		at = line + 12;
	}
	else if (starts (line, line_size, "$copymeta ", 10))
	{
		record->kind = DUMP_COPYMETA;
		second_limit = limits->name;
		at = line + 10;
	}
	else if ((line_size == 4 && memcmp (line, "$end", 4) == 0) || (line_size == 9 && memcmp (line, "kdbOpen 2", 9) == 0))
	{
		record->kind = *line == '$' ? DUMP_END : DUMP_HEADER;
		record->end = position + line_size + 1;
		record->first = record->second = record->end;
		record->first_size = record->second_size = 0;
		return record->end <= limits->message ? DUMP_WHOLE : DUMP_UNSURE;
	}
	else
	{
		return DUMP_UNSURE;
	}
	if (!read_length (&at, after, ' ', &record->first_size) || !read_length (&at, after, '\n', &record->second_size) || at != after)
	{
		return DUMP_UNSURE;
	}
	if (record->first_size > first_limit || record->second_size > second_limit) return DUMP_UNSURE;
	record->first = (size_t) (after - data);
	/* The sum of two lengths need not fit 64 bits, so it is not made before it is known to be within the limit. */
	if (record->first_size > limits->message || record->second_size > limits->message - record->first_size) return DUMP_UNSURE;
	record->second = record->first + record->first_size + 1;
	record->end = record->second + record->second_size + 1;
	if (record->end > limits->message) return DUMP_UNSURE;
	if (record->end > size)
	{
		*need = record->end;
		return DUMP_MORE;
	}
	return data[record->second - 1] == '\n' && data[record->end - 1] == '\n' ? DUMP_WHOLE : DUMP_UNSURE;
}

/* --- names ----------------------------------------------------------------------------------------------------------------- */

static const struct
{
	const char * word;
	size_t size;
	unsigned char number;
} namespaces[] = {
	{ "user:", 5, 6 }, { "system:", 7, 7 }, { "meta:", 5, 2 }, { "spec:", 5, 3 },
	{ "proc:", 5, 4 }, { "dir:", 4, 5 },	{ "default:", 8, 8 },
};

/* The number of the namespace, and the offset of the slash behind it; 0 when there is none. */
static unsigned char namespace_of (const unsigned char * name, size_t size, size_t * slash)
{
	if (size > 0 && name[0] == '/')
	{
		*slash = 0;
		return 1;
	}
	for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++)
	{
		if (size > namespaces[i].size && memcmp (name, namespaces[i].word, namespaces[i].size) == 0 && name[namespaces[i].size] == '/')
		{
			*slash = namespaces[i].size;
			return namespaces[i].number;
		}
	}
	return 0;
}

static int is_digit (unsigned char c)
{
	return c >= '0' && c <= '9';
}

/* Whether digits are a number from 1 to 2^63-1 without a leading zero. */
static int is_index (const unsigned char * digits, size_t size)
{
	if (size == 0 || size > MAX_DIGITS || digits[0] == '0') return 0;
	for (size_t i = 0; i < size; i++)
	{
		if (!is_digit (digits[i])) return 0;
	}
	return size < MAX_DIGITS || memcmp (digits, "9223372036854775807", MAX_DIGITS) <= 0;
}

/* One escaped part, cut at unescaped slashes. */
static int part_is_canonical (const unsigned char * part, size_t size)
{
	if (size == 0) return 0;
	switch (part[0])
	{
	case '.':
		return !(size == 1 || (size == 2 && part[1] == '.'));
	case '#':
		/* `#10` is spelt `#_10`; one digit needs no underscore. */
		return !(size > 2 && is_index (part + 1, size - 1));
	default:
		return 1;
	}
}

/* Parts with slashes between them; `size` > 0. */
static int path_is_canonical (const unsigned char * path, size_t size)
{
	size_t start = 0, i = 0;
	while (i < size)
	{
		unsigned char c = path[i];
		if (c == '/')
		{
			if (!part_is_canonical (path + start, i - start)) return 0;
			start = ++i;
		}
		else if (c == '\0')
		{
			return 0;
		}
		else if (c == '\\')
		{
			if (i + 1 >= size) return 0;
			unsigned char next = path[i + 1];
			if (next == '\\' || next == '/')
			{
				i += 2;
				continue;
			}
			/* The other escapes stand for a whole part; their rarer spellings are left to names.py. */
			if (i != start) return 0;
			size_t end = i + 2;
			if (next == '.' && end < size && path[end] == '.') end++;
			if (next == '#')
			{
				while (end < size && is_digit (path[end]))
					end++;
				if (!is_index (path + i + 2, end - i - 2)) return 0;
			}
			else if (next != '%' && next != '.')
			{
				return 0;
			}
			if (end < size && path[end] != '/') return 0;
			i = end;
		}
		else
		{
			i++;
		}
	}
	return part_is_canonical (path + start, size - start);
}

/* The same for a path without escapes, which nearly every one is: only slashes matter, and the bytes behind them. */
static int plain_path_is_canonical (const unsigned char * path, size_t size)
{
	const unsigned char *part = path, *end = path + size, *slash;
	while ((slash = memchr (part, '/', (size_t) (end - part))) != NULL)
	{
		if (!part_is_canonical (part, (size_t) (slash - part))) return 0;
		part = slash + 1;
	}
	return part_is_canonical (part, (size_t) (end - part));
}

static int any_path_is_canonical (const unsigned char * path, size_t size)
{
	if (memchr (path, '\0', size)) return 0;
	return memchr (path, '\\', size) ? path_is_canonical (path, size) : plain_path_is_canonical (path, size);
}

int dump_name_is_canonical (const unsigned char * name, size_t size)
{
	size_t slash;
	if (!namespace_of (name, size, &slash)) return 0;
	return slash + 1 == size || any_path_is_canonical (name + slash + 1, size - slash - 1);
}

int dump_metaname_is_canonical (const unsigned char * name, size_t size)
{
	/* `meta:/x` would be a full name. */
	if (size == 0 || (size >= 6 && memcmp (name, "meta:/", 6) == 0)) return 0;
	/* `\#5` is `#5` in another spelling, which a key name keeps and the name of a metakey does not (key.py). */
	const unsigned char * hash = memchr (name, '#', size);
	for (; hash; hash = memchr (hash + 1, '#', size - (size_t) (hash + 1 - name)))
	{
		if (hash > name && hash[-1] == '\\') return 0;
	}
	return any_path_is_canonical (name, size);
}

enum { AT_NAMESPACE, AT_PART, INSIDE_PART, BEHIND_END };

void dump_unescape_name (struct dump_unescaper * it, const unsigned char * name, size_t size)
{
	it->at = name;
	it->end = name + size;
	it->stage = AT_NAMESPACE;
}

void dump_unescape_metaname (struct dump_unescaper * it, const unsigned char * name, size_t size)
{
	it->at = name;
	it->end = name + size;
	it->stage = AT_PART;
}

int dump_unescape_next (struct dump_unescaper * it)
{
	switch (it->stage)
	{
	case AT_NAMESPACE: {
		size_t slash = 0;
		unsigned char number = namespace_of (it->at, (size_t) (it->end - it->at), &slash);
		it->at += slash; /* the slash itself gives the NUL behind the number */
		it->stage = INSIDE_PART;
		return number;
	}
	case AT_PART:
		it->stage = INSIDE_PART;
		if (it->at < it->end && *it->at == '%' && (it->at + 1 == it->end || it->at[1] == '/')) it->at++;
		/* fall through */
	case INSIDE_PART: {
		if (it->at == it->end)
		{
			it->stage = BEHIND_END;
			return 0;
		}
		unsigned char c = *it->at++;
		if (c == '/')
		{
			it->stage = AT_PART;
			return 0;
		}
		if (c == '\\' && it->at < it->end) c = *it->at++;
		return c;
	}
	default:
		return -1;
	}
}

static int compare (struct dump_unescaper * a, struct dump_unescaper * b)
{
	for (;;)
	{
		int x = dump_unescape_next (a), y = dump_unescape_next (b);
		if (x != y) return x < y ? -1 : 1;
		if (x < 0) return 0;
	}
}

/* Where both are alike, a long common beginning is skipped at once: it unescapes to the same, up to the last slash in it. */
static size_t common_beginning (const unsigned char * a, size_t a_size, const unsigned char * b, size_t b_size)
{
	size_t n = a_size < b_size ? a_size : b_size, i = 0;
	while (i + 8 <= n && memcmp (a + i, b + i, 8) == 0)
		i += 8;
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

int dump_name_compare (const unsigned char * a, size_t a_size, const unsigned char * b, size_t b_size)
{
	size_t same = common_beginning (a, a_size, b, b_size);
	if (same == a_size && same == b_size) return 0;
	struct dump_unescaper x, y;
	/* Back to a slash that surely separates parts: one behind the namespace, not preceded by a backslash. */
	while (same > 1 && !(a[same - 1] == '/' && a[same - 2] != '\\' && a[same - 2] != ':'))
		same--;
	if (same > 1)
	{
		dump_unescape_metaname (&x, a + same, a_size - same);
		dump_unescape_metaname (&y, b + same, b_size - same);
	}
	else
	{
		dump_unescape_name (&x, a, a_size);
		dump_unescape_name (&y, b, b_size);
	}
	return compare (&x, &y);
}

int dump_metaname_compare (const unsigned char * a, size_t a_size, const unsigned char * b, size_t b_size)
{
	struct dump_unescaper x, y;
	dump_unescape_metaname (&x, a, a_size);
	dump_unescape_metaname (&y, b, b_size);
	return compare (&x, &y);
}

int dump_name_compare_unescaped (const unsigned char * name, size_t size, const unsigned char * unescaped, size_t unescaped_size)
{
	struct dump_unescaper it;
	dump_unescape_name (&it, name, size);
	for (size_t i = 0;; i++)
	{
		int c = dump_unescape_next (&it);
		if (i == unescaped_size) return c < 0 ? 0 : 1;
		if (c != unescaped[i]) return c < unescaped[i] ? -1 : 1;
	}
}
