/*
 * What `stdioproc shim doctor` runs: a host that loads both libraries as Elektra would, and makes Python answer once.
 *
 * Usage: doctor_host PLUGIN EMBED. Prints what went wrong, or nothing.
 */
#include "bridge.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main (int argc, char ** argv)
{
    if (argc != 3) return 64;
    void * plugin = dlopen (argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!plugin || !dlsym (plugin, "elektraPluginSymbol"))
    {
        printf ("%s\n", dlerror ());
        return 1;
    }
    void * embed = dlopen (argv[2], RTLD_NOW | RTLD_LOCAL);
    const struct stdioproc_bridge * bridge = embed ? dlsym (embed, STDIOPROC_BRIDGE_SYMBOL) : NULL;
    if (!bridge)
    {
        printf ("%s\n", dlerror ());
        return 1;
    }
    if (bridge->version != STDIOPROC_BRIDGE_VERSION)
    {
        printf ("%s is of another version of stdioproc\n", argv[2]);
        return 1;
    }
    /* An empty configuration: Python has to come up to say that the program is missing. */
    char why[4096] = "";
    struct stdioproc_reply reply;
    struct stdioproc_request request = { .kind = STDIOPROC_CONTRACT, .config = { "kdbOpen 2\n$end\n", 15 } };
    if (bridge->request (&request, &reply, why, sizeof (why)) != 0)
    {
        printf ("%s\n", why);
        return 1;
    }
    int expected = reply.number.size == 6 && memcmp (reply.number.data, "C01200", 6) == 0;
    if (!expected) printf ("unexpected answer: %.*s\n", (int) reply.reason.size, reply.reason.data ? reply.reason.data : "");
    bridge->release (&reply);
    return expected ? 0 : 1;
}
