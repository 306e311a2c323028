/* The packet thread under full load while paths come and go, for ThreadSanitizer and
 * AddressSanitizer: one thread floods the socket, the packet thread serves, the main thread is
 * Python's stand-in. Ends by itself after the number of rounds given. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "plain_srtp.h"
#include "thread.h"

enum { PEERS = 4 };

static int peers[PEERS];
static address_t addresses[PEERS];
static struct sockaddr_in server;
static atomic_bool done;

static int udp(struct sockaddr_in *bound) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof *bound;
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any)) exit(2);
    getsockname(fd, (struct sockaddr *)bound, &size);
    return fd;
}

static int make_packet(uint8_t *packet, unsigned number) {
    memset(packet, 0, 200);
    packet[0] = 0x80;
    packet[1] = number % 3 ? 96 : 111;
    write16(packet + 2, number);
    write32(packet + 4, number * 3000);
    write32(packet + 8, number % 3 ? 20 : 10);
    packet[12] = 0x10;
    if (number % 29 == 0) { /* a NACK of whatever is in the ring */
        static const uint8_t nack[] = {0x81, 205, 0, 3, 0, 0, 0, 1};
        memcpy(packet, nack, sizeof nack);
        write32(packet + 8, 1001 + 1000 * (number % 40));
        write16(packet + 12, number % 100);
        return 16;
    }
    if (number % 31 == 0) packet[0] = 22; /* DTLS, for Python */
    return 200;
}

static void *flood(void *nothing) {
    uint8_t packet[200], drain[2048];
    for (unsigned number = 0; !atomic_load(&done); number++) {
        int peer = peers[number % PEERS], length = make_packet(packet, number / PEERS);
        sendto(peer, packet, (size_t)length, 0, (struct sockaddr *)&server, sizeof server);
        while (recv(peer, drain, sizeof drain, 0) > 0) continue;
    }
    return nothing;
}

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * NS_PER_S + at.tv_nsec;
}

static void send_plain(plane_t *plane, outbox_t *outbox) { send_outbox(plane, plane->fd, outbox); }

static void leave(plane_t *plane, outbox_t *outbox) {
    plane_unlock(plane);
    send_plain(plane, outbox);
    outbox->count = outbox->arena_used = 0;
}

static path_t *join(plane_t *plane, outbox_t *outbox, uint64_t id, int peer) {
    path_t *path = plain_path(plane, id);
    plane_lock(plane, outbox);
    path->address = addresses[peer];
    plane_add_path(plane, path);
    plane_claim(plane, &addresses[peer], path);
    leave(plane, outbox);
    return path;
}

static void part(plane_t *plane, outbox_t *outbox, path_t *path) {
    plane_lock(plane, outbox);
    path_close(path, now());
    plane_remove_path(plane, path);
    leave(plane, outbox);
    path_free(path);
}

static void talk(plane_t *plane, outbox_t *outbox, uint64_t id) {
    static const bool both[KINDS] = {true, true};
    path_t *first = join(plane, outbox, id, (int)(id % PEERS));
    path_t *second = join(plane, outbox, id + 1, (int)((id + 1) % PEERS));
    plane_lock(plane, outbox);
    path_watch(first, NS_PER_S, NS_PER_S, true, &(owed_t){0});
    path_link(first, second, both, NEVER_NS, now());
    path_link(second, first, both, NEVER_NS, now());
    leave(plane, outbox);
    uint64_t until = 0;
    for (bool enough = false; !enough;) { /* a hundred packets through each pair */
        plane_lock(plane, outbox);
        if (!until) until = plane->counters.datagrams_in + 100;
        enough = plane->counters.datagrams_in >= until;
        path_stats(first);
        plane->news = NULL;
        first->news.queued = second->news.queued = false;
        plane->python_woken = false;
        plane->signal_first = plane->signal_count = 0;
        leave(plane, outbox);
    }
    part(plane, outbox, first);
    part(plane, outbox, second);
}

int main(int count, char **arguments) {
    int rounds = count > 1 ? atoi(arguments[1]) : 100;
    static outbox_t outbox;
    plane_t plane;
    pthread_t flooder;
    plane_init(&plane, PLAIN_SRTP);
    plain_payloads(&plane);
    plane.fd = udp(&server);
    plane.flush = send_plain;
    for (int i = 0; i < PEERS; i++) {
        struct sockaddr_in bound;
        peers[i] = udp(&bound);
        address_from(&bound, &addresses[i]);
    }
    pthread_create(&flooder, NULL, flood, NULL);
    for (int round = 0; round < rounds; round++) {
        int wake_fd = eventfd(0, EFD_NONBLOCK);
        packet_thread_t *thread = thread_start(&plane, plane.fd, wake_fd);
        if (!thread) return 2;
        for (uint64_t id = 1; id < 40; id += 2) talk(&plane, &outbox, id);
        thread_stop(thread);
        close(wake_fd);
    }
    atomic_store(&done, true);
    pthread_join(flooder, NULL);
    printf("%llu packets in, %llu forwarded, %llu resent\n",
           (unsigned long long)plane.counters.datagrams_in,
           (unsigned long long)plane.counters.rtp_forwarded,
           (unsigned long long)plane.counters.packets_resent);
    bool reached = plane.counters.rtp_forwarded > 0;
    plane_free(&plane);
    return reached ? 0 : 3;
}
