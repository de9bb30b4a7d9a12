#!/usr/bin/env python3
"""Writes frames by hand, as root with NET_RAW may, under any sender.

frames.py OWN everything FROM_MAC FROM_IP TO_MAC TO_IP    one frame of each kind, to TO_MAC and to all
frames.py OWN ask FROM_MAC FROM_IP TO_MAC TO_IP NAME      a DNS query over UDP
frames.py OWN claim FROM_MAC FROM_IP TO_MAC TO_IP         ARP: FROM_IP is at FROM_MAC, as answer and unasked, to TO_MAC and to all

OWN is the address by which the interface is found; `self` as FROM_MAC is that interface's own.
"""
import re
import socket
import struct
import subprocess
import sys

ALL = b'\xff' * 6
# The local experimental ethertypes of IEEE 802, and a tag of 802.1Q with a packet inside.
EXPERIMENTAL, TAGGED, ARP, IPV4, IPV6 = 0x88B5, 0x8100, 0x0806, 0x0800, 0x86DD
DISCARD_PORT = 9


def checksum(data):
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def mac(text):
    return bytes.fromhex(text.replace(':', ''))


def interface_of(own):
    listed = subprocess.run(['ip', '-4', '-o', 'addr'], check=True, capture_output=True, text=True).stdout
    return re.search(rf'^\d+: (\S+) +inet {re.escape(own)}/', listed, re.MULTILINE).group(1)


def udp4(source, target, port, payload):
    length = 8 + len(payload)
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + length, 1, 0, 64, 17, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack('!H', checksum(head)) + head[12:] + struct.pack('!HHHH', 40000, port, length, 0) + payload


def udp6():
    return struct.pack('!IHBB', 0x60000000, 8, 17, 64) + socket.inet_pton(socket.AF_INET6, 'fe80::bad') \
        + socket.inet_pton(socket.AF_INET6, 'ff02::1') + struct.pack('!HHHH', 40000, DISCARD_PORT, 8, 0)


def router_advertisement():
    body = struct.pack('!BBHBBHII', 134, 0, 0, 64, 0, 1800, 0, 0)
    return struct.pack('!IHBB', 0x60000000, len(body), 58, 255) + socket.inet_pton(socket.AF_INET6, 'fe80::bad') \
        + socket.inet_pton(socket.AF_INET6, 'ff02::1') + body


def arp(operation, source_mac, source, target_mac, target):
    return struct.pack('!HHBBH', 1, IPV4, 6, 4, operation) + source_mac + socket.inet_aton(source) \
        + target_mac + socket.inet_aton(target)


def question(name):
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    return struct.pack('!HHHHHH', 7, 0x0100, 1, 0, 0, 0) + labels + b'\0' + struct.pack('!HH', 1, 1)


def everything(source_mac, source, target):
    yield IPV4, udp4(source, target, DISCARD_PORT, b'out')
    yield IPV6, udp6()
    yield IPV6, router_advertisement()
    yield ARP, arp(1, source_mac, source, b'\0' * 6, target)
    yield EXPERIMENTAL, b'out'
    yield TAGGED, struct.pack('!HH', 1, IPV4) + udp4(source, target, DISCARD_PORT, b'out')


def main():
    own, what, source_mac, source, target_mac, target, *rest = sys.argv[1:]
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind((interface_of(own), 0))
    sender = raw.getsockname()[4] if source_mac == 'self' else mac(source_mac)
    to = mac(target_mac)
    if what == 'everything':
        frames = [(each, *frame) for frame in everything(sender, source, target) for each in (to, ALL)]
    elif what == 'claim':
        frames = [(to, ARP, arp(2, sender, source, to, target)), (ALL, ARP, arp(2, sender, source, ALL, source)),
                  (ALL, ARP, arp(1, sender, source, b'\0' * 6, source))]
    else:
        frames = [(to, IPV4, udp4(source, target, 53, question(rest[0])))]
    for receiver, kind, payload in frames:
        raw.send((receiver + sender + struct.pack('!H', kind) + payload).ljust(60, b'\0'))


main()
