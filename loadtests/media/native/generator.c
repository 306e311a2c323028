/* The load generator: sends the datagrams of a plan when they are due, takes back what returns.
 *
 *   generator PLAN_FD      the plan is a memory file (plan.h); one line of JSON on stdout
 *
 * One thread that never sleeps: on a core of its own, so that no wake-up of the generator is taken
 * for a delay of the server. Packets are protected in advance; a returned one is recognised by its
 * SSRC and sequence number, which SRTP leaves readable, so only its first bytes are copied.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "plan.h"

#define BATCH 64
#define HEADER_BYTES 12
/* Whatever happens to the harness, this ends by itself. */
#define LONGEST_S 60

struct progress {
    uint64_t *sent_ns; /* of each of the stream's packets, 0 while not sent */
    uint32_t *delay_ns; /* of each, 0 while not back */
    uint32_t sent;
    uint32_t acked;
    int64_t highest; /* number of the newest packet that came back, -1 for none */
};

static const uint8_t *plan;
static const struct plan_header *header;
static const struct plan_leg *legs;
static const struct plan_stream *streams;
static const struct plan_packet *packets;
static const struct plan_ack *acks;
static struct progress *progress;
static uint32_t **streams_at; /* per leg: the streams that come back there, NO_STREAM last */
static uint64_t sent, returned, duplicates, unmatched, written_off, refused;
static uint64_t began_ns, latest_ns, last_return_ns;
static int epoll_fd;
/* What is received: the first bytes of each packet, the rest is cut off. */
static uint8_t headers[BATCH][HEADER_BYTES];
static struct iovec vectors_in[BATCH];
static struct mmsghdr messages_in[BATCH];

static void fail(const char *what)
{
    fprintf(stderr, "generator: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *cleared(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (memory == NULL)
        fail("out of memory");
    return memory;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        fail("cannot read a clock");
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* --- reading the plan --- */

static void map_plan(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        fail("no plan");
    plan = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (plan == MAP_FAILED)
        fail("cannot map the plan");
    header = (const void *)plan;
    if (memcmp(header->magic, PLAN_MAGIC, sizeof header->magic) != 0) {
        fprintf(stderr, "generator: this is no plan\n");
        exit(1);
    }
    packets = (const void *)(plan + header->tables_at);
    acks = (const void *)(packets + header->packets);
    streams = (const void *)(acks + header->acks);
    legs = (const void *)(streams + header->streams);
}

static void prepare(void)
{
    progress = cleared(header->streams, sizeof *progress);
    streams_at = cleared(header->legs, sizeof *streams_at);
    for (uint32_t leg = 0; leg < header->legs; leg++) {
        uint32_t *list = streams_at[leg] = cleared(header->streams + 1, sizeof *list);
        for (uint32_t index = 0; index < header->streams; index++)
            if (streams[index].viewer == leg)
                *list++ = index;
        *list++ = NO_STREAM;
        streams_at[leg] = realloc(streams_at[leg], (size_t)(list - streams_at[leg]) * sizeof *list);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = leg};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, legs[leg].fd, &event) != 0)
            fail("cannot watch a socket");
    }
    for (uint32_t index = 0; index < header->streams; index++) {
        progress[index].sent_ns = cleared(streams[index].packets, sizeof(uint64_t));
        progress[index].delay_ns = cleared(streams[index].packets, sizeof(uint32_t));
        progress[index].highest = -1;
    }
    for (int i = 0; i < BATCH; i++) {
        vectors_in[i] = (struct iovec){.iov_base = headers[i], .iov_len = HEADER_BYTES};
        messages_in[i].msg_hdr = (struct msghdr){.msg_iov = &vectors_in[i], .msg_iovlen = 1};
    }
}

/* --- sending --- */

static void note_sent(const struct plan_packet *packet, uint64_t at_ns)
{
    if (packet->stream == NO_STREAM)
        return;
    struct progress *stream = &progress[packet->stream];
    stream->sent_ns[stream->sent++] = at_ns;
    sent++;
}

