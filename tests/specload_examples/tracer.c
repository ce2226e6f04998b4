/* Start a program, and do something right before its n-th system call after a request to set was read.
 *
 *   tracer LOG N kill PROGRAM ARG...            kill it with SIGKILL: the call is not made
 *   tracer LOG N rename FROM TO PROGRAM ARG...  rename a file, and let it go on
 *   tracer check                                exit 0 when this machine allows it, else say why not
 *
 * LOG gets the name (or the number) of each of these calls, until the next request is read. N counts from 1; 0 is never. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

long ptrace(int request, ...); /* glibc's header and the kernel's cannot both be included */

static void fail(const char *what) {
    fprintf(stderr, "tracer: %s: %s\n", what, strerror(errno));
    exit(99);
}

static const char *name_of(uint64_t number) {
    static char text[24];
    switch (number) {
    case SYS_read: return "read";
    case SYS_write: return "write";
    case SYS_openat: return "openat";
    case SYS_close: return "close";
    case SYS_flock: return "flock";
    case SYS_fsync: return "fsync";
    case SYS_fchmod: return "fchmod";
    case SYS_fchown: return "fchown";
#ifdef SYS_rename
    case SYS_rename: return "rename";
#endif
#ifdef SYS_renameat
    case SYS_renameat: return "rename";
#endif
#ifdef SYS_renameat2
    case SYS_renameat2: return "rename";
#endif
#ifdef SYS_link
    case SYS_link: return "link";
#endif
    case SYS_linkat: return "link";
#ifdef SYS_unlink
    case SYS_unlink: return "unlink";
#endif
    case SYS_unlinkat: return "unlink";
    }
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return text;
}

static int is_set(pid_t child, uint64_t address) {
    errno = 0;
    long word = ptrace(PTRACE_PEEKDATA, child, (void *)(uintptr_t)address, NULL);
    return errno == 0 && memcmp(&word, "set\n", 4) == 0;
}

static pid_t start(char **argv) {
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) fail("ptrace");
        raise(SIGSTOP);
        execv(argv[0], argv);
        fail(argv[0]);
    }
    int status;
    if (waitpid(child, &status, 0) != child) fail("waitpid");
    if (!WIFSTOPPED(status)) exit(99); /* it has said why */
    if (ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) != 0) fail("ptrace");
    return child;
}

int main(int argc, char **argv) {
    char *nothing[] = {"/bin/true", NULL}, **program = nothing;
    const char *from = NULL, *to = NULL;
    long when = 0, count = 0;
    int log = -1, counting = 0, kills = 0, calls_seen = 0, pending = 0;
    uint64_t source = 0, buffer = 0;

    if (argc >= 5) {
        log = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (log < 0) fail(argv[1]);
        when = strtol(argv[2], NULL, 10);
        kills = strcmp(argv[3], "kill") == 0;
        program = argv + 4;
        if (!kills) {
            from = argv[4], to = argv[5];
            program = argv + 6;
        }
    }
    pid_t child = start(program);
    close(0); /* the child's alone, so that the host sees when it is gone */
    close(1);
    for (int deliver = 0;;) {
        int status;
        if (ptrace(PTRACE_SYSCALL, child, NULL, (void *)(intptr_t)deliver) != 0 && errno != ESRCH) fail("ptrace");
        if (waitpid(child, &status, 0) != child) fail("waitpid");
        if (WIFEXITED(status)) return log < 0 && !calls_seen ? 99 : WEXITSTATUS(status);
        if (WIFSIGNALED(status)) return 128 + WTERMSIG(status);
        deliver = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
        deliver = 0;

        struct ptrace_syscall_info call;
        memset(&call, 0, sizeof call);
        if (ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof call, &call) <= 0) fail("PTRACE_GET_SYSCALL_INFO");
        calls_seen = 1;
        if (call.op == PTRACE_SYSCALL_INFO_EXIT) {
            if (pending && call.exit.rval >= 4 && is_set(child, buffer)) counting = 1;
            pending = 0;
            continue;
        }
        if (call.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
        if (counting == 1) {
            if (call.entry.nr == SYS_read && call.entry.args[0] == source) {
                counting = 2; /* the next request; no second set is looked at */
                continue;
            }
            char line[32];
            int size = snprintf(line, sizeof line, "%s\n", name_of(call.entry.nr));
            if (write(log, line, (size_t)size) != size) fail("log");
            if (++count == when) {
                if (kills) kill(child, SIGKILL);
                else if (rename(from, to) != 0) fail("rename");
            }
        } else if (counting == 0 && call.entry.nr == SYS_read) {
            pending = 1;
            source = call.entry.args[0];
            buffer = call.entry.args[1];
        }
    }
}
