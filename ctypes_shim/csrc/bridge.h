/*
 * What passes between the thin library and the embedding one: bytes, and nothing else.
 *
 * The thin library is what Elektra loads, and must not pull in Python. The embedding library lies beside it, is linked to libpython
 * and is loaded at the first request. Keysets cross as dump version 2 with full key names.
 */
#ifndef STDIOPROC_BRIDGE_H
#define STDIOPROC_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

/* Both libraries are built together; a leftover of another build must be told apart before its structures are read. */
#define STDIOPROC_BRIDGE_VERSION 1
#define STDIOPROC_BRIDGE_SYMBOL "stdioproc_bridge"
#define STDIOPROC_BRIDGE_FILE "stdioproc-embed.so"

struct stdioproc_bytes
{
    const char * data;
    size_t size;
};

enum stdioproc_request_kind
{
    STDIOPROC_START = 1,     /* config: makes an instance and starts its child */
    STDIOPROC_CALL = 2,      /* one operation; with config when the instance does not exist yet */
    STDIOPROC_CONTRACT = 3,  /* config: the contract of its program comes back as data */
    STDIOPROC_CHECKCONF = 4, /* config, parent: the configuration, maybe changed, comes back as data */
    STDIOPROC_END = 5        /* ends the instance and its child; after a fork the child is the other process's and stays */
};

struct stdioproc_request
{
    uint32_t kind;
    uint64_t instance;      /* 0: none yet */
    const char * operation; /* "get", "set", "commit", "error"; NULL for the kinds that are no operation */
    const char * phase;     /* one of Elektra's placement words, or NULL where it is not known */
    struct stdioproc_bytes config;
    struct stdioproc_bytes parent;
    struct stdioproc_bytes data;
};

/* All bytes belong to the reply, and are valid until release is called on it. */
struct stdioproc_reply
{
    int32_t status;                /* 1 success, 0 no update, -1 error */
    uint64_t instance;             /* what to send with the next request; 0 when there is none */
    uint64_t token;                /* what release gives back */
    struct stdioproc_bytes parent; /* empty: leave the parent key as it is */
    struct stdioproc_bytes data;   /* empty: leave the keyset as it is */
    struct stdioproc_bytes number; /* of an error of this bridge, such as C01100; empty when the child itself reported one */
    struct stdioproc_bytes reason; /* the text of that error */
    struct stdioproc_bytes module; /* the child's name as far as it is known */
};

struct stdioproc_bridge
{
    uint32_t version;
    /* 0, or -1 with the reason in why (always ended by NUL) when Python could not be started or failed itself. */
    int (*request) (const struct stdioproc_request * request, struct stdioproc_reply * reply, char * why, size_t why_size);
    void (*release) (struct stdioproc_reply * reply);
};

#endif
