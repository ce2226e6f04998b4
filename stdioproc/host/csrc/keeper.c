/* stdioproc-keeper: stands between a host and a plugin's program, and leaves nothing of it behind.
 *
 *     keeper HOST_PID OPTIONS PROGRAM ARGV0 [ARG …]
 *
 * Descriptors: 0, 1 and 2 are the program's; 3 is the lifeline, a pipe whose other end only the host holds; 4 takes reports.
 * OPTIONS are `name=number` separated by commas, or `-`: `memory` (bytes), `cpu` (seconds) and `files` are rlimits of the program,
 * `exec` is a descriptor to execute instead of PROGRAM, `keep` one that the program finds open.
 *
 * The program runs in a session of its own with default signals, no descriptor but the three, no new privileges. The keeper is
 * its subreaper: descendants that leave the session, or lose their parents, become the keeper's children. Everything is killed
 * when the program has ended, when the lifeline closes, or when the host is gone. A byte on the lifeline is an order: T sends
 * SIGTERM to the program's group, K kills everything.
 *
 * Reports are struct report, in this order: the program runs (or does not), then how it ended. Written for Linux.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIFELINE = 3, REPORT = 4 };

enum report_kind { STARTED = 1, FAILED = 2, ENDED = 3 };

struct report {
	int32_t kind;
	int32_t value; /* pid, errno, or status as of waitpid */
};

struct options {
	long long memory, cpu, files; /* -1: unset */
	int exec, keep;
};

extern char ** environ;

static void report (enum report_kind kind, int value)
{
	struct report what = { kind, value };
	/* Smaller than PIPE_BUF, so it goes whole or not at all; without a reader there is nobody to tell. */
	ssize_t ignored = write (REPORT, &what, sizeof what);
	(void) ignored;
}

static void fail (int error)
{
	report (FAILED, error);
	_exit (125);
}

static struct options parse (char * text)
{
	struct options options = { -1, -1, -1, -1, -1 };
	char * rest = text;
	for (char * word; strcmp (text, "-") != 0 && (word = strsep (&rest, ",")) != NULL;)
	{
		char * value = strchr (word, '=');
		char * end = NULL;
		if (!value) fail (EINVAL);
		*value++ = '\0';
		errno = 0;
		long long number = strtoll (value, &end, 10);
		int is_descriptor = strcmp (word, "exec") == 0 || strcmp (word, "keep") == 0;
		if (errno || end == value || *end || number < 0 || (is_descriptor && number > INT_MAX)) fail (EINVAL);
		if (strcmp (word, "memory") == 0)
			options.memory = number;
		else if (strcmp (word, "cpu") == 0)
			options.cpu = number;
		else if (strcmp (word, "files") == 0)
			options.files = number;
		else if (strcmp (word, "exec") == 0)
			options.exec = (int) number;
		else if (strcmp (word, "keep") == 0)
			options.keep = (int) number;
		else
			fail (EINVAL);
	}
	return options;
}

static int limit (int resource, long long value)
{
	if (value < 0) return 0;
	struct rlimit both = { (rlim_t) value, (rlim_t) value };
	return setrlimit (resource, &both);
}

/* What the host had open is none of the keeper's business, and must not be kept open by it. */
static void close_from (int first)
{
#ifdef SYS_close_range
	if (syscall (SYS_close_range, (unsigned) first, ~0U, 0U) == 0) return;
#endif
	long most = sysconf (_SC_OPEN_MAX);
	for (int fd = first; fd < (most > 0 ? most : 1024); fd++)
		close (fd);
}

/* Nothing above the standard three reaches the program; closing is left to exec, for the descriptor that says why it failed. */
static void close_on_exec_from (int first)
{
#ifdef SYS_close_range
	if (syscall (SYS_close_range, (unsigned) first, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */) == 0) return;
#endif
	long most = sysconf (_SC_OPEN_MAX);
	for (int fd = first; fd < (most > 0 ? most : 1024); fd++)
		fcntl (fd, F_SETFD, FD_CLOEXEC);
}

/* The forked child: become the program. Returns only the errno of what failed. */
static int become (const struct options * options, pid_t keeper, char * program, char ** argv)
{
	/* The keeper dies of nothing but SIGKILL; then the program must not outlive it. */
	if (prctl (PR_SET_PDEATHSIG, SIGKILL) < 0) return errno;
	if (getppid () != keeper) return ESRCH;
	if (setsid () < 0) return errno;
	struct sigaction action;
	memset (&action, 0, sizeof action);
	action.sa_handler = SIG_DFL;
	for (int number = 1; number < NSIG; number++)
		sigaction (number, &action, NULL); /* KILL, STOP and the C library's own refuse, and have their defaults */
	sigset_t none;
	sigemptyset (&none);
	sigprocmask (SIG_SETMASK, &none, NULL);
	if (limit (RLIMIT_AS, options->memory) || limit (RLIMIT_CPU, options->cpu) || limit (RLIMIT_NOFILE, options->files)) return errno;
	if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return errno;
	close_on_exec_from (3);
	if (options->keep >= 0 && fcntl (options->keep, F_SETFD, 0) < 0) return errno;
	if (options->exec < 0)
	{
		execve (program, argv, environ);
		return errno;
	}
	syscall (SYS_execveat, options->exec, "", argv, environ, 0x1000 /* AT_EMPTY_PATH */);
	return errno;
}