/* Send `count` packets of one leg; returns how many the socket took. */
static uint32_t send_batch(const struct plan_packet *first, uint32_t count)
{
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    memset(messages, 0, count * sizeof *messages);
    for (uint32_t i = 0; i < count; i++) {
        vectors[i].iov_base = (void *)(plan + first[i].at);
        vectors[i].iov_len = first[i].length;
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    uint64_t at_ns = now_ns();
    int taken = sendmmsg(legs[first->leg].fd, messages, count, MSG_DONTWAIT);
    if (taken < 0) {
        if (errno != EAGAIN && errno != ENOBUFS)
            fail("the server cannot be reached");
        refused++;
        return 0;
    }
    for (int i = 0; i < taken; i++)
        note_sent(&first[i], at_ns);
    uint64_t late_ns = at_ns - began_ns - first->due_ns;
    if (header->backlog == 0 && late_ns > latest_ns)
        latest_ns = late_ns;
    return (uint32_t)taken;
}

/* How many more packets may leave now. */
static uint32_t room(uint64_t at_ns)
{
    if (header->backlog == 0)
        return BATCH;
    uint64_t settled = returned + written_off;
    uint64_t under_way = sent > settled ? sent - settled : 0;
    if (under_way >= header->backlog && at_ns - last_return_ns > header->patience_ns) {
        written_off += under_way;
        last_return_ns = at_ns;
        under_way = 0;
    }
    uint64_t left = under_way < header->backlog ? header->backlog - under_way : 0;
    return left < BATCH ? (uint32_t)left : BATCH;
}

/* Send what is due from `next` on; returns the first packet that is not sent yet. */
static uint32_t send_due(uint32_t next)
{
    uint64_t at_ns = now_ns(), elapsed_ns = at_ns - began_ns;
    uint32_t left = room(at_ns);
    while (left > 0 && next < header->packets && packets[next].due_ns <= elapsed_ns) {
        uint32_t count = 1;
        while (count < left && next + count < header->packets
               && packets[next + count].leg == packets[next].leg
               && packets[next + count].due_ns <= elapsed_ns)
            count++;
        uint32_t taken = send_batch(&packets[next], count);
        if (taken == 0)
            break;
        next += taken;
        left -= taken;
    }
    return next;
}

static void acknowledge(uint32_t index)
{
    const struct plan_stream *stream = &streams[index];
    struct progress *mine = &progress[index];
    while (mine->acked < stream->acks) {
        const struct plan_ack *ack = &acks[stream->first_ack + mine->acked];
        if (mine->highest < (int64_t)ack->after)
            return;
        if (send(legs[stream->viewer].fd, plan + ack->at, ack->length, MSG_DONTWAIT) < 0)
            refused++;
        mine->acked++;
    }
}

/* --- receiving --- */

static uint32_t find_stream(uint32_t leg, uint32_t ssrc)
{
    const uint32_t *list = streams_at[leg];
    while (*list != NO_STREAM && streams[*list].ssrc != ssrc)
        list++;
    return *list;
}

static void note_return(uint32_t leg, const uint8_t *data, uint32_t length, uint64_t at_ns)
{
    /* RFC 7983 and RFC 5761: RTP, not RTCP, STUN or DTLS. */
    if (length < HEADER_BYTES || data[0] < 128 || data[0] > 191 || (data[1] >= 192 && data[1] < 224))
        return;
    uint32_t ssrc = (uint32_t)data[8] << 24 | (uint32_t)data[9] << 16 | (uint32_t)data[10] << 8 | data[11];
    uint32_t index = find_stream(leg, ssrc);
    if (index == NO_STREAM) {
        unmatched++;
        return;
    }
    struct progress *mine = &progress[index];
    uint16_t sequence = (uint16_t)(data[2] << 8 | data[3]);
    int16_t ahead = (int16_t)(sequence - streams[index].sequence - (uint16_t)mine->highest);
    int64_t number = mine->highest + ahead;
    last_return_ns = at_ns;
    if (number < 0 || number >= mine->sent) {
        unmatched++; /* the server has begun a new numbering: it lost much at once */
    } else if (mine->delay_ns[number] != 0) {
        duplicates++;
        return;
    } else {
        uint64_t delay_ns = at_ns - mine->sent_ns[number];
        mine->delay_ns[number] = delay_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)delay_ns + 1;
        if (number > mine->highest)
            mine->highest = number;
        acknowledge(index);
    }
    returned++;
}

static void receive(uint32_t leg)
{
    int count = recvmmsg(legs[leg].fd, messages_in, BATCH, MSG_DONTWAIT, NULL);
    if (count < 0) {
        if (errno != EAGAIN && errno != EINTR)
            fail("the server has gone");
        return;
    }
    uint64_t at_ns = now_ns();
    for (int i = 0; i < count; i++)
        note_return(leg, headers[i], messages_in[i].msg_len, at_ns);
}

static void collect(void)
{
    struct epoll_event events[BATCH];
    int count = epoll_wait(epoll_fd, events, BATCH, 0);
    for (int i = 0; i < count; i++)
        receive(events[i].data.u32);
}

/* --- the run and its result --- */

/* Returns how long the sending took. */
static uint64_t run(void)
{
    uint32_t next = 0;
    last_return_ns = began_ns = now_ns();
    while (next < header->packets) {
        next = send_due(next);
        collect();
    }
    uint64_t elapsed_ns = now_ns() - began_ns;
    last_return_ns = now_ns();
    while (returned < sent && now_ns() - last_return_ns < header->patience_ns)
        collect();
    return elapsed_ns;
}

static int ascending(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static void report(uint64_t elapsed_ns, uint64_t cpu_ns)
{
    uint32_t *delays = cleared(returned, sizeof *delays);
    size_t count = 0;
    for (uint32_t index = 0; index < header->streams; index++)
        for (uint32_t n = 0; n < progress[index].sent; n++)
            if (progress[index].delay_ns[n] != 0)
                delays[count++] = progress[index].delay_ns[n];
    qsort(delays, count, sizeof *delays, ascending);
    printf("{\"offered\":%" PRIu64 ",\"returned\":%" PRIu64 ",\"lost\":%" PRIu64
           ",\"duplicates\":%" PRIu64 ",\"unmatched\":%" PRIu64 ",\"refused\":%" PRIu64
           ",\"elapsed_ns\":%" PRIu64 ",\"cpu_ns\":%" PRIu64 ",\"late_max_ns\":%" PRIu64,
           sent, returned, sent > returned ? sent - returned : 0, duplicates, unmatched, refused,
           elapsed_ns, cpu_ns, latest_ns);
    if (count > 0)
        printf(",\"delay_p50_ns\":%" PRIu32 ",\"delay_p99_ns\":%" PRIu32 ",\"delay_max_ns\":%" PRIu32,
               delays[count / 2], delays[count * 99 / 100], delays[count - 1]);
    printf("}\n");
}

int main(int count, char **arguments)
{
    clockid_t cpu;
    if (count != 2) {
        fprintf(stderr, "usage: generator PLAN_FD\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(LONGEST_S);
    map_plan(atoi(arguments[1]));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    prepare();
    if (clock_getcpuclockid(header->server, &cpu) != 0)
        fail("the server does not run");
    uint64_t before_ns = clock_ns(cpu);
    uint64_t elapsed_ns = run();
    report(elapsed_ns, clock_ns(cpu) - before_ns);
    return 0;
}
