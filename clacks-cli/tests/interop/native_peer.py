"""A tower in Python, written from the page of the wire format alone (`clacks_proto::wire`).

usage: native_peer.py FOLDER RATE CUTS SEED ADDRESS...

FOLDER gets the key and the certificate. RATE is the number of messages sent per second. CUTS is the
probability with which a link is cut without a goodbye after a message was sent or received. SEED is
the seed of all random choices but identifiers. Each ADDRESS (IPv4:port) is dialled at the start.
The end of standard input, or any line on it, makes the tower hand over its messages and leave. Each
event is one JSON object on standard output.

Python's `ssl` can't accept a self-signed certificate that it does not know. The tower therefore
dials each address first, and accepts callers with the certificates that it found there.
"""

import hashlib, ipaddress, json, os, random, re, selectors, socket, ssl, struct, subprocess, sys
import time

HELLO, MESSAGE, ANNOUNCE, CONFIRMED, REFUSED, GOODBYE, DATAGRAM = range(0xC1, 0xC8)
BUSY, IGNORED, TOO_LARGE, SCREENED, KEY_MISMATCH = range(5)
IDLE, LEAVING, UNWANTED, WRONG_NETWORK, OWN_ADDRESS, MISBEHAVED, WRONG_VERSION, OTHER_KEY = range(8)
VERSION, NETWORK, UNLIMITED = 2, b"clacks", 0xFFFFFFFF
LONGEST_BODY, WINDOW_MESSAGES, WINDOW_BYTES, LONGEST_DATAGRAM = 65536, 32, 262144, 0
MOST_MESSAGES, MOST_PEERS, MOST_ENDED_LINKS = 4096, 64, 256
LONGEST_LIFETIME = 24 * 3600
LONGEST = {HELLO: 417, MESSAGE: 303 + LONGEST_BODY, ANNOUNCE: 2065, CONFIRMED: 8, REFUSED: 9,
           GOODBYE: 1, DATAGRAM: LONGEST_DATAGRAM}


class Violation(Exception):
    """The other side violated the specification."""


def check(condition, reason, farewell=MISBEHAVED):
    if not condition:
        raise Violation(reason, farewell)


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


# ---- Layout

