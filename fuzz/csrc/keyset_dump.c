/* The codec of the shim (keyset_dump.h) on the test double of Elektra: reply bytes to KeySet and back.
 *
 * Input: two replies, separated by 0xff 0xff 0xff. The first is applied to an empty keyset, the second to what that gave. What must
 * hold: a refused reply changes nothing and says why; what was accepted is written, and read again, without a difference; a
 * reply that changes nothing keeps every key object; no key is left when the keysets are gone.
 */
#include "elektra_double.h"
#include "harness.h"
#include "keyset_dump.h"

/* The double looks metadata up in a buffer of its own and gives up on longer names. */
#define DOUBLE_NAME_LIMIT 480

static int double_can (const unsigned char * data, size_t size)
{
	struct dump_records records;
	struct dump_problem problem = { "" };
	int can = 1;
	if (dump_read (&records, (const char *) data, size, &problem))
	{
		for (size_t i = 0; i < records.meta_count; i++)
			can = can && records.metas[i].name.size < DOUBLE_NAME_LIMIT;
	}
	else
	{
		MUST (problem.text[0] && strlen (problem.text) < sizeof problem.text);
	}
	dump_records_free (&records);
	return can;
}

static void check_written (const KeySet * ks)
{
	struct dump_problem problem = { "" };
	struct dump_buffer first = { 0 }, second = { 0 };
	if (!dump_write_keyset (&first, ks, &problem))
	{
		/* A keyset that was read may be refused only for a reason. */
		MUST (problem.text[0]);
		dump_buffer_free (&first);
		return;
	}
	unsigned char * bytes = exactly ((const uint8_t *) first.data, first.size);
	KeySet * copy = ksNew (0, KS_END);
	MUST (dump_apply ((const char *) bytes, first.size, copy, NULL, &problem));
	MUST (ksGetSize (copy) == ksGetSize (ks));
	MUST (dump_write_keyset (&second, copy, &problem));
	MUST (first.size == second.size && memcmp (first.data, second.data, first.size) == 0);
	/* Applied once more, nothing differs, so every object stays. */
	Key * before = ksAtCursor (copy, ksGetSize (copy) - 1);
	MUST (dump_apply ((const char *) bytes, first.size, copy, NULL, &problem));
	MUST (ksAtCursor (copy, ksGetSize (copy) - 1) == before);
	free (bytes);
	ksDel (copy);
	dump_buffer_free (&first);
	dump_buffer_free (&second);
}

static void apply (KeySet * ks, const uint8_t * data, size_t size)
{
	unsigned char * bytes = exactly (data, size);
	struct dump_problem problem = { "" };
	struct dump_buffer before = { 0 }, after = { 0 };
	if (double_can (bytes, size))
	{
		ssize_t count = ksGetSize (ks);
		Key * last = ksAtCursor (ks, count - 1);
		int written = dump_write_keyset (&before, ks, &problem);
		/* The parent key of an operation may be a member. */
		Key * protect = ksAtCursor (ks, 0);
		if (protect) keyIncRef (protect);
		if (!dump_apply ((const char *) bytes, size, ks, protect, &problem))
		{
			MUST (problem.text[0]);
			MUST (ksGetSize (ks) == count && ksAtCursor (ks, count - 1) == last);
			MUST (dump_write_keyset (&after, ks, &problem) == written);
			if (written) MUST (before.size == after.size && memcmp (before.data, after.data, before.size) == 0);
		}
		if (protect)
		{
			keyDecRef (protect);
			keyDel (protect);
		}
		check_written (ks);
	}
	free (bytes);
	dump_buffer_free (&before);
	dump_buffer_free (&after);
}

int LLVMFuzzerTestOneInput (const uint8_t * data, size_t size)
{
	static const uint8_t separator[] = { 0xff, 0xff, 0xff };
	size_t first = 0;
	while (first < size && !(size - first >= sizeof separator && memcmp (data + first, separator, sizeof separator) == 0))
		first++;
	size_t second = first + sizeof separator < size ? first + sizeof separator : size;
	KeySet * ks = ksNew (0, KS_END);
	apply (ks, data, first);
	if (first < size) apply (ks, data + second, size - second);
	ksDel (ks);
	MUST (double_keys_alive () == 0);
	return 0;
}
