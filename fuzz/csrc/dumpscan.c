/* Records: dumpfmt/csrc/dumpscan.c on bytes that may be a dump.
 *
 * Input: one byte that picks the limits, then the bytes. What must hold: nothing is read outside them; every record lies inside
 * them and inside the limits; pieces are answered as the whole is; DUMP_MORE names a size that is not there yet and that the
 * limits allow.
 */
#include "dumpscan.h"
#include "harness.h"

static const struct dump_limits choices[] = {
	{ 1 << 30, 1 << 20, 1 << 28, 10000000 },
	{ 64, 8, 16, 2 },
	{ 40, SIZE_MAX / 2, SIZE_MAX / 2, 1 },
	{ SIZE_MAX / 2, SIZE_MAX / 2, SIZE_MAX / 2, SIZE_MAX / 2 }, /* the largest that a Py_ssize_t takes */
	{ 0, 0, 0, 0 },
};

static void check_record (const unsigned char * data, size_t size, size_t position, const struct dump_limits * limits,
			  const struct dump_record * record)
{
	MUST (record->start == position && record->end > position && record->end <= size && record->end <= limits->message);
	MUST (data[record->end - 1] == '\n');
	if (record->kind == DUMP_HEADER || record->kind == DUMP_END)
	{
		MUST (record->first_size == 0 && record->second_size == 0);
		return;
	}
	MUST (record->first_size <= limits->name);
	MUST (record->second_size <= (record->kind == DUMP_COPYMETA ? limits->name : limits->value));
	MUST (record->first > position && record->second == record->first + record->first_size + 1);
	MUST (record->end == record->second + record->second_size + 1);
	MUST (data[record->first - 1] == '\n' && data[record->second - 1] == '\n');
}

/* The same record again, with the bytes arriving one at a time; each piece lies in memory of exactly its size. */
static void check_pieces (const uint8_t * data, size_t size, size_t position, const struct dump_limits * limits, enum dump_answer whole)
{
	/* What comes behind the record may not matter, but what is missing may turn the answer only from MORE to another. */
	size_t need = position + 1;
	for (size_t end = position; end <= size; end++)
	{
		struct dump_record record;
		size_t wanted = 0;
		unsigned char * piece = exactly (data + position, end - position);
		/* The scanner sees offsets from the start of the dump; a piece from `position` on has smaller ones. */
		struct dump_limits rest = *limits;
		rest.message = limits->message > position ? limits->message - position : 0;
		enum dump_answer answer = dump_next (piece, end - position, 0, &rest, &record, &wanted);
		free (piece);
		if (answer == DUMP_MORE)
		{
			MUST (end < size || whole == DUMP_MORE);
			MUST (wanted > end - position);
			MUST (wanted <= rest.message || wanted == end - position + 1);
			need = position + wanted;
			continue;
		}
		MUST (answer == whole);
		MUST (answer == DUMP_UNSURE || end >= need);
		return;
	}
	MUST (whole == DUMP_MORE);
}

int LLVMFuzzerTestOneInput (const uint8_t * data, size_t size)
{
	if (size == 0) return 0;
	const struct dump_limits * limits = &choices[data[0] % (sizeof choices / sizeof *choices)];
	unsigned char * bytes = exactly (data + 1, --size);
	size_t position = 0;
	for (int count = 0; count < 64; count++)
	{
		struct dump_record record;
		size_t need = 0;
		enum dump_answer answer = dump_next (bytes, size, position, limits, &record, &need);
		if (size <= 512) check_pieces (bytes, size, position, limits, answer);
		if (answer != DUMP_WHOLE)
		{
			MUST (answer == DUMP_UNSURE || need > size);
			break;
		}
		check_record (bytes, size, position, limits, &record);
		position = record.end;
	}
	free (bytes);
	return 0;
}
