/* The packet thread: a socket drained and filled in batches, without the interpreter's lock. */
#ifndef TALKTIME_THREAD_H
#define TALKTIME_THREAD_H

#include "plane.h"

typedef struct packet_thread packet_thread_t;

/* Begin to serve the UDP socket `fd`, which only this thread receives from. `wake_fd`, an eventfd, is written whenever there
 * is something for Python. NULL with errno set. */
packet_thread_t *thread_start(plane_t *plane, int fd, int wake_fd);
/* End the thread and wait for it, a tick at most. */
void thread_stop(packet_thread_t *self);
/* Send an outbox on a socket; for the thread itself and for what Python posts. */
void send_outbox(plane_t *plane, int fd, outbox_t *outbox);
/* Whether one message to the socket may carry several packets. */
bool sends_segments(int fd);
void address_from(const void *sockaddr, address_t *address);

#endif
