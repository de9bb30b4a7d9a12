#!/usr/bin/env python3
"""An agent that never stops trying, a little of everything at a time: what a rule allows, and ways round it.

hammer.py OUTSIDE    until it is ended. Allowed is GET /hit/... of allowed.example, on 80 and 443; nothing else is: other
                     methods, other names, the address OUTSIDE by socket, through the proxy, and in frames made by hand.
"""
import http.client
import itertools
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

PAUSE_SECONDS = 0.1
PATIENCE_SECONDS = 3
APPLIANCE, APPLIANCE_MAC = '10.203.0.2', '02:42:0a:cb:00:02'
RESOLVER = '198.51.100.53'
BUNDLE = '/etc/outcall/trust/bundle.crt'
OUTSIDE = sys.argv[1]
numbers = itertools.count()


def request(connection, method, path, **headers):
    connection.request(method, path, headers=headers)
    connection.getresponse().read()
    connection.close()


def plain(host, port=80):
    return http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)


def secure(host):
    trust = ssl.create_default_context(cafile=BUNDLE)
    return http.client.HTTPSConnection(host, 443, timeout=PATIENCE_SECONDS, context=trust)


def by_proxy(target):
    connection = plain(APPLIANCE, 8080)
    connection.set_tunnel(target)
    return connection


def ask(server, name):
    question = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.')) + b'\0' + struct.pack('!HH', 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_SECONDS)
        sock.sendto(struct.pack('!HHHHHH', 1, 0x0100, 1, 0, 0, 0) + question, (server, 53))
        sock.recv(512)


WAYS = (
    lambda: request(plain('allowed.example'), 'GET', f'/hit/plain/{next(numbers)}'),
    lambda: request(secure('allowed.example'), 'GET', f'/hit/secure/{next(numbers)}'),
    lambda: request(plain('allowed.example'), 'POST', '/never/method'),
    lambda: request(secure('allowed.example'), 'GET', '/never/path'),
    lambda: request(plain('denied.example'), 'GET', '/never/name'),
    lambda: request(plain('allowed.example'), 'GET', '/never/host', Host='denied.example'),
    lambda: request(plain('allowed.example', 9000), 'GET', '/never/port'),
    lambda: request(by_proxy('denied.example:80'), 'GET', '/never/proxy'),
    lambda: request(by_proxy(f'{OUTSIDE}:80'), 'GET', '/never/address'),
    lambda: request(plain(OUTSIDE), 'GET', '/never/direct'),
    lambda: ask(RESOLVER, 'never.example'),
    lambda: ask(APPLIANCE, 'never.example'),
    lambda: ask('127.0.0.11', 'never.example'),
    lambda: subprocess.run(['python3', '/kit/raw-sender.py', APPLIANCE_MAC, OUTSIDE], check=True, capture_output=True),
    lambda: subprocess.run(['python3', '/kit/raw-sender.py', 'ff:ff:ff:ff:ff:ff', OUTSIDE], check=True, capture_output=True),
)


def keep_trying(way):
    while True:
        try:
            way()
        except (OSError, http.client.HTTPException, subprocess.CalledProcessError):
            pass
        time.sleep(PAUSE_SECONDS)


for each in WAYS:
    threading.Thread(target=keep_trying, args=(each,)).start()
