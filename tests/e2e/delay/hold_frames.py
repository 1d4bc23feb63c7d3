"""Delays every Ethernet frame between one container and its bridge, where the kernel has no netem.

    hold_frames.py INTERFACE DELAY_MS

INTERFACE is the container's end on the host, a port of a bridge. It is taken off the bridge, a pair of interfaces takes its
place, and what arrives on the one side is sent on the other DELAY_MS later. Prints "ready" when that is so; on TERM
everything is put back. Needs root.
"""

import collections
import os
import select
import signal
import socket
import subprocess
import sys
import time

ETH_P_ALL = 3
# linux/if_packet.h. The header in front of each frame says which checksum is yet to be made and how the frame is to be cut;
# frames inside a host have both open, and would be dropped without it.
SOL_PACKET, PACKET_VNET_HDR, PACKET_OUTGOING = 263, 15, 4
FRAME_BYTES_MAX = 70_000
# Frames under way in one direction; the newest ones are dropped beyond it, as by a router whose buffer is full.
HELD_MAX = 20_000


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def quiet(interface):
    """The host itself must neither answer for its own addresses here nor speak."""
    for file, value in (
        (f"ipv4/conf/{interface}/arp_ignore", "8"),
        (f"ipv6/conf/{interface}/disable_ipv6", "1"),
    ):
        path = f"/proc/sys/net/{file}"
        if os.path.exists(path):
            with open(path, "w") as out:
                out.write(value)


def open_socket(interface):
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    raw.bind((interface, ETH_P_ALL))
    raw.setblocking(False)
    return raw


def take_in(raw, held, now):
    while True:
        try:
            frame, address = raw.recvfrom(FRAME_BYTES_MAX)
        except BlockingIOError:
            return
        if address[2] != PACKET_OUTGOING and len(held) < HELD_MAX:
            held.append((now, frame))


def send_due(raw, held, due):
    while held and held[0][0] <= due:
        _, frame = held.popleft()
        try:
            raw.send(frame)
        except OSError:
            # The other side is gone, or its queue is full: the frame is lost, as on any wire.
            pass


def shuttle(sides, delay):
    queues = {side: collections.deque() for side in sides}
    while True:
        now = time.monotonic()
        for side, held in queues.items():
            other = sides[1] if side is sides[0] else sides[0]
            send_due(other, held, now - delay)
        oldest = min((held[0][0] for held in queues.values() if held), default=None)
        wait = None if oldest is None else max(oldest + delay - time.monotonic(), 0)
        readable, _, _ = select.select(sides, [], [], wait)
        now = time.monotonic()
        for side in readable:
            take_in(side, queues[side], now)


def end(*_):
    raise SystemExit(0)


def main():
    interface, delay = sys.argv[1], float(sys.argv[2]) / 1000
    master = os.path.basename(os.readlink(f"/sys/class/net/{interface}/master"))
    near, far = f"hold{os.getpid() % 100_000}a", f"hold{os.getpid() % 100_000}b"
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far)
        for name in (near, far):
            quiet(name)
            ip("link", "set", name, "up")
        quiet(interface)
        sides = [open_socket(interface), open_socket(near)]
        ip("link", "set", interface, "nomaster")
        ip("link", "set", far, "master", master)
        print("ready", flush=True)
        shuttle(sides, delay)
    finally:
        subprocess.run(["ip", "link", "set", interface, "master", master], check=False)
        subprocess.run(["ip", "link", "del", near], check=False)


main()
