#include "thread.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
/* Of all packets of one message; an IPv6 datagram of them would still have room for its headers. */
#define MESSAGE_BYTES 65000
/* The shortest that the kernel allows. */
#define TURN_NS 100000

/* Room for what a message says of an address of ours, and of the size of its packets. */
typedef union {
    struct cmsghdr aligned;
    uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
} control_t;

struct packet_thread {
    plane_t *plane;
    int fd, wake_fd;
    atomic_bool stopping;
    pthread_t id;
    int64_t next_tick_ns;
    outbox_t outbox;
    struct mmsghdr messages[BATCH];
    struct iovec slices[BATCH];
    struct sockaddr_storage senders[BATCH];
    control_t controls[BATCH];
    uint8_t buffers[BATCH][DATAGRAM_BUFFER_BYTES];
};

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * NS_PER_S + at.tv_nsec;
}

/* --- addresses --- */

void address_from(const void *sockaddr, address_t *address) {
    memset(address, 0, sizeof *address);
    if (((const struct sockaddr *)sockaddr)->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = sockaddr;
        memcpy(address->ip, &six->sin6_addr, 16);
        address->scope = six->sin6_scope_id;
        address->port = ntohs(six->sin6_port);
        address->family = 6;
        return;
    }
    const struct sockaddr_in *four = sockaddr;
    memcpy(address->ip, &four->sin_addr, 4);
    address->port = ntohs(four->sin_port);
    address->family = 4;
}

/* Which address of ours a datagram came to, if the socket says so (see sockets.py). */
static void local_from(struct msghdr *header, address_t *address) {
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    for (; control; control = CMSG_NXTHDR(header, control)) {
        if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO)
            memcpy(address->local,
                   CMSG_DATA(control) + offsetof(struct in_pktinfo, ipi_spec_dst), 4);
        if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO)
            memcpy(address->local,
                   CMSG_DATA(control) + offsetof(struct in6_pktinfo, ipi6_addr), 16);
    }
}

static socklen_t address_to(const address_t *address, struct sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    if (address->family == 6) {
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
        six->sin6_family = AF_INET6;
        memcpy(&six->sin6_addr, address->ip, 16);
        six->sin6_scope_id = address->scope;
        six->sin6_port = htons(address->port);
        return sizeof *six;
    }
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    four->sin_family = AF_INET;
    memcpy(&four->sin_addr, address->ip, 4);
    four->sin_port = htons(address->port);
    return sizeof *four;
}

/* --- sending --- */

/* Messages on their way to the kernel. A message carries `packets` of one size to one address (the
 * last may be shorter), which leave as so many datagrams: most of a relay's time is the kernel's,
 * and the packets of a frame then cost it little more than one (UDP_SEGMENT, Linux 4.18). */
typedef struct {
    struct mmsghdr messages[BATCH];
    struct iovec slices[BATCH];
    struct sockaddr_storage targets[BATCH];
    control_t controls[BATCH];
    int packets[BATCH];
    int count;
} batch_t;

static void add_control(struct msghdr *header, control_t *room, int level, int type,
                        const void *value, size_t size) {
    struct cmsghdr *control = (struct cmsghdr *)(room->bytes + header->msg_controllen);
    header->msg_control = room;
    header->msg_controllen += CMSG_SPACE(size);
    memset(control, 0, CMSG_SPACE(size));
    control->cmsg_level = level;
    control->cmsg_type = type;
    control->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(control), value, size);
}

