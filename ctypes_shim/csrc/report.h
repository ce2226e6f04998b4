/*
 * Elektra's error and warning metadata, written with keySetMeta: Elektra's own functions for it are private to its libraries.
 */
#ifndef STDIOPROC_REPORT_H
#define STDIOPROC_REPORT_H

#include "elektra_abi.h"

#include <stdbool.h>

/* Numbers of Elektra's error categories that this plugin uses itself. */
#define REPORT_RESOURCE "C01100"
#define REPORT_OUT_OF_MEMORY "C01110"
#define REPORT_INSTALLATION "C01200"
#define REPORT_INTERNAL "C01310"
#define REPORT_INTERFACE "C01320"
#define REPORT_MISBEHAVIOR "C01330"

/* What Elektra calls the category of that number; "Unknown" for numbers that it does not have. */
const char * report_description (const char * number);

/*
 * Put an error on the key. Where an error already stands it is kept and this one becomes a warning, as in Elektra itself.
 * A NULL key is ignored. file and line say where in this plugin it was noticed.
 */
void report_error (Key * key, const char * number, const char * module, const char * file, int line, const char * reason);
void report_warning (Key * key, const char * number, const char * module, const char * file, int line, const char * reason);

/* Add what is missing in an error that a child has put together itself, so that kdb does not print empty fields. */
void report_complete (Key * key, const char * module, const char * file, int line);

#endif
