/* Runs a harness over files, where there is no libFuzzer: what the regression tests use. Usage: PROGRAM FILE... */
#include "harness.h"

int main (int argc, char ** argv)
{
	for (int i = 1; i < argc; i++)
	{
		FILE * file = fopen (argv[i], "rb");
		MUST (file && fseek (file, 0, SEEK_END) == 0);
		long size = ftell (file);
		MUST (size >= 0 && fseek (file, 0, SEEK_SET) == 0);
		uint8_t * data = malloc ((size_t) size + 1);
		MUST (data && fread (data, 1, (size_t) size, file) == (size_t) size);
		fclose (file);
		fprintf (stderr, "%s\n", argv[i]); /* what a crash below belongs to */
		LLVMFuzzerTestOneInput (data, (size_t) size);
		free (data);
	}
	return 0;
}
