/* Names: validity, unescaping and comparison in dumpfmt/csrc/dumpscan.c.
 *
 * Input: three names, separated by 0xff 0xff. What must hold: nothing is read outside a name; unescaping a canonical one ends, gives
 * at most two bytes more than were there, and never a slash that was not escaped; the comparisons are those of the unescaped
 * bytes, antisymmetric and transitive; a name that is no canonical one is still unescaped without harm.
 */
#include "dumpscan.h"
#include "harness.h"

#define NAMES 3

struct name {
	unsigned char * escaped;
	size_t size;
	unsigned char * unescaped;
	size_t unescaped_size;
	int canonical;
};

static int sign (int order)
{
	return (order > 0) - (order < 0);
}

static int order_of_bytes (const struct name * a, const struct name * b)
{
	size_t common = a->unescaped_size < b->unescaped_size ? a->unescaped_size : b->unescaped_size;
	int order = common ? memcmp (a->unescaped, b->unescaped, common) : 0;
	return order ? sign (order) : (a->unescaped_size > b->unescaped_size) - (a->unescaped_size < b->unescaped_size);
}

static void unescape (struct name * name, int is_meta)
{
	struct dump_unescaper it;
	size_t room = name->size + 2;
	name->unescaped = malloc (room);
	MUST (name->unescaped);
	name->unescaped_size = 0;
	(is_meta ? dump_unescape_metaname : dump_unescape_name) (&it, name->escaped, name->size);
	for (int c; (c = dump_unescape_next (&it)) >= 0;)
	{
		MUST (c <= 255 && name->unescaped_size < room);
		name->unescaped[name->unescaped_size++] = (unsigned char) c;
	}
	MUST (dump_unescape_next (&it) < 0);
	if (name->canonical) MUST (name->unescaped_size > 0 && name->unescaped[name->unescaped_size - 1] == 0);
	if (name->canonical && !is_meta) MUST (name->unescaped[0] >= 1 && name->unescaped[0] <= 8 && name->unescaped[1] == 0);
}

static void check (struct name * names, int is_meta)
{
	int (*compare) (const unsigned char *, size_t, const unsigned char *, size_t) =
		is_meta ? dump_metaname_compare : dump_name_compare;
	int orders[NAMES][NAMES];
	for (int i = 0; i < NAMES; i++)
	{
		names[i].canonical = is_meta ? dump_metaname_is_canonical (names[i].escaped, names[i].size) :
					       dump_name_is_canonical (names[i].escaped, names[i].size);
		unescape (&names[i], is_meta);
	}
	for (int i = 0; i < NAMES; i++)
	{
		for (int j = 0; j < NAMES; j++)
		{
			const struct name *a = &names[i], *b = &names[j];
			if (!a->canonical || !b->canonical) continue;
			orders[i][j] = sign (compare (a->escaped, a->size, b->escaped, b->size));
			MUST (orders[i][j] == order_of_bytes (a, b));
			if (!is_meta)
			{
				int order = dump_name_compare_unescaped (a->escaped, a->size, b->unescaped, b->unescaped_size);
				MUST (sign (order) == orders[i][j]);
			}
		}
		/* Prefixes of an unescaped name, and one that is longer, as a lookup may ask for. */
		for (size_t size = 0; names[i].canonical && !is_meta && size < names[i].unescaped_size && size < 64; size++)
		{
			unsigned char * part = exactly (names[i].unescaped, size);
			MUST (dump_name_compare_unescaped (names[i].escaped, names[i].size, part, size) > 0);
			free (part);
		}
	}
	for (int i = 0; i < NAMES; i++)
	{
		for (int j = 0; j < NAMES; j++)
		{
			if (names[i].canonical && names[j].canonical) MUST (orders[i][j] == -orders[j][i]);
			for (int k = 0; k < NAMES; k++)
			{
				if (names[i].canonical && names[j].canonical && names[k].canonical && orders[i][j] <= 0 && orders[j][k] <= 0)
					MUST (orders[i][k] <= 0);
			}
		}
	}
	for (int i = 0; i < NAMES; i++)
		free (names[i].unescaped);
}

int LLVMFuzzerTestOneInput (const uint8_t * data, size_t size)
{
	struct name names[NAMES];
	size_t start = 0;
	for (int i = 0; i < NAMES; i++)
	{
		size_t end = start;
		while (end < size && !(i < NAMES - 1 && end + 1 < size && data[end] == 0xff && data[end + 1] == 0xff))
			end++;
		names[i] = (struct name){ exactly (data + start, end - start), end - start, NULL, 0, 0 };
		start = end + 2 < size ? end + 2 : size;
	}
	check (names, 0);
	check (names, 1);
	for (int i = 0; i < NAMES; i++)
		free (names[i].escaped);
	return 0;
}
