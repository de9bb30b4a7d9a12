#!/usr/bin/env python3
"""What a program in a container tries with sockets alone, all at once, each with a moment to be answered.

attempts.py [--awaited 'PROTOCOL ADDRESS PORT']... ADDRESS...
    TCP and UDP ports, DNS, QUIC, ICMP and other protocols, towards each address, IPv4 or IPv6. Those that are awaited have
    longer than a moment: they are to be answered, also on a machine that is busy.
Prints a line for each attempt that something came back for: `tcp 198.18.0.10 80 open`.
"""
import argparse
import os
import select
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

MOMENT_SECONDS = 1.5
PATIENCE_SECONDS = 20
TCP_PORTS = (21, 22, 25, 53, 80, 123, 443, 853, 2375, 5432, 8080, 8443, 9000, 9001, 15001)
UDP_PORTS = (53, 123, 443, 500, 853, 4500, 8080, 9001)
# IPv6 in IPv4, GRE, ESP, SCTP, UDP-Lite of /etc/protocols
PROTOCOLS = (41, 47, 50, 132, 136)
DNS_QUERY = struct.pack('!HHHHHH', 7, 0x0100, 1, 0, 0, 0) + b'\x07allowed\x07example\x00' + struct.pack('!HH', 1, 1)
# The long header of RFC 9000, 17.2.2, padded to the least that a server takes; what is inside does not matter.
QUIC_INITIAL = (b'\xc3\x00\x00\x00\x01\x08outcall!\x08outcall!\x00\x44\x90').ljust(1200, b'\x55')
PAYLOADS = {53: DNS_QUERY, 443: QUIC_INITIAL}


def family(address):
    return socket.AF_INET6 if ':' in address else socket.AF_INET


def tcp(address, port, seconds):
    with socket.socket(family(address), socket.SOCK_STREAM) as sock:
        sock.settimeout(seconds)
        try:
            sock.connect((address, port))
        except (ConnectionRefusedError, ConnectionResetError):
            return 'refused'
        return 'open'


def udp(address, port, seconds):
    with socket.socket(family(address), socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds)
        sock.connect((address, port))
        sock.send(PAYLOADS.get(port, b'out'))
        try:
            sock.recv(2048)
        except ConnectionRefusedError:
            return 'refused'
        return 'open'


def checksum(data):
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def ping(address, _, seconds):
    six = ':' in address
    ident = os.getpid() & 0xFFFF
    request = struct.pack('!BBHHH', 128 if six else 8, 0, 0, ident, 1)
    request = request[:2] + struct.pack('!H', checksum(request)) + request[4:]
    with socket.socket(family(address), socket.SOCK_RAW, 58 if six else 1) as sock:
        sock.sendto(request, (address, 0))
        while select.select([sock], [], [], seconds)[0]:
            answer, (sender, *_) = sock.recvfrom(2048)
            if sender.split('%')[0] == address and answer[0 if six else 20] in (0, 129):
                return 'open'
    return None


def protocol(address, number, _):
    with socket.socket(family(address), socket.SOCK_RAW, number) as sock:
        sock.sendto(b'out', (address, 0))
    return None


def attempt(job):
    kind, try_it, address, port, seconds = job
    try:
        answer = try_it(address, port, seconds)
    except OSError:
        return None
    return None if answer is None else f'{kind} {address} {port} {answer}'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--awaited', action='append', default=[])
    parser.add_argument('addresses', nargs='+')
    given = parser.parse_args()
    jobs = []
    for address in given.addresses:
        jobs += [('tcp', tcp, address, port) for port in TCP_PORTS]
        jobs += [('udp', udp, address, port) for port in UDP_PORTS]
        jobs += [('icmp', ping, address, 0)]
        jobs += [('protocol', protocol, address, number) for number in PROTOCOLS]
    patient = [(*job, PATIENCE_SECONDS if f'{job[0]} {job[2]} {job[3]}' in given.awaited else MOMENT_SECONDS) for job in jobs]
    with ThreadPoolExecutor(len(jobs)) as pool:
        for line in pool.map(attempt, patient):
            if line is not None:
                print(line)


main()
