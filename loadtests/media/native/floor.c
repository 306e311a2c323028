/* The floor: the least that a relay with SRTP on both sides can cost.
 *
 * Receive in batches, decrypt, encrypt, send in batches; no header is looked at, nothing is kept.
 * Packets of one size that follow each other to one leg are one message to the kernel, which cuts
 * it up (UDP_SEGMENT).
 * Built as a shared object: floor.py makes the SRTP contexts with pylibsrtp and hands over the
 * addresses of that library's two functions, so that this needs no header of it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 64
#define ROOM 2048

typedef int (*srtp_function)(void *context, void *packet, int *length);

/* One address pair; packets from `port` leave for `to`. */
struct floor_leg {
    void *receive; /* srtp_t, inbound */
    void *send;    /* srtp_t, outbound: towards this leg */
    uint32_t to;   /* index of the leg that gets what this one sends */
    uint16_t port; /* the leg's own, in host order */
};

/* One message: the packets `vectors` to leg `to`. */
struct message {
    struct sockaddr_in address;
    uint32_t to;
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control;
};

/* Whether a packet of `length` for leg `to` goes with the message before it. */
static int joins(const struct message *last, const struct msghdr *header, uint32_t to, int length)
{
    return last->to == to && header->msg_iov[0].iov_len == (size_t)length && header->msg_iovlen < BATCH
           && (header->msg_iovlen + 1) * (size_t)length < 65000;
}

static void cut_up(struct message *message, struct msghdr *header)
{
    uint16_t size = (uint16_t)header->msg_iov[0].iov_len;
    if (header->msg_iovlen < 2)
        return;
    header->msg_control = &message->control;
    header->msg_controllen = sizeof message->control;
    message->control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof size),
                                               .cmsg_level = IPPROTO_UDP,
                                               .cmsg_type = UDP_SEGMENT};
    memcpy(CMSG_DATA(&message->control.header), &size, sizeof size);
}

/* Relay until the socket fails; returns errno. `address` is IPv4, in network order. */
int floor_run(int fd, uint32_t address, const struct floor_leg *legs, uint32_t count,
              srtp_function unprotect, srtp_function protect)
{
    static uint8_t data[BATCH][ROOM];
    static struct sockaddr_in from[BATCH];
    static struct message messages[BATCH];
    static struct iovec vectors[BATCH], out_vectors[BATCH];
    static struct mmsghdr in[BATCH], out[BATCH];
    static uint32_t by_port[65536]; /* index + 1 */
    for (uint32_t i = 0; i < count; i++)
        by_port[legs[i].port] = i + 1;
    for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){.iov_base = data[i], .iov_len = ROOM - 64};
        messages[i].address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = address};
    }
    for (;;) {
        for (int i = 0; i < BATCH; i++)
            in[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i],
                                            .msg_iov = &vectors[i], .msg_iovlen = 1};
        int received = recvmmsg(fd, in, BATCH, MSG_WAITFORONE, NULL);
        if (received < 0) {
            if (errno == EINTR || errno == ECONNREFUSED)
                continue;
            return errno;
        }
        uint32_t ready = 0, packets = 0;
        for (int i = 0; i < received; i++) {
            uint32_t index = by_port[ntohs(from[i].sin_port)];
            int length = (int)in[i].msg_len;
            if (index == 0)
                continue;
            const struct floor_leg *leg = &legs[index - 1], *viewer = &legs[leg->to];
            if (unprotect(leg->receive, data[i], &length) || protect(viewer->send, data[i], &length))
                continue;
            struct iovec *vector = &out_vectors[packets++];
            *vector = (struct iovec){.iov_base = data[i], .iov_len = (size_t)length};
            if (ready > 0 && joins(&messages[ready - 1], &out[ready - 1].msg_hdr, leg->to, length)) {
                out[ready - 1].msg_hdr.msg_iovlen++;
                continue;
            }
            struct message *message = &messages[ready];
            message->to = leg->to;
            message->address.sin_port = htons(viewer->port);
            out[ready++].msg_hdr = (struct msghdr){.msg_name = &message->address,
                                                   .msg_namelen = sizeof message->address,
                                                   .msg_iov = vector, .msg_iovlen = 1};
        }
        for (uint32_t i = 0; i < ready; i++)
            cut_up(&messages[i], &out[i].msg_hdr);
        for (uint32_t done = 0; done < ready;) {
            int taken = sendmmsg(fd, out + done, ready - done, 0);
            if (taken < 0)
                break; /* a full buffer is loss like any other */
            done += (uint32_t)taken;
        }
    }
}