/* SIGKILL for every child of this process, which orphans of the program become; 0 when there is none. */
static int kill_children (void)
{
	char path[64], text[4096];
	int some = 0;
	snprintf (path, sizeof path, "/proc/self/task/%ld/children", (long) getpid ());
	int fd = open (path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return 0;
	ssize_t size = read (fd, text, sizeof text - 1);
	close (fd);
	if (size <= 0) return 0;
	text[size] = '\0';
	/* A list that does not fit is read again by the next round; its last number may be cut, and is left to that too. */
	for (char * at = text; *at;)
	{
		char * end;
		long pid = strtol (at, &end, 10);
		if (end == at || (*end == '\0' && size == (ssize_t) sizeof text - 1)) break;
		if (pid > 0 && kill ((pid_t) pid, SIGKILL) == 0) some = 1;
		at = *end ? end + 1 : end;
	}
	return some;
}

static double now (void)
{
	struct timespec time;
	clock_gettime (CLOCK_MONOTONIC, &time);
	return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

/* Reap what there is. Returns 1 when the program itself was among it. */
static int reap (pid_t program, int * status)
{
	int found = 0, raw;
	for (pid_t pid; (pid = waitpid (-1, &raw, WNOHANG)) > 0;)
	{
		if (pid == program)
		{
			*status = raw;
			found = 1;
		}
	}
	return found;
}

/* Kill the program, its group and all that descends from it, until nothing is left. A process that even SIGKILL does not end
 * hangs in the kernel; it is waited for five seconds. */
static void kill_all (pid_t program, int * running, int * status, int signals)
{
	double end = now () + 5.0;
	if (*running) kill (-program, SIGKILL);
	for (;;)
	{
		kill_children ();
		if (reap (program, status)) *running = 0;
		siginfo_t any;
		if (waitid (P_ALL, 0, &any, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD) return;
		if (now () > end) return;
		struct pollfd wait = { signals, POLLIN, 0 };
		struct signalfd_siginfo info;
		if (poll (&wait, 1, 10) > 0 && read (signals, &info, sizeof info) < 0) return;
	}
}

int main (int argc, char ** argv)
{
	if (argc < 5)
	{
		fputs ("stdioproc-keeper is started by stdioproc's host; it is no command to type\n", stderr);
		return 64;
	}
	pid_t host = (pid_t) strtol (argv[1], NULL, 10);
	struct options options = parse (argv[2]);
	/* Descriptors that the options name come right behind the keeper's own. */
	int last = options.exec > options.keep ? options.exec : options.keep;
	close_from ((last > REPORT ? last : REPORT) + 1);
	fcntl (LIFELINE, F_SETFD, FD_CLOEXEC);
	fcntl (REPORT, F_SETFD, FD_CLOEXEC);
	int host_fd = (int) syscall (SYS_pidfd_open, host, 0);
	if (getppid () != host) return 125;
	if (prctl (PR_SET_CHILD_SUBREAPER, 1) < 0) fail (errno);

	sigset_t handled;
	sigemptyset (&handled);
	sigaddset (&handled, SIGCHLD);
	sigaddset (&handled, SIGTERM);
	sigaddset (&handled, SIGINT);
	sigaddset (&handled, SIGHUP);
	sigaddset (&handled, SIGPIPE);
	sigprocmask (SIG_BLOCK, &handled, NULL);
	sigdelset (&handled, SIGPIPE);
	int signals = signalfd (-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
	int check[2];
	if (signals < 0 || pipe2 (check, O_CLOEXEC) < 0) fail (errno);

	pid_t keeper = getpid ();
	pid_t program = fork ();
	if (program < 0) fail (errno);
	if (program == 0)
	{
		int error = become (&options, keeper, argv[3], argv + 4);
		ssize_t ignored = write (check[1], &error, sizeof error);
		(void) ignored;
		_exit (127);
	}
	close (check[1]);
	/* The program's pipes must close when it closes them. */
	int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd < 3; fd++)
		dup2 (null, fd);
	if (options.exec >= 0) close (options.exec);
	if (options.keep >= 0) close (options.keep);
	int error;
	ssize_t size;
	while ((size = read (check[0], &error, sizeof error)) < 0 && errno == EINTR)
		;
	close (check[0]);
	if (size == (ssize_t) sizeof error)
	{
		waitpid (program, NULL, 0);
		fail (error);
	}
	report (STARTED, program);

	int running = 1, status = 0;
	struct pollfd wait[] = { { LIFELINE, POLLIN, 0 }, { signals, POLLIN, 0 }, { host_fd, POLLIN, 0 } };
	while (running)
	{
		if (poll (wait, host_fd < 0 ? 2 : 3, -1) < 0 && errno != EINTR) break;
		if (wait[1].revents)
		{
			struct signalfd_siginfo info;
			int told = 0;
			while (read (signals, &info, sizeof info) == (ssize_t) sizeof info)
				told = told || info.ssi_signo != SIGCHLD;
			/* The status is taken last: as long as the program is not reaped, its group is surely its own. */
			siginfo_t ended = { .si_pid = 0 };
			if (told || (waitid (P_PID, (id_t) program, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == program)) break;
			/* An orphan that ended is reaped; the program is not, since it runs. */
			for (siginfo_t other = { .si_pid = 0 };
			     waitid (P_ALL, 0, &other, WEXITED | WNOHANG | WNOWAIT) == 0 && other.si_pid > 0 && other.si_pid != program;
			     other.si_pid = 0)
				waitpid (other.si_pid, NULL, WNOHANG);
		}
		if (wait[0].revents)
		{
			char order = 0;
			if (read (LIFELINE, &order, 1) != 1 || order == 'K') break;
			if (order == 'T') kill (-program, SIGTERM);
		}
		if (host_fd >= 0 && wait[2].revents) break;
	}
	kill_all (program, &running, &status, signals);
	report (ENDED, status);
	return 0;
}
