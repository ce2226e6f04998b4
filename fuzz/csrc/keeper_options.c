/* The options of the keeper (stdioproc/host/csrc/keeper.c): name=number, separated by commas.
 *
 * The keeper is a program, so its file is taken in whole, with its way out replaced. What must hold: options are either refused
 * with EINVAL or give numbers that were written there.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <unistd.h>

#include "harness.h"

static jmp_buf way_out;
static int32_t refused;

static void leave (int status) __attribute__ ((noreturn));
static ssize_t note (int fd, const void * data, size_t size);

#define _exit leave
#define write note
#define main keeper_main
#include "keeper.c"
#undef main
#undef write
#undef _exit

static void leave (int status)
{
	MUST (status == 125);
	longjmp (way_out, 1);
}

static ssize_t note (int fd, const void * data, size_t size)
{
	struct report what;
	MUST (fd == REPORT && size == sizeof what);
	memcpy (&what, data, size);
	MUST (what.kind == FAILED);
	refused = what.value;
	return (ssize_t) size;
}

int LLVMFuzzerTestOneInput (const uint8_t * data, size_t size)
{
	(void) keeper_main;
	char * text = malloc (size + 1);
	MUST (text);
	if (size) memcpy (text, data, size);
	text[size] = '\0';
	refused = 0;
	if (setjmp (way_out) == 0)
	{
		struct options options = parse (text);
		MUST (options.memory >= -1 && options.cpu >= -1 && options.files >= -1);
		MUST (options.exec >= -1 && options.keep >= -1);
	}
	else
	{
		MUST (refused == EINVAL);
	}
	free (text);
	return 0;
}
