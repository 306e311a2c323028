/* Bounds and fixed numbers of the compiled plane. engine/media/limits.py and codecs.py give the
 * reasons; a test compares every value here with the one there. */
#ifndef TALKTIME_LIMITS_H
#define TALKTIME_LIMITS_H

#include <stdint.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
/* A time that never comes. Half the range, so that sums with it cannot overflow. */
#define NEVER_NS (INT64_MAX / 2)

#define MAX_DATAGRAM_BYTES 1500
#define DATAGRAM_BUFFER_BYTES 2048
#define SOCKET_BUFFER_BYTES (4 << 20)
#define MAX_SSRCS_PER_LEG 16
#define MAX_STUN_BYTES 576
#define MIN_STUN_REQUEST_BYTES 28
#define MAX_STUN_USERNAME_BYTES 513
#define MAX_STUN_ATTRIBUTES 24
#define RETRANSMIT_RING_PACKETS 512
#define MAX_SEQUENCE_GAP 400
#define MAX_MISSING_PACKETS 400
#define MAX_NACKS_PER_PACKET 8
#define NACK_RETRY_NS (20 * NS_PER_MS)
#define NACK_GIVE_UP_NS (1000 * NS_PER_MS)
#define MAX_NACK_SEQUENCES 256
#define RESEND_INTERVAL_NS (20 * NS_PER_MS)
#define MAX_RTCP_BLOCKS 32
#define MAX_RTCP_BYTES 1300
#define MAX_FRAME_PACKETS 512
#define MAX_FRAME_CANDIDATES 4
#define MAX_AUDIO_CANDIDATES 512
#define ACK_WINDOW_PACKETS 2048
#define TICK_NS (40 * NS_PER_MS)
#define REPORT_INTERVAL_NS (1 * NS_PER_S)
#define KEYFRAME_COALESCE_NS (300 * NS_PER_MS)
#define KEYFRAME_REPEAT_NS (500 * NS_PER_MS)
#define KEYFRAME_REPEAT_MAX_NS (4 * NS_PER_S)
#define SOURCE_IDLE_NS (500 * NS_PER_MS)
#define DELIVERY_INTERVAL_NS (1 * NS_PER_S)
#define ACK_FLOW_PAUSE_NS (1 * NS_PER_S)
#define ACK_DEBT_NS (30 * NS_PER_S)
#define ACK_DEBT_MOST_NS (60 * NS_PER_S)
#define ACK_DEBT_MARGIN_NS (250 * NS_PER_MS)
#define ACK_DEBT_BILLED_PER_REPAID 10
#define FREEZE_WINDOW_FRAMES 30
#define FREEZE_MIN_FRAMES 5
#define FREEZE_MARGIN_NS (150 * NS_PER_MS)

#define MID_EXTENSION 1
#define TRANSPORT_CC_EXTENSION 3

#endif
