/* What leaves in one message to the socket, seen by a receiver that takes messages as they were sent
 * (UDP_GRO); and that nothing is lost where the socket takes no more than a packet at once. */
#include <arpa/inet.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "thread.h"

#define CHECK(truth)                                              \
    if (!(truth)) {                                               \
        fprintf(stderr, "line %d: not so: %s\n", __LINE__, #truth); \
        exit(1);                                                  \
    }

enum { VIEWER, OTHER, VIEWERS };

static int viewers[VIEWERS];
static address_t addresses[VIEWERS];
static outbox_t outbox;
static uint8_t packets[200][DATAGRAM_BUFFER_BYTES];

static int udp(struct sockaddr_in *bound) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof *bound;
    CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&any, sizeof any));
    getsockname(fd, (struct sockaddr *)bound, &size);
    return fd;
}

static void post(int whom, int length) {
    int at = outbox.count++;
    memset(packets[at], at + 1, (size_t)length);
    outbox.parcels[at] = (parcel_t){addresses[whom], packets[at], length};
}

/* The next message for `whom`: so many packets of the outbox from `first` on, of this length but
 * for the last. */
static void expect(int whom, int first, int count, int length, int last) {
    static uint8_t message[65536];
    ssize_t size = recv(viewers[whom], message, sizeof message, MSG_DONTWAIT);
    CHECK(size == (count - 1) * length + last);
    for (int i = 0; i < size; i++) CHECK(message[i] == first + i / length + 1);
}

static void expect_frame(bool segmented) {
    if (segmented) {
        expect(VIEWER, 0, 5, 1200, 700);
        expect(VIEWER, 5, 1, 1200, 1200);
        expect(VIEWER, 6, 1, 1300, 1300);
    } else {
        for (int at = 0; at < 7; at++) {
            int length = outbox.parcels[at].length;
            expect(VIEWER, at, 1, length, length);
        }
    }
    expect(OTHER, 7, 1, 1300, 1300);
    expect(VIEWER, 8, segmented ? 2 : 1, 1300, 1300);
    if (!segmented) expect(VIEWER, 9, 1, 1300, 1300);
}

static void send_frame(plane_t *plane, int fd) {
    static const int lengths[] = {1200, 1200, 1200, 1200, 700, 1200, 1300};
    outbox.count = 0;
    for (int i = 0; i < 7; i++) post(VIEWER, lengths[i]);
    post(OTHER, 1300);
    post(VIEWER, 1300);
    post(VIEWER, 1300);
    uint64_t before = plane->sent;
    send_outbox(plane, fd, &outbox);
    CHECK(plane->sent - before == 10 && plane->send_errors == 0 && plane->send_blocked == 0);
}

/* More than a message holds, and more than a call of the system takes. */
static void send_many(plane_t *plane, int fd) {
    outbox.count = 0;
    for (int i = 0; i < 150; i++) post(VIEWER, 1400);
    uint64_t before = plane->sent;
    send_outbox(plane, fd, &outbox);
    CHECK(plane->sent - before == 150 && plane->send_errors == 0);
    int got = 0;
    for (ssize_t size; got < 150 * 1400; got += (int)size) {
        static uint8_t message[65536];
        CHECK((size = recv(viewers[VIEWER], message, sizeof message, MSG_DONTWAIT)) > 0);
        for (int i = 0; i < size; i++) CHECK(message[i] == (got + i) / 1400 + 1);
    }
    CHECK(got == 150 * 1400);
}

int main(void) {
    struct sockaddr_in bound;
    static plane_t plane; /* of which only the counters are used */
    int on = 1, wide = 4 << 20, fd = udp(&bound);
    for (int i = 0; i < VIEWERS; i++) {
        viewers[i] = udp(&bound);
        address_from(&bound, &addresses[i]);
        setsockopt(viewers[i], SOL_SOCKET, SO_RCVBUF, &wide, sizeof wide);
        setsockopt(viewers[i], IPPROTO_UDP, UDP_GRO, &on, sizeof on);
    }
    plane.segmented = sends_segments(fd);
    bool segmented = plane.segmented;
    send_frame(&plane, fd);
    expect_frame(segmented);
    send_many(&plane, fd);
    /* Without checksums the kernel refuses to make several packets of one. */
    CHECK(!setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on));
    send_frame(&plane, fd);
    expect_frame(false);
    /* A refused address costs its own packets only. */
    CHECK(!setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &(int){0}, sizeof on));
    outbox.count = 0;
    post(VIEWER, 100);
    post(OTHER, 100);
    outbox.parcels[0].to = (address_t){.family = 4, .port = 9, .ip = {255, 255, 255, 255}};
    send_outbox(&plane, fd, &outbox);
    CHECK(plane.send_errors == 1);
    expect(OTHER, 1, 1, 100, 100);
    printf(segmented ? "several packets a message\n" : "a packet a message\n");
    return 0;
}
