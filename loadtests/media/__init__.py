"""What the media plane costs and what a bad network does to it, beside Janus and a bare floor.

`make bench-media` measures CPU and delay with a native load generator; `make bench-quality` lets
real browsers call through loss.
"""
