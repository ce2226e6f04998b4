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
 * when the program has ended. When the host is gone (the lifeline closes, or its process has ended: a forked copy of it may hold
 * the lifeline) the program has GRACE for what it does at the end of its input, and after SIGTERM once more TOLD. A byte on the
 * lifeline is an order: T sends SIGTERM to the program's group, K kills everything.
 *
 * Reports are struct report, in this order: the program runs (or does not), then how it ended. Written for Linux.
 */
#define _GNU_SOURCE
#include <dirent.h>
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

/* Seconds between the end of the host and SIGTERM, and from there to SIGKILL. */
static const double GRACE = 0.3, TOLD = 0.2;

/* Where the system lists the children of this process, given its number; tests build a keeper that does not find it. */
#ifndef CHILDREN
#define CHILDREN "/proc/self/task/%ld/children"
#endif

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

/* Nothing is ever raised: where less is allowed already, that stays. `more` is what the hard limit lies above the soft one. */
static int limit (int resource, long long value, rlim_t more)
{
	struct rlimit now;
	if (value < 0) return 0;
	if (getrlimit (resource, &now) < 0) return -1;
	struct rlimit wanted = { (rlim_t) value, (rlim_t) value + more };
	if (wanted.rlim_max > now.rlim_max) wanted.rlim_max = now.rlim_max;
	if (wanted.rlim_cur > wanted.rlim_max) wanted.rlim_cur = wanted.rlim_max;
	return setrlimit (resource, &wanted);
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
	/* At the soft limit comes SIGXCPU, which says what happened, and a second later SIGKILL. */
	if (limit (RLIMIT_AS, options->memory, 0) || limit (RLIMIT_CPU, options->cpu, 1) || limit (RLIMIT_NOFILE, options->files, 0))
		return errno;
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

/* SIGKILL for every process in the list, which is read to its end. */
static void kill_listed (int list)
{
	char text[4096];
	long pid = 0;
	for (ssize_t size; (size = read (list, text, sizeof text)) > 0;)
	{
		for (ssize_t at = 0; at < size; at++)
		{
			if (text[at] >= '0' && text[at] <= '9')
			{
				pid = pid * 10 + (text[at] - '0');
				continue;
			}
			if (pid > 0) kill ((pid_t) pid, SIGKILL);
			pid = 0;
		}
	}
	if (pid > 0) kill ((pid_t) pid, SIGKILL);
}

/* The parent of a process, or 0. */
static long parent_of (const char * number)
{
	char path[64], text[512];
	snprintf (path, sizeof path, "/proc/%.20s/stat", number);
	int fd = open (path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return 0;
	ssize_t size = read (fd, text, sizeof text - 1);
	close (fd);
	if (size <= 0) return 0;
	text[size] = '\0';
	/* The name of the program stands in parentheses, and may contain some. */
	char * end = strrchr (text, ')');
	long parent = 0;
	return end && sscanf (end, ") %*c %ld", &parent) == 1 ? parent : 0;
}

/* SIGKILL for every child of this process, which orphans of the program become. None of them is another's by then: only this
 * process can reap them. Not every system lists them (CONFIG_PROC_CHILDREN); then all processes are looked at. */
static void kill_children (void)
{
	char path[64];
	snprintf (path, sizeof path, CHILDREN, (long) getpid ());
	int list = open (path, O_RDONLY | O_CLOEXEC);
	if (list >= 0)
	{
		kill_listed (list);
		close (list);
		return;
	}
	DIR * all = opendir ("/proc");
	if (!all) return;
	for (struct dirent * entry; (entry = readdir (all)) != NULL;)
	{
		long pid = strtol (entry->d_name, NULL, 10);
		if (pid > 0 && parent_of (entry->d_name) == (long) getpid ()) kill ((pid_t) pid, SIGKILL);
	}
	closedir (all);
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
	/* Nobody's signal ends the keeper, but for SIGKILL: what it keeps would stay. */
	sigset_t all, handled;
	sigfillset (&all);
	sigprocmask (SIG_SETMASK, &all, NULL);
	/* A program of the same user may have stopped its keeper, which is awake again when its host ends. The signal comes also
	 * when but the thread ends that started the keeper, and does no harm then. */
	prctl (PR_SET_PDEATHSIG, SIGCONT);
	pid_t host = (pid_t) strtol (argv[1], NULL, 10);
	struct options options = parse (argv[2]);
	/* Descriptors that the options name come right behind the keeper's own. */
	int last = options.exec > options.keep ? options.exec : options.keep;
	close_from ((last > REPORT ? last : REPORT) + 1);
	for (int fd = REPORT + 1; fd < last && fd < 16; fd++)
		if (fd != options.exec && fd != options.keep) close (fd);
	fcntl (LIFELINE, F_SETFD, FD_CLOEXEC);
	fcntl (REPORT, F_SETFD, FD_CLOEXEC);
	int host_fd = (int) syscall (SYS_pidfd_open, host, 0);
	if (getppid () != host) return 125;
	if (prctl (PR_SET_CHILD_SUBREAPER, 1) < 0) fail (errno);

	sigemptyset (&handled);
	sigaddset (&handled, SIGCHLD);
	sigaddset (&handled, SIGTERM);
	sigaddset (&handled, SIGINT);
	sigaddset (&handled, SIGQUIT);
	sigaddset (&handled, SIGHUP);
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
		if (null < 0 || dup2 (null, fd) < 0) close (fd);
	if (options.exec >= 0) close (options.exec);
	if (options.keep >= 0) close (options.keep);

	int running = 1, status = 0, left = 0, told = 0;
	double until = 0;
	enum { HOST_LIVES, SIGNALS, HOST_SPEAKS, EXECUTED };
	struct pollfd wait[] = {
		[HOST_LIVES] = { host_fd, POLLIN, 0 },
		[SIGNALS] = { signals, POLLIN, 0 },
		[HOST_SPEAKS] = { LIFELINE, POLLIN, 0 },
		[EXECUTED] = { check[0], POLLIN, 0 },
	};
	for (;;)
	{
		int milliseconds = -1;
		if (left)
		{
			double rest = until - now ();
			milliseconds = rest > 0 ? (int) (rest * 1000) + 1 : 0;
		}
		if (poll (wait, 4, milliseconds) < 0)
		{
			if (errno == EINTR) continue;
			break;
		}
		if (wait[EXECUTED].fd >= 0 && wait[EXECUTED].revents)
		{
			/* It closes by itself when the program is executed. */
			int error;
			if (read (check[0], &error, sizeof error) == (ssize_t) sizeof error)
			{
				waitpid (program, NULL, 0);
				fail (error);
			}
			close (check[0]);
			wait[EXECUTED].fd = -1;
			report (STARTED, program);
		}
		if (wait[SIGNALS].revents)
		{
			struct signalfd_siginfo info;
			int ordered = 0;
			while (read (signals, &info, sizeof info) == (ssize_t) sizeof info)
				ordered = ordered || info.ssi_signo != SIGCHLD;
			/* The status is taken last: as long as the program is not reaped, its group is surely its own. */
			siginfo_t ended = { .si_pid = 0 };
			if (ordered || (waitid (P_PID, (id_t) program, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == program)) break;
			/* An orphan that ended is reaped; the program is not, since it runs. */
			for (siginfo_t other = { .si_pid = 0 };
			     waitid (P_ALL, 0, &other, WEXITED | WNOHANG | WNOWAIT) == 0 && other.si_pid > 0 && other.si_pid != program;
			     other.si_pid = 0)
				waitpid (other.si_pid, NULL, WNOHANG);
		}
		int gone = 0;
		if (wait[HOST_SPEAKS].fd >= 0 && wait[HOST_SPEAKS].revents)
		{
			char order = 0;
			if (read (LIFELINE, &order, 1) != 1) gone = 1;
			if (order == 'K') break;
			if (order == 'T') kill (-program, SIGTERM);
		}
		if (wait[HOST_LIVES].fd >= 0 && wait[HOST_LIVES].revents) gone = 1;
		if (gone && !left)
		{
			/* What is not a program yet has nothing to put in order. */
			if (wait[EXECUTED].fd >= 0) break;
			left = 1;
			until = now () + GRACE;
			wait[HOST_SPEAKS].fd = wait[HOST_LIVES].fd = -1;
		}
		if (left && now () >= until)
		{
			if (told) break;
			kill (-program, SIGTERM);
			told = 1;
			until = now () + TOLD;
		}
	}
	kill_all (program, &running, &status, signals);
	report (ENDED, status);
	return 0;
}
