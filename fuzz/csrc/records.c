/* dumpfmt's extension module under libFuzzer and the sanitizers: the differential target `records` of targets.py, in a Python that
 * lives in this program, so that coverage of native.c and dumpscan.c steers what is tried.
 *
 * The directories of targets.py and of the packages come from the environment (FUZZ_PATH); run.py sets it.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "harness.h"

PyMODINIT_FUNC PyInit__native (void);

static PyObject * target;

static void must_not_raise (const void * result)
{
	if (result) return;
	PyErr_Print ();
	abort ();
}

int LLVMFuzzerInitialize (int * argc, char *** argv);
int LLVMFuzzerInitialize (int * argc, char *** argv)
{
	(void) argc;
	(void) argv;
	/* What `import dumpfmt._native` finds, before another build of it is looked for. */
	MUST (PyImport_AppendInittab ("_fuzzed_native", PyInit__native) == 0);
	PyConfig config;
	PyConfig_InitPythonConfig (&config);
	config.install_signal_handlers = 0; /* they are libFuzzer's */
	config.write_bytecode = 0;
	PyStatus status = Py_InitializeFromConfig (&config);
	PyConfig_Clear (&config);
	MUST (!PyStatus_Exception (status));
	static const char start[] = "import os, sys\n"
				    "sys.path[:0] = os.environ['FUZZ_PATH'].split(os.pathsep)\n"
				    "import _fuzzed_native\n"
				    "sys.modules['dumpfmt._native'] = _fuzzed_native\n"
				    "import targets, dumpfmt.native\n"
				    "assert dumpfmt.native.native is _fuzzed_native\n";
	MUST (PyRun_SimpleString (start) == 0);
	PyObject * module = PyImport_ImportModule ("targets");
	must_not_raise (module);
	target = PyObject_GetAttrString (module, "records");
	must_not_raise (target);
	return 0;
}

int LLVMFuzzerTestOneInput (const uint8_t * data, size_t size)
{
	PyObject * result = PyObject_CallFunction (target, "y#", (const char *) data, (Py_ssize_t) size);
	must_not_raise (result);
	Py_DECREF (result);
	return 0;
}
