#!/usr/bin/env python3
"""Writes frames to eth0 as root with NET_RAW may: to one MAC, with whatever inside.

raw-sender.py VIA TARGET...                ICMP, other protocols, forged sources, towards each target, IPv4 or IPv6.
                                           VIA is a MAC, or the address of the appliance, whose MAC is looked up
raw-sender.py --router-advertisement       an IPv6 router advertisement to all nodes
"""
import re
import socket
import struct
import subprocess
import sys

# /etc/protocols: ICMP, IPv6 in IPv4, GRE, ESP, SCTP, UDP-Lite
PROTOCOLS = (1, 41, 47, 50, 132, 136)


def checksum(data):
    data += b'\0' * (len(data) % 2)
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text):
    return bytes.fromhex(text.replace(':', ''))


def ipv4(source, target, protocol, payload):
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack('!H', checksum(head)) + head[12:] + payload


def pseudo(source, target, protocol, payload):
    return socket.inet_aton(source) + socket.inet_aton(target) + struct.pack('!BBH', 0, protocol, len(payload)) + payload


def echo():
    body = struct.pack('!BBHHH', 8, 0, 0, 1, 1) + b'out'
    return body[:2] + struct.pack('!H', checksum(body)) + body[4:]


def udp(source, target, port):
    body = struct.pack('!HHHH', 40000, port, 11, 0) + b'out'
    return body[:6] + struct.pack('!H', checksum(pseudo(source, target, 17, body))) + body[8:]


def tcp(source, target, port, flags):
    body = struct.pack('!HHIIBBHHH', 40000, port, 1, 1, 5 << 4, flags, 65535, 0, 0)
    return body[:16] + struct.pack('!H', checksum(pseudo(source, target, 6, body))) + body[18:]


def towards6(target):
    source, target = socket.inet_pton(socket.AF_INET6, 'fd00:bad::1'), socket.inet_pton(socket.AF_INET6, target)
    for protocol, body in ((58, echo()), (17, udp('0.0.0.0', '0.0.0.0', 443)), (6, tcp('0.0.0.0', '0.0.0.0', 443, 2))):
        yield struct.pack('!IHBB', 0x60000000, len(body), protocol, 64) + source + target + body


def own_address():
    listed = subprocess.run(['ip', '-4', '-o', 'addr', 'show', 'eth0'], check=True, capture_output=True, text=True).stdout
    return re.search(r'inet ([0-9.]+)', listed).group(1)


def own_mac():
    with open('/sys/class/net/eth0/address', encoding='ascii') as file:
        return mac(file.read().strip())


def mac_of(address):
    subprocess.run(['perl', '-MIO::Socket::INET', '-e', f'IO::Socket::INET->new("{address}:8080")'], check=True)
    listed = subprocess.run(['ip', 'neigh', 'show', address], check=True, capture_output=True, text=True).stdout
    return mac(re.search(r'lladdr ([0-9a-f:]{17})', listed).group(1))


def towards(target, sources):
    for protocol in PROTOCOLS:
        yield ipv4(sources[0], target, protocol, echo())
    for source in sources:
        yield ipv4(source, target, 1, echo())
        for port in (53, 80, 443, 5432, 9001):
            yield ipv4(source, target, 17, udp(source, target, port))
            for flags in (0x02, 0x10, 0x18):  # SYN, ACK, PSH ACK
                yield ipv4(source, target, 6, tcp(source, target, port, flags))


def router_advertisement():
    source, target = socket.inet_pton(socket.AF_INET6, 'fe80::bad'), socket.inet_pton(socket.AF_INET6, 'ff02::1')
    prefix = struct.pack('!BBBBIII', 3, 4, 64, 0xC0, 86400, 86400, 0) + socket.inet_pton(socket.AF_INET6, 'fd00:bad::')
    body = struct.pack('!BBHBBHII', 134, 0, 0, 64, 0, 1800, 0, 0) + prefix
    summed = source + target + struct.pack('!II', len(body), 58) + body
    body = body[:2] + struct.pack('!H', checksum(summed)) + body[4:]
    return struct.pack('!IHBB', 0x60000000, len(body), 58, 255) + source + target + body


def main():
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind(('eth0', 0))
    if sys.argv[1] == '--router-advertisement':
        raw.send(mac('33:33:00:00:00:01') + own_mac() + struct.pack('!H', 0x86DD) + router_advertisement())
        return
    via, *targets = sys.argv[1:]
    sources = [own_address(), '10.203.0.11', '10.203.0.12', '10.203.128.1', '10.203.0.2', '198.18.0.10', '198.51.100.1']
    head = (mac(via) if ':' in via else mac_of(via)) + own_mac()
    for target in targets:
        version6 = ':' in target
        for packet in towards6(target) if version6 else towards(target, sources):
            raw.send(head + struct.pack('!H', 0x86DD if version6 else 0x0800) + packet)


main()
