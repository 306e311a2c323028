"""The media plane: relaying audio and video between the two parties of a call, without decoding.

    pool              several workers behind the interface of one
    worker            sessions and legs of one UDP socket; implements interface.MediaWorker
    ├── session       what may pass between the legs of a call
    │   └── leg       one party's connection: ice, dtls, sdp
    ├── tcp           media over TCP, for networks that let no UDP through
    ├── mux           which leg a datagram belongs to
    └── plane         the packet plane: the socket, and all that happens to a packet (an interface)
        ├── native    its compiled twin, in C and in a thread of its own
        └── reference the plane in Python
            └── path  one leg's packets: srtp, incoming and outgoing streams
                ├── outgoing   rewrite, retransmit, keyframes
                ├── feedback   what RTCP leads to; transport_feedback passes through it
                └── delivery   first_frame and acks: what the customer's transport acknowledged

Pure, without I/O and with time as an argument: ice, sdp, rtp, rtcp, frames, rewrite, retransmit,
keyframes, reception, freezes, first_frame, acks, delivery, transport_feedback. `limits` holds every
bound.
"""
