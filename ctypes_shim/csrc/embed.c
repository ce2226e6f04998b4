/*
 * stdioproc-embed.so: Python inside a host that is not Python.
 *
 * The interpreter is started here and not by cffi, isolated from PATH, PYTHONHOME and PYTHONPATH of the host, from the environment
 * that this library was built for (baked.h is written by the build). Python's own threads never outlive a call, and the
 * interpreter is never finalised: extension modules may stay mapped in the host until it ends.
 */
#include <Python.h>

#include "baked.h"
#include "bridge.h"
#include "embed.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REBUILD "run `stdioproc shim install` in the Python environment that shall serve Elektra"
#define VERSION_TEXT_(number) #number
#define VERSION_TEXT(number) VERSION_TEXT_ (number)
#define PYTHON_VERSION VERSION_TEXT (PY_MAJOR_VERSION) "." VERSION_TEXT (PY_MINOR_VERSION)

enum state
{
    NOT_STARTED,
    RUNNING,
    FAILED, /* for good: a half started interpreter cannot be started again */
    ENDED   /* someone else finalised the interpreter */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum state state = NOT_STARTED;
static char failure[1024];
static bool owns_interpreter;

static bool fail (char * why, size_t why_size, const char * format, ...) __attribute__ ((format (printf, 3, 4)));

static bool fail (char * why, size_t why_size, const char * format, ...)
{
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (why, why_size, format, arguments);
    va_end (arguments);
    return false;
}

/* ---- before Python runs ---- */

/* The baked environment must still be there: without this, Python falls back in silence to whatever its library finds. */
static bool check_baked (char * why, size_t why_size)
{
    if (access (BAKED_EXECUTABLE, X_OK) != 0)
        return fail (why, why_size, "this plugin was built for the Python at %s, which is not there any more (%s); %s", BAKED_EXECUTABLE, strerror (errno),
                     REBUILD);
    for (size_t i = 0; baked_required[i]; ++i)
        if (access (baked_required[i], R_OK) != 0)
            return fail (why, why_size, "this plugin was built for the Python at %s, but %s is not there any more (%s); %s", BAKED_EXECUTABLE, baked_required[i],
                         strerror (errno), REBUILD);
    return true;
}

/*
 * Elektra loads plugins with RTLD_LOCAL, and Python's extension modules are not linked to libpython: they find its symbols only when
 * it is global.
 */
static void make_libpython_global (void)
{
    Dl_info info;
    if (dladdr ((void *) &Py_IsInitialized, &info) && info.dli_fname) (void) dlopen (info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
}

/* In a host that brings its own Python, our references may be bound to that one. */
static bool check_version (char * why, size_t why_size)
{
    static const char wanted[] = PYTHON_VERSION;
    const char * found = Py_GetVersion ();
    size_t size = sizeof (wanted) - 1;
    if (strncmp (found, wanted, size) == 0 && (found[size] == '.' || found[size] == ' ')) return true;
    return fail (why, why_size, "this process already runs Python %.20s, and this plugin was built for Python %s; build it with a Python of that version", found,
                 wanted);
}

static bool take_status (PyStatus status, const char * what, char * why, size_t why_size)
{
    if (!PyStatus_Exception (status)) return true;
    return fail (why, why_size, "Python at %s does not start (%s: %s); %s", BAKED_EXECUTABLE, what, status.err_msg ? status.err_msg : "no reason given",
                 REBUILD);
}

static bool set_text (PyConfig * config, wchar_t ** field, const char * text, char * why, size_t why_size)
{
    return take_status (PyConfig_SetBytesString (config, field, text), "its configuration", why, why_size);
}

static bool start_python (char * why, size_t why_size)
{
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig (&before);
    before.utf8_mode = 1; /* names and arguments are bytes of UTF-8, whatever the locale of the host is */
    if (!take_status (Py_PreInitialize (&before), "before its start", why, why_size)) return false;

    PyConfig config;
    PyConfig_InitIsolatedConfig (&config);
    config.site_import = 0;      /* the paths are baked; .pth files of the environment could run anything */
    config.write_bytecode = 0;   /* kdb run as root must not leave root's files in the user's environment */
    config.install_signal_handlers = 0;
    config.pathconfig_warnings = 0;
    bool good = set_text (&config, &config.program_name, BAKED_EXECUTABLE, why, why_size) &&
                set_text (&config, &config.executable, BAKED_EXECUTABLE, why, why_size) &&
                set_text (&config, &config.base_executable, BAKED_EXECUTABLE, why, why_size) &&
                set_text (&config, &config.prefix, BAKED_PREFIX, why, why_size) &&
                set_text (&config, &config.base_prefix, BAKED_BASE_PREFIX, why, why_size) &&
                set_text (&config, &config.exec_prefix, BAKED_EXEC_PREFIX, why, why_size) &&
                set_text (&config, &config.base_exec_prefix, BAKED_BASE_EXEC_PREFIX, why, why_size);
    config.module_search_paths_set = 1;
    for (size_t i = 0; good && baked_path[i]; ++i)
    {
        wchar_t * entry = Py_DecodeLocale (baked_path[i], NULL);
        good = entry ? take_status (PyWideStringList_Append (&config.module_search_paths, entry), "its search path", why, why_size)
                     : fail (why, why_size, "out of memory while Python starts");
        PyMem_RawFree (entry);
    }
    good = good && take_status (Py_InitializeFromConfig (&config), "its start", why, why_size);
    PyConfig_Clear (&config);
    return good;
}

/* ---- fork of the host ---- */

/*
 * A host may fork while another of its threads is inside Python, which would then be locked for good in the child. So the fork waits
 * for Python, as Python's own fork does. A fork by Python itself holds Python already and is left alone, and so is a host that
 * is Python: it takes care of its forks.
 */
static __thread bool holds_python;
static __thread PyGILState_STATE held;

static void before_fork (void)
{
    pthread_mutex_lock (&lock);
    holds_python = state == RUNNING && owns_interpreter && Py_IsInitialized () && !PyGILState_Check ();
    if (!holds_python) return;
    held = PyGILState_Ensure ();
    PyOS_BeforeFork ();
}

static void after_fork_in_parent (void)
{
    if (holds_python)
    {
        PyOS_AfterFork_Parent ();
        PyGILState_Release (held);
    }
    pthread_mutex_unlock (&lock);
}

static void after_fork_in_child (void)
{
    if (holds_python)
    {
        PyOS_AfterFork_Child ();
        PyGILState_Release (held);
    }
    pthread_mutex_unlock (&lock);
}

/* ---- signals of the host ---- */

/*
 * Importing Python's signal module takes SIGINT over, whatever the configuration says: Ctrl-C would no longer end the host. So all
 * dispositions are put back as they were. Until then signals wait.
 */
struct signals
{
    sigset_t mask;
    struct sigaction actions[NSIG];
    bool known[NSIG];
};

static void signals_save (struct signals * signals)
{
    sigset_t all;
    sigfillset (&all);
    pthread_sigmask (SIG_BLOCK, &all, &signals->mask);
    for (int number = 1; number < NSIG; ++number)
        signals->known[number] = sigaction (number, NULL, &signals->actions[number]) == 0;
}

static void signals_restore (const struct signals * signals)
{
    for (int number = 1; number < NSIG; ++number)
    {
        struct sigaction now;
        if (!signals->known[number] || sigaction (number, NULL, &now) != 0) continue;
        if (now.sa_handler != signals->actions[number].sa_handler) sigaction (number, &signals->actions[number], NULL);
    }
    pthread_sigmask (SIG_SETMASK, &signals->mask, NULL);
}

/* ---- start ---- */

/* The error that Python has raised, as text. */
static bool fail_with_exception (const char * what, char * why, size_t why_size)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyObject * value = PyErr_GetRaisedException ();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch (&type, &value, &traceback);
    PyErr_NormalizeException (&type, &value, &traceback);
    Py_XDECREF (type);
    Py_XDECREF (traceback);
#endif
    PyObject * text = value ? PyObject_Str (value) : NULL;
    const char * bytes = text ? PyUnicode_AsUTF8 (text) : NULL;
    fail (why, why_size, "Python at %s started, but %s failed: %s; %s", BAKED_EXECUTABLE, what, bytes ? bytes : "no reason given", REBUILD);
    Py_XDECREF (text);
    Py_XDECREF (value);
    PyErr_Clear ();
    return false;
}

/* A host that is Python itself has a search path of its own; ours is added behind it, and only where it is missing. */
static void extend_path (void)
{
    PyObject * path = PySys_GetObject ("path"); /* borrowed */
    for (size_t i = 0; path && PyList_Check (path) && baked_packages[i]; ++i)
    {
        PyObject * entry = PyUnicode_DecodeFSDefault (baked_packages[i]);
        if (entry && PySequence_Contains (path, entry) == 0) PyList_Append (path, entry);
        Py_XDECREF (entry);
        PyErr_Clear ();
    }
}

/* Before cffi does the same, which would only print a traceback to the host's standard error. */
static bool import_runtime (char * why, size_t why_size)
{
    static const char * const modules[] = { "_cffi_backend", "ctypes_shim._runtime" };
    if (!owns_interpreter) extend_path ();
    PyObject * module = NULL;
    for (size_t i = 0; i < sizeof (modules) / sizeof (*modules); ++i)
    {
        Py_XDECREF (module);
        module = PyImport_ImportModule (modules[i]);
        if (!module) return fail_with_exception (modules[i], why, why_size);
    }
    PyObject * version = PyObject_GetAttrString (module, "BRIDGE_VERSION");
    bool same = version && PyLong_AsLong (version) == STDIOPROC_BRIDGE_VERSION;
    PyErr_Clear ();
    Py_XDECREF (version);
    Py_DECREF (module);
    if (same) return true;
    return fail (why, why_size, "the stdioproc package that Python at %s imports is of another version than this plugin; %s", BAKED_EXECUTABLE, REBUILD);
}

/* Called by Python while it is finalised, which is never done by us. */
static void interpreter_ends (void)
{
    state = ENDED;
}

static bool boot_python (char * why, size_t why_size)
{
    if (owns_interpreter)
    {
        if (!start_python (why, why_size)) return false;
        PyEval_SaveThread ();
    }
    PyGILState_STATE gil = PyGILState_Ensure ();
    bool imported = import_runtime (why, why_size);
    if (imported) Py_AtExit (interpreter_ends);
    PyGILState_Release (gil);
    if (!imported) return false;
    if (stdioproc_cffi_start () == 0) return true;
    return fail (why, why_size, "Python at %s cannot attach this plugin (its standard error says why); %s", BAKED_EXECUTABLE, REBUILD);
}

static bool boot (char * why, size_t why_size)
{
    struct signals signals;
    if (!check_version (why, why_size) || !check_baked (why, why_size)) return false;
    make_libpython_global ();
    owns_interpreter = !Py_IsInitialized ();
    if (owns_interpreter) signals_save (&signals);
    bool good = boot_python (why, why_size);
    if (owns_interpreter) signals_restore (&signals);
    if (good) pthread_atfork (before_fork, after_fork_in_parent, after_fork_in_child);
    return good;
}

static bool ensure_running (char * why, size_t why_size)
{
    pthread_mutex_lock (&lock);
    if (state == NOT_STARTED) state = boot (failure, sizeof (failure)) ? RUNNING : FAILED;
    enum state now = state;
    pthread_mutex_unlock (&lock);
    if (now == RUNNING) return true;
    if (now == ENDED)
        return fail (why, why_size, "the Python interpreter of this process was shut down by its owner (Elektra's python plugin does so when it is "
                                    "closed); use stdioproc and that plugin in different processes");
    return fail (why, why_size, "%s", failure);
}

static int request (const struct stdioproc_request * request, struct stdioproc_reply * reply, char * why, size_t why_size)
{
    memset (reply, 0, sizeof (*reply));
    if (!ensure_running (why, why_size)) return -1;
    if (stdioproc_python_request (request, reply) == 0) return 0;
    fail (why, why_size, "the Python side of this plugin failed without a message");
    return -1;
}

static void release (struct stdioproc_reply * reply)
{
    pthread_mutex_lock (&lock);
    bool running = state == RUNNING;
    pthread_mutex_unlock (&lock);
    if (running && reply->token) stdioproc_python_release (reply->token);
    memset (reply, 0, sizeof (*reply));
}

__attribute__ ((visibility ("default"))) const struct stdioproc_bridge stdioproc_bridge = { STDIOPROC_BRIDGE_VERSION, request, release };
