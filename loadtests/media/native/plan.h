/* The layout of a plan: what the generator is to send, and what it may expect back.
 *
 * loadtests/media/plan.py writes it into a memory file: the header, the bytes of all datagrams, and
 * at `tables_at` the tables of packets, acks, streams and legs, in this order. Integers are in the
 * machine's order and aligned naturally.
 */
#ifndef TALKTIME_PLAN_H
#define TALKTIME_PLAN_H

#include <stdint.h>

#define PLAN_MAGIC "TTPLAN01"
/* A datagram that nothing comes back for: RTCP, or a connectivity check. */
#define NO_STREAM UINT32_MAX

struct plan_header {
    char magic[8];
    uint64_t tables_at;
    uint32_t legs;    /* connected UDP sockets, inherited */
    uint32_t streams; /* RTP streams, each from one leg to one leg */
    uint32_t packets; /* datagrams on the schedule */
    uint32_t acks;    /* datagrams sent on arrival of others */
    uint32_t backlog; /* packets under way at most; 0: the schedule alone decides */
    int32_t server;   /* whose CPU clock is read at the first and at the last packet */
    uint64_t patience_ns; /* after so long without a packet back what is under way is lost */
};

struct plan_leg {
    int32_t fd;
};

struct plan_stream {
    uint32_t viewer;    /* the leg at which its packets come back */
    uint32_t ssrc;      /* under which they come back */
    uint32_t sequence;  /* of the first of them */
    uint32_t packets;   /* on the schedule */
    uint32_t first_ack; /* its acks are consecutive */
    uint32_t acks;
};

/* In the order of `due_ns`, which counts from the generator's start. */
struct plan_packet {
    uint64_t due_ns;
    uint64_t at; /* of the datagram, from the start of the plan */
    uint32_t length;
    uint32_t leg;
    uint32_t stream;
    uint32_t unused;
};

/* Sent by its stream's viewer when the stream's packet number `after` has come back. */
struct plan_ack {
    uint64_t at;
    uint32_t length;
    uint32_t after;
};

#endif