class Reader:
    """Reads the fields of a payload."""

    def __init__(self, payload):
        self.payload, self.at = payload, 0

    def take(self, size):
        check(self.at + size <= len(self.payload), "a field is cut off")
        self.at += size
        return self.payload[self.at - size:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def rest(self):
        return self.take(len(self.payload) - self.at)

    def end(self):
        check(self.at == len(self.payload), "bytes after the last field")

    def address(self):
        """Returns the host and the port, or None."""
        tag = self.number(1)
        if tag == 0:
            return None
        check(tag in (1, 4, 6), "unknown tag of an address")
        if tag == 1:
            host = self.take(self.number(1)).decode("latin-1")
            label = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
            check(len(host) <= 253 and re.fullmatch(rf"{label}(\.{label})*", host), "bad name")
        else:
            ip = ipaddress.ip_address(self.take(4 if tag == 4 else 16))
            check(not ip.is_unspecified and not ip.is_multicast, "not an address of a host")
            check(tag == 4 or ip.ipv4_mapped is None, "IPv4 encoded as IPv6")
            host = str(ip)
        port = self.number(2)
        check(port, "port 0")
        return host, port


def encode_address(address):
    if address is None:
        return b"\0"
    host, port = address
    try:
        ip = ipaddress.ip_address(host)
        return bytes([ip.version]) + ip.packed + struct.pack(">H", port)
    except ValueError:
        return bytes([1, len(host)]) + host.encode("ascii") + struct.pack(">H", port)


def frame(kind, payload):
    return struct.pack(">BI", kind, len(payload)) + payload


def show(address):
    return f"{address[0]}:{address[1]}"


def public_key(certificate):
    """Returns the DER of the SubjectPublicKeyInfo."""
    def element(at):
        length, content = certificate[at + 1], at + 2
        if length & 0x80:
            content += length & 0x7F
            length = int.from_bytes(certificate[at + 2:content], "big")
        return content, content + length

    at, _ = element(0)           # Certificate
    at, _ = element(at)          # TBSCertificate
    if certificate[at] == 0xA0:  # the version
        _, at = element(at)
    for _ in ("serial number", "signature", "issuer", "validity", "subject"):
        _, at = element(at)
    return certificate[at:element(at)[1]]


def identity(certificate):
    return hashlib.sha256(public_key(certificate)).digest()


# ---- State

class Message:
    def __init__(self, kind, nonce, body, expires):
        self.kind, self.nonce, self.body, self.expires = kind, nonce, body, expires
        self.name = nonce, kind, body  # equal messages have the same name
        self.sent = False       # unanswered on a link
        self.came_back = False  # an equal one arrived in the meantime
        self.first = None       # if in doubt: (key of the peer, link, transfer, time)
        self.retries = 0

    def not_taken(self):
        self.sent, self.came_back, self.first, self.retries = False, False, None, 0


class Peer:
    """A tower at an address."""

    def __init__(self, address):
        self.address, self.key = address, None
        self.dial_at, self.dial_pause = 0, 0.1
        self.rest_until, self.rest = 0, 0.1
        self.longest_body = 1 << 24
        self.tried = False


class Link:
    def __init__(self, sock, peer, now):
        self.sock = sock
        self.dialled = peer       # the peer that was dialled, or None for a caller
        self.key = self.hello = None
        self.connecting, self.handshaking = peer is not None, True
        self.id = random.SystemRandom().getrandbits(64)
        self.inbox, self.outbox = bytearray(), bytearray()
        self.began = self.last_byte = now
        self.received, self.refused, self.to_confirm = 0, set(), 0
        self.due = []             # sizes of transfers that are not answered
        self.sent, self.unanswered = 0, {}   # number: (message, or None for an announce; time)
        self.announce_at, self.announce_pause = now if peer else None, 0.1
        self.goodbye_sent = self.goodbye_received = None   # times
        self.deaf = False  # after a violation nothing more is read

    def open(self):
        return self.hello and not self.goodbye_sent and not self.goodbye_received

    def room(self, size):
        """Returns whether the window has room for a body of this size."""
        if not self.unanswered:
            return True
        used = sum(len(message.body) for message, _ in self.unanswered.values() if message)
        return (len(self.unanswered) < self.hello["messages"]
                and used + size <= self.hello["bytes"])


class Tower:
    def __init__(self, folder, rate, cuts, addresses):
        key, cert = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj",
                        "/CN=native peer", "-keyout", key, "-out", cert],
                       check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(cert, encoding="ascii") as pem:
            self.key = identity(ssl.PEM_cert_to_DER_cert(pem.read()))
        self.client = self.context(ssl.PROTOCOL_TLS_CLIENT, ssl.CERT_NONE, key, cert)
        self.server = self.context(ssl.PROTOCOL_TLS_SERVER, ssl.CERT_REQUIRED, key, cert)
        self.incarnation = random.SystemRandom().getrandbits(64)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address = self.listener.getsockname()
        self.selector = selectors.DefaultSelector()
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        self.peers, self.links, self.messages, self.ended = {}, [], {}, {}
        self.accepting, self.leaving = False, None
        self.pause, self.tick_at, self.cuts = 1 / rate, 0, cuts
        self.taken = self.delivered = 0
        for address in addresses:
            self.learn(address)
        say("listening", address=show(self.address), fingerprint=self.key.hex())

    @staticmethod
    def context(protocol, verify, key, cert):
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = verify
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["clacks/2"])
        context.load_cert_chain(cert, key)
        return context

    def learn(self, address):
        if address and address != self.address and len(self.peers) < MOST_PEERS:
            self.peers.setdefault(address, Peer(address))

    def peer_of(self, link):
        """Returns the peer whose key the other side of a link has proved."""
        if link.dialled:
            return link.dialled
        found = [peer for peer in self.peers.values() if peer.key == link.key]
        return found[0] if found else None

    # ---- Links

    def run(self):
        while self.links or not self.leaving or self.hands_over(time.monotonic()):
            for ready, events in self.selector.select(self.until_next_timer()):
                if ready.fileobj is sys.stdin:
                    self.leave()
                elif ready.fileobj is self.listener:
                    self.accept()
                elif ready.data in self.links:
                    self.serve(ready.data)
            self.on_time(time.monotonic())
        say("left", held=len(self.messages), received=self.taken, delivered=self.delivered)

    def hands_over(self, now):
        """Returns whether the tower leaves, but still has messages and time to hand them over."""
        return self.leaving and self.messages and now < self.leaving + 10

    def leave(self):
        self.selector.unregister(sys.stdin)
        self.leaving = time.monotonic()
        if self.accepting:
            self.selector.unregister(self.listener)
        self.listener.close()

    def until_next_timer(self):
        if self.leaving:
            return 0.02
        return min(max(self.tick_at - time.monotonic(), 0), 0.1)

    def dial(self, peer, now):
        peer.dial_at, peer.dial_pause = now + peer.dial_pause, min(peer.dial_pause * 2, 60)
        family = socket.AF_INET6 if ":" in peer.address[0] else socket.AF_INET
        sock = socket.socket(family)
        sock.setblocking(False)
        try:
            sock.connect_ex(peer.address)
            self.add(Link(sock, peer, now), selectors.EVENT_WRITE)
        except OSError:  # an unknown name
            peer.tried = True

    def accept(self):
        try:
            sock, _ = self.listener.accept()
            sock.setblocking(False)
            sock = self.server.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self.add(Link(sock, None, time.monotonic()), selectors.EVENT_READ)
        except OSError:  # the caller has gone
            pass

    def add(self, link, events):
        link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.links.append(link)
        self.selector.register(link.sock, events, link)

    def serve(self, link):
        """Reads and writes what a link is ready for."""
        try:
            if link.connecting:
                error = link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                link.connecting = False
                link.began = time.monotonic()
                self.selector.unregister(link.sock)
                link.sock = self.client.wrap_socket(link.sock, do_handshake_on_connect=False)
                self.selector.register(link.sock, selectors.EVENT_READ, link)
            if link.handshaking:
                link.sock.do_handshake()
                self.on_handshake(link)
            ended = self.read(link)
            if link.outbox and link.received and self.cut(link):
                return
            self.write(link)
            if ended:
                self.close(link, "end of the stream")
        except ssl.SSLWantReadError:
            self.interest(link, False)
        except ssl.SSLWantWriteError:
            self.interest(link, True)
        except OSError as error:
            self.close(link, str(error))

    def on_handshake(self, link):
        link.handshaking = False
        certificate = link.sock.getpeercert(binary_form=True)
        link.key = identity(certificate)
        peer = link.dialled
        if peer:
            if peer.key not in (None, link.key):
                raise OSError("another key at a pinned address")
            if peer.key is None:
                self.server.load_verify_locations(cadata=certificate)
                peer.key = link.key
        if link.sock.selected_alpn_protocol() != "clacks/2":
            raise OSError("another protocol")
        hello = struct.pack(">BQQIHII", VERSION, self.incarnation, link.id, LONGEST_BODY,
                            WINDOW_MESSAGES, WINDOW_BYTES, LONGEST_DATAGRAM)
        hello += bytes([len(NETWORK)]) + NETWORK + encode_address(self.address)
        link.outbox += frame(HELLO, hello)

    def read(self, link):
        """Returns whether the other side has ended the stream."""
        try:
            while data := link.sock.recv(65536):
                link.inbox += data
                link.last_byte = time.monotonic()
                self.take_frames(link)
            return True
        except ssl.SSLWantReadError:
            return False

    def write(self, link):
        if link not in self.links or link.handshaking:
            return
        try:
            while link.outbox:
                del link.outbox[:link.sock.send(link.outbox)]
            self.interest(link, False)
        except ssl.SSLWantWriteError:
            self.interest(link, True)
        except OSError as error:
            return self.close(link, str(error))
        if link.goodbye_sent and (link.goodbye_received or link.deaf) and not link.outbox:
            self.close(link, "goodbye")

    def interest(self, link, write):
        if link in self.links:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
            self.selector.modify(link.sock, events, link)

    def cut(self, link):
        """Returns whether the link was cut without a goodbye."""
        if self.leaving or not link.open() or random.random() >= self.cuts:
            return False
        self.close(link, "cut")
        return True

    def close(self, link, reason):
        if link not in self.links:
            return
        self.links.remove(link)
        self.selector.unregister(link.sock)
        link.sock.close()
        if link.dialled:
            link.dialled.tried = True
        in_doubt = link.goodbye_received is None
        if link.hello and in_doubt:
            say("broken", key=link.key.hex(), reason=reason)
        for number, (message, sent_at) in link.unanswered.items():
            if message:
                message.sent = False
                if in_doubt and message.first is None:
                    message.first = link.key, link.id, number, sent_at
        if link.hello:
            name = link.hello["incarnation"], link.hello["link"]
            self.ended[name] = link.received, link.refused
            while len(self.ended) > MOST_ENDED_LINKS:
                del self.ended[next(iter(self.ended))]

    # ---- Frames

    def take_frames(self, link):
        try:
            while not link.goodbye_received and not link.deaf and link.inbox:
                kind = link.inbox[0]
                check(kind in LONGEST, "unknown kind")
                check((kind == HELLO) == (link.hello is None), "a hello is first, and only first")
                if len(link.inbox) < 5:
                    break
                length = int.from_bytes(link.inbox[1:5], "big")
                check(length <= LONGEST[kind], "a frame is too long")
                if len(link.inbox) < 5 + length:
                    break
                payload = bytes(link.inbox[5:5 + length])
                del link.inbox[:5 + length]
                self.on_frame(link, kind, Reader(payload))
            self.confirm(link)
        except Violation as error:
            say("violation", reason=error.args[0], farewell=error.args[1])
            link.deaf = True
            self.goodbye(link, error.args[1])

    def on_frame(self, link, kind, reader):
        if kind == HELLO:
            self.on_hello(link, reader)
        elif kind == MESSAGE:
            self.on_message(link, reader)
        elif kind == ANNOUNCE:
            self.on_announce(link, reader)
        elif kind == CONFIRMED:
            through = reader.number(8)
            reader.end()
            check(through in link.unanswered, "confirms what is not unanswered")
            self.on_confirmed(link, through)
        elif kind == REFUSED:
            number, reason = reader.number(8), reader.number(1)
            reader.end()
            check(number in link.unanswered and reason <= KEY_MISMATCH, "a bad refusal")
            self.on_confirmed(link, number - 1)
            self.on_refused(link, link.unanswered.pop(number)[0], reason)
        elif kind == GOODBYE:
            farewell = reader.number(1)
            reader.end()
            check(farewell <= OTHER_KEY, "unknown farewell")
            self.on_goodbye(link, farewell)
        else:
            check(False, "a datagram")

    def on_hello(self, link, reader):
        version = reader.number(1)
        check(version >= 2, "wrong version", WRONG_VERSION)
        incarnation, number = reader.number(8), reader.number(8)
        body, messages, size = reader.number(4), reader.number(2), reader.number(4)
        datagram, network = reader.number(4), reader.take(reader.number(1))
        address = reader.address()
        check(len(reader.rest()) <= 64, "too many bytes of later versions")
        check(1 <= body <= 1 << 24 and 1 <= messages <= 4096 and datagram <= 65536, "a bad limit")
        check(len(network) <= 64, "the name of the network is too long")
        check(is_utf8(network), "not UTF-8")
        check(network == NETWORK, "wrong network", WRONG_NETWORK)
        check(incarnation != self.incarnation and link.key != self.key, "own address", OWN_ADDRESS)
        link.hello = {"incarnation": incarnation, "link": number, "body": body,
                      "messages": messages, "bytes": size, "address": address}
        if link.dialled:
            link.dialled.tried, link.dialled.dial_pause = True, 0.1
            say("met", address=show(link.dialled.address))
        else:
            say("called", key=link.key.hex())
        self.learn(address)

    def admit(self, link, number, size):
        """Checks a transfer's number and the window. Returns False after the tower's goodbye."""
        if link.goodbye_sent:
            return False
        check(number == link.received + 1, "not the next number")
        used = len(link.due) < WINDOW_MESSAGES and sum(link.due) + size <= WINDOW_BYTES
        check(not link.due or used, "beyond the window")
        link.received = number
        link.due.append(size)
        return True

    def on_message(self, link, reader):
        number, attempt, lifetime = reader.number(8), reader.number(1), reader.number(4)
        nonce, kind = reader.take(16), reader.number(1)
        check(attempt <= 1 and lifetime and kind <= 2, "a bad field of a message")
        first = (reader.number(8), reader.number(8)) if attempt else None
        check(first is None or first[1], "transfer 0")
        friend, body = reader.address(), reader.rest()
        check(len(body) <= LONGEST_BODY, "the body is too long")
        check(kind == 0 or is_utf8(body), "not UTF-8")
        if not self.admit(link, number, len(body)):
            return
        if first and self.took(link.hello["incarnation"], *first):
            link.to_confirm = number
            say("recognised", transfer=first[1])
            return
        if self.leaving or len(self.messages) >= MOST_MESSAGES:
            self.refuse(link, number)
            return
        self.learn(friend)
        link.to_confirm = number
        expires = time.monotonic() + min(lifetime / 1000, LONGEST_LIFETIME)
        message = Message(kind, nonce, body, expires)
        held = self.messages.setdefault(message.name, message)
        if held is not message:
            held.expires = max(held.expires, expires)
            # Otherwise the confirmation of the other transfer would drop this copy.
            held.came_back |= held.sent or held.first is not None
        self.taken += 1
        say("received", count=self.taken)

    def took(self, incarnation, number, transfer):
        """Returns whether a transfer of an earlier link was taken."""
        last, refused = self.ended.get((incarnation, number), (0, ()))
        for link in self.links:
            hello = link.hello
            if hello and (hello["incarnation"], hello["link"]) == (incarnation, number):
                last, refused = link.received, link.refused
        return transfer <= last and transfer not in refused

    def on_announce(self, link, reader):
        number, count = reader.number(8), reader.number(1)
        check(count <= 8, "too many friends")
        friends = [reader.address() for _ in range(count)]
        reader.end()
        check(None not in friends and len(set(friends)) == count, "bad friends")
        if not self.admit(link, number, 0):
            return
        if self.leaving or link.hello["address"] is None:
            self.refuse(link, number)
            return
        for friend in friends:
            self.learn(friend)
        link.to_confirm = number

    def refuse(self, link, number):
        # Earlier ones than those of a window are not in doubt.
        link.refused = {old for old in link.refused if old > number - WINDOW_MESSAGES} | {number}
        link.to_confirm = 0
        link.due.clear()
        link.outbox += frame(REFUSED, struct.pack(">QB", number, BUSY))

    def confirm(self, link):
        if link.to_confirm and not link.goodbye_sent:
            link.outbox += frame(CONFIRMED, struct.pack(">Q", link.to_confirm))
            link.to_confirm = 0
            link.due.clear()

    def on_confirmed(self, link, through):
        for number in [number for number in link.unanswered if number <= through]:
            message, _ = link.unanswered.pop(number)
            if message is None:
                continue
            self.delivered += 1
            say("delivered", count=self.delivered)
            if not message.came_back:
                del self.messages[message.name]
            message.not_taken()  # a copy that came back is as new
            if peer := self.peer_of(link):
                peer.rest = 0.1

    def on_refused(self, link, message, reason):
        now, peer = time.monotonic(), self.peer_of(link)
        if message is None:
            link.announce_at = now + link.announce_pause
            link.announce_pause = min(link.announce_pause * 2, 60)
            return
        message.not_taken()
        if peer and reason == TOO_LARGE:
            peer.longest_body = min(peer.longest_body, len(message.body) - 1)
        elif peer:
            peer.rest_until, peer.rest = now + peer.rest, min(peer.rest * 2, 60)

    def on_goodbye(self, link, farewell):
        say("goodbye", farewell=farewell)
        link.goodbye_received = time.monotonic()
        for message, _ in link.unanswered.values():
            if message:
                message.not_taken()
        link.unanswered.clear()
        self.goodbye(link, farewell)

    def goodbye(self, link, farewell):
        if not link.goodbye_sent:
            self.confirm(link)
            link.outbox += frame(GOODBYE, bytes([farewell]))
            link.goodbye_sent = time.monotonic()

    # ---- Time

    def on_time(self, now):
        for link in list(self.links):
            self.check_timeouts(link, now)
        for message in list(self.messages.values()):
            if now >= message.expires and not message.sent:
                del self.messages[message.name]
        if not self.leaving or self.hands_over(now):
            linked = {link.key for link in self.links} | {link.dialled for link in self.links}
            for peer in self.peers.values():
                if now >= peer.dial_at and peer not in linked and (
                        peer.key is None or peer.key not in linked):
                    self.dial(peer, now)
            has_tried_all = all(peer.tried for peer in self.peers.values())
            if has_tried_all and not self.accepting and not self.leaving:
                self.accepting = True
                self.selector.register(self.listener, selectors.EVENT_READ)
        if self.leaving or now >= self.tick_at:
            self.tick_at = now + self.pause
            while self.send_one(now) and self.leaving:
                pass
        for link in list(self.links):
            if link.open() and link.announce_at and now >= link.announce_at and link.room(0):
                link.announce_at = None
                self.send_announce(link, now)
            if self.leaving and not self.hands_over(now) and link.open() and not link.unanswered:
                self.goodbye(link, LEAVING)
            self.write(link)
            if link.unanswered:
                self.cut(link)

    def check_timeouts(self, link, now):
        oldest = next(iter(link.unanswered.values()), None)
        is_late = now > link.began + 10 or self.leaving and not self.hands_over(now)
        if link.hello is None and is_late:
            self.close(link, "no hello")
        elif oldest and now > oldest[1] + 30:
            self.close(link, "no answer")
        elif len(link.outbox) > 1 << 20:
            self.close(link, "reads nothing")
        elif link.goodbye_sent and now > link.goodbye_sent + 5:
            self.close(link, "no goodbye")
        elif link.open() and now > link.last_byte + 60:
            self.goodbye(link, IDLE)

    def send_announce(self, link, now):
        alive = [other.address for other in self.alive() if other is not link.dialled]
        friends = random.sample(alive, min(len(alive), 8))
        link.sent += 1
        link.unanswered[link.sent] = None, now
        payload = struct.pack(">QB", link.sent, len(friends))
        link.outbox += frame(ANNOUNCE, payload + b"".join(map(encode_address, friends)))

    def alive(self):
        """Returns the peers to which there is a link."""
        peers = [self.peer_of(link) for link in self.links if link.open()]
        return list({id(peer): peer for peer in peers if peer}.values())

    def send_one(self, now):
        """Sends a message to a random peer. Returns whether there was one to send."""
        links = [link for link in self.links if link.open() and self.peer_of(link)
                 and link.hello["address"] and now >= self.peer_of(link).rest_until]
        random.shuffle(links)
        keys = {link.key for link in links}
        for message in self.messages.values():
            if message.sent:
                continue
            if message.first and (message.retries == 3 or now > message.first[3] + 60
                                  or self.leaving and message.first[0] not in keys):
                message.first, message.retries = None, 0
            for link in links:
                peer, size = self.peer_of(link), len(message.body)
                if size <= min(link.hello["body"], peer.longest_body) and link.room(size) and (
                        message.first is None or message.first[0] == link.key):
                    return self.send(link, message, now)
        return False

    def send(self, link, message, now):
        lifetime = int((message.expires - now) * 1000) - 1
        if lifetime <= 0:
            del self.messages[message.name]
            return True
        peer = self.peer_of(link)
        friends = [other.address for other in self.alive() if other is not peer]
        link.sent += 1
        link.unanswered[link.sent] = message, now
        message.sent = True
        payload = struct.pack(">QBI16sB", link.sent, int(message.first is not None), lifetime,
                              message.nonce, message.kind)
        if message.first:
            message.retries += 1
            say("retried", count=message.retries)
            payload += struct.pack(">QQ", message.first[1], message.first[2])
        payload += encode_address(random.choice(friends) if friends else None)
        link.outbox += frame(MESSAGE, payload + message.body)
        return True


def is_utf8(data):
    try:
        data.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


def main():
    folder, rate, cuts, seed, *addresses = sys.argv[1:]
    random.seed(int(seed))
    pairs = [address.rsplit(":", 1) for address in addresses]
    Tower(folder, float(rate), float(cuts), [(host, int(port)) for host, port in pairs]).run()


main()