/* Leave from where the peer sends to; nothing where that is the only address of the socket. */
static void local_to(const address_t *address, struct msghdr *header, control_t *room) {
    static const uint8_t only[sizeof address->local];
    if (!memcmp(address->local, only, sizeof only)) return;
    if (address->family == 6) {
        struct in6_pktinfo info = {0};
        memcpy(&info.ipi6_addr, address->local, 16);
        add_control(header, room, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
        return;
    }
    struct in_pktinfo info = {0};
    memcpy(&info.ipi_spec_dst, address->local, 4);
    add_control(header, room, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
}

/* How many of the `left` parcels from `first` on make one message. */
static int together(const parcel_t *first, int left) {
    int count = 1, bytes = first->length;
    while (count < left && first[count - 1].length == first->length &&
           first[count].length <= first->length && bytes + first[count].length <= MESSAGE_BYTES &&
           !memcmp(&first[count].to, &first->to, sizeof first->to))
        bytes += first[count++].length;
    return count;
}

static void add_message(batch_t *batch, const parcel_t *first, int count, struct iovec *slices) {
    int at = batch->count++;
    struct msghdr *header = &batch->messages[at].msg_hdr;
    memset(&batch->messages[at], 0, sizeof *batch->messages);
    for (int i = 0; i < count; i++)
        slices[i] = (struct iovec){first[i].data, (size_t)first[i].length};
    batch->packets[at] = count;
    header->msg_name = &batch->targets[at];
    header->msg_namelen = address_to(&first->to, &batch->targets[at]);
    header->msg_iov = slices;
    header->msg_iovlen = (size_t)count;
    local_to(&first->to, header, &batch->controls[at]);
    uint16_t size = (uint16_t)first->length;
    if (count > 1)
        add_control(header, &batch->controls[at], IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
}

static void prepare(batch_t *batch, const outbox_t *outbox, int first, bool segmented) {
    int left = outbox->count - first < BATCH ? outbox->count - first : BATCH;
    batch->count = 0;
    for (int at = 0; at < left;) {
        const parcel_t *parcel = &outbox->parcels[first + at];
        int count = segmented ? together(parcel, left - at) : 1;
        add_message(batch, parcel, count, batch->slices + at);
        at += count;
    }
}

static void count_packets(_Atomic uint64_t *counter, int packets) {
    atomic_fetch_add_explicit(counter, (uint64_t)packets, memory_order_relaxed);
}

void send_outbox(plane_t *plane, int fd, outbox_t *outbox) {
    batch_t batch;
    bool segmented = plane->segmented;
    for (int first = 0; first < outbox->count;) {
        prepare(&batch, outbox, first, segmented);
        int sent = sendmmsg(fd, batch.messages, (unsigned)batch.count, MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) continue;
        int packets = 0;
        for (int i = 0; i < sent; i++) packets += batch.packets[i];
        first += packets;
        if (packets) count_packets(&plane->sent, packets);
        if (sent > 0) continue;
        bool blocked = errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
        if (!blocked && batch.packets[0] > 1) {
            segmented = false; /* not on this way, where packets have to be smaller or the like */
            continue;
        }
        /* A full socket buffer is loss like any other; the rest is the network's or the peer's.
         * The message at which it stopped is given up, those behind it are tried. */
        count_packets(blocked ? &plane->send_blocked : &plane->send_errors, batch.packets[0]);
        first += batch.packets[0];
    }
}

/* --- receiving --- */

static int receive(packet_thread_t *self) {
    for (int i = 0; i < BATCH; i++) {
        self->slices[i] = (struct iovec){self->buffers[i], MAX_DATAGRAM_BYTES + 1};
        struct msghdr *header = &self->messages[i].msg_hdr;
        memset(header, 0, sizeof *header);
        header->msg_name = &self->senders[i];
        header->msg_namelen = sizeof self->senders[i];
        header->msg_iov = &self->slices[i];
        header->msg_iovlen = 1;
        header->msg_control = &self->controls[i];
        header->msg_controllen = sizeof self->controls[i];
    }
    int count = recvmmsg(self->fd, self->messages, BATCH, MSG_WAITFORONE, NULL);
    if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        /* an ICMP error of an earlier sending */
        atomic_fetch_add_explicit(&self->plane->send_errors, 1, memory_order_relaxed);
    return count < 0 ? 0 : count;
}

static void wake_python(packet_thread_t *self) {
    uint64_t one = 1;
    ssize_t written = write(self->wake_fd, &one, sizeof one);
    (void)written; /* full means that it is awake */
}

static void handle(packet_thread_t *self, int count) {
    plane_t *plane = self->plane;
    bool news = false;
    plane_lock(plane, &self->outbox);
    int64_t now_ns = now();
    for (int i = 0; i < count; i++) {
        address_t from;
        address_from(&self->senders[i], &from);
        local_from(&self->messages[i].msg_hdr, &from);
        plane_feed(plane, self->buffers[i], (int)self->messages[i].msg_len, &from, now_ns);
    }
    if (now_ns >= self->next_tick_ns) {
        plane_tick(plane, now_ns);
        self->next_tick_ns = now_ns + TICK_NS;
    }
    if (plane_has_news(plane) && !plane->python_woken) news = plane->python_woken = true;
    plane_unlock(plane);
    plane->flush(plane, &self->outbox);
    self->outbox.count = self->outbox.arena_used = 0;
    if (news) wake_python(self);
}

/* Where the thread shares a core with Python's, it must not wait until that has had its turn of some
 * milliseconds: who asks for short turns comes at once (Linux 6.12; earlier ones take no notice). */
static void ask_for_short_turns(void) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t turn_ns, deadline, period;
    } attributes = {.size = 48, .policy = SCHED_OTHER, .turn_ns = TURN_NS};
    attributes.nice = getpriority(PRIO_PROCESS, 0);
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}

static void *run(void *argument) {
    packet_thread_t *self = argument;
    ask_for_short_turns();
    while (!atomic_load(&self->stopping)) handle(self, receive(self));
    return NULL;
}

/* Wait for packets in the very call that takes them, which costs one system call less than asking
 * first; but never past the next tick. */
static bool make_patient(int fd) {
    struct timeval tick = {0, TICK_NS / 1000};
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && !fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) &&
           !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick);
}

/* --- life --- */

bool sends_segments(int fd) {
    int size;
    socklen_t length = sizeof size;
    return !getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, &length);
}

packet_thread_t *thread_start(plane_t *plane, int fd, int wake_fd) {
    if (!make_patient(fd)) return NULL;
    plane->segmented = sends_segments(fd);
    packet_thread_t *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    *self = (packet_thread_t){.plane = plane, .fd = fd, .wake_fd = wake_fd};
    int failed = pthread_create(&self->id, NULL, run, self);
    if (!failed) return self;
    free(self);
    errno = failed;
    return NULL;
}

void thread_stop(packet_thread_t *self) {
    atomic_store(&self->stopping, true);
    pthread_join(self->id, NULL);
    free(self);
}
