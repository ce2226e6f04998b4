/* What the harnesses share. Each is one file with LLVMFuzzerTestOneInput, run by libFuzzer or by standalone.c. */
#ifndef FUZZ_HARNESS_H
#define FUZZ_HARNESS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t * data, size_t size);

/* A property that does not hold ends the program, as a memory error does. */
#define MUST(condition)                                                                                                                    \
	do                                                                                                                                 \
	{                                                                                                                                  \
		if (!(condition))                                                                                                          \
		{                                                                                                                          \
			fprintf (stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                   \
			abort ();                                                                                                          \
		}                                                                                                                          \
	} while (0)

/* A heap copy of exactly that size, so that a read before or behind it is seen. */
static inline unsigned char * exactly (const uint8_t * data, size_t size)
{
	unsigned char * copy = malloc (size ? size : 1);
	MUST (copy);
	if (size) memcpy (copy, data, size);
	return copy;
}

#endif
