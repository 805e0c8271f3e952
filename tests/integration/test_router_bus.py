# SPDX-License-Identifier: GPL-2.0-or-later
"""A real router with a real Redis; this test plays tunnel, discovery, gateway and ledger around it.

The tunnel here carries out what it is told as the real one would (a route is built 30 ms after the
order, if its relays live), so that what is seen are the router's own decisions and their times.
"""
import json
import os
import random
import signal
import struct
import subprocess
import time

import nacl.signing
import pytest
import zmq

import fake_services as fake  # generates the messages
from inbox import inbox
from waiting import PATIENCE_S

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("MVPN_BIN", os.path.join(ROOT, "bin"))
PHASE = fake.types_pb2.Phase
RELAY, EXIT4, EXIT6 = 1, 2, 4
COUNTRIES = ["SE", "DE", "CH", "JP", "US"]


class Relay:
    """Relay n is 20.n.0.1 in AS 1000 + n; odd ones are exits."""

    def __init__(self, n, price=0):
        self.n, self.country, self.price = n, COUNTRIES[n % len(COUNTRIES)], price
        self.key = nacl.signing.SigningKey(n.to_bytes(32, "little"))
        self.id = bytes(self.key.verify_key)
        self.exit = n % 2 == 1
        self.alive = True
        self.seq = 0

    def descriptor(self):
        now = int(time.time())
        self.seq += 1
        b = bytearray(264)
        b[0], b[1] = 1, RELAY | (EXIT4 | EXIT6 if self.exit else 0)
        b[4:36] = self.id
        b[36:68] = self.id
        b[68:72] = self.address()
        b[72:74] = struct.pack("<H", 51820)
        b[108:108 + len(f"r{self.n}")] = f"r{self.n}".encode()
        b[132:156] = struct.pack("<QQQ", 0, 0, self.price)
        b[188] = 1 if self.exit else 0
        b[220:244] = struct.pack("<Qqq", self.seq, now, now + 86400)
        return bytes(b) + self.key.sign(b"mvpn descriptor v1" + bytes(b)).signature

    def address(self):
        return bytes([20, self.n % 256, self.n // 256, 1])


class Link:
    """One role's side of the bus towards the router."""

    def __init__(self, world, role):
        self.world, self.role = world, role
        self.pull = self.in_cls = None
        if role in ("tunnel", "gateway"):  # the router speaks to these two
            self.in_cls = fake.tunnel_pb2.TunnelIn if role == "tunnel" else fake.gateway_pb2.GatewayIn
            self.pull = world.ctx.socket(zmq.PULL)
            self.pull.setsockopt(zmq.LINGER, 0)
            self.pull.bind(inbox(world.dir, role, "router"))
        self.push = None
        self.instance = random.getrandbits(60)
        self.connect()

    def connect(self):
        """A fresh pipe: what is written to one whose reader was killed is lost."""
        if self.push is not None:
            self.push.close()
        self.push = self.world.ctx.socket(zmq.PUSH)
        for option, value in ((zmq.LINGER, 0), (zmq.RECONNECT_IVL, 20), (zmq.IMMEDIATE, 1), (zmq.SNDHWM, 100000)):
            self.push.setsockopt(option, value)
        self.push.connect(inbox(self.world.dir, "router", self.role))
        self.greeted = False

    def say(self, **body):
        m = fake.router_pb2.RouterIn(**body)
        try:
            self.push.send(m.SerializeToString(), zmq.DONTWAIT)
            return True
        except zmq.Again:
            return False

    def greet(self):
        self.greeted = self.say(hello=dict(instance=self.instance, version=1))
        return self.greeted

    def close(self):
        self.push.close()
        if self.pull is not None:
            self.pull.close()


class World:
    def __init__(self, tmp, n_relays=24, price=0):
        self.dir = str(tmp)
        subprocess.run([f"{BIN}/mvpn", "--dir", self.dir, "init", "--name", "t"], check=True, capture_output=True)
        self.relays = [Relay(n, price if n % 3 else 0) for n in range(1, n_relays + 1)]
        self.by_id = {r.id: r for r in self.relays}
        with open(f"{self.dir}/geo.csv", "w") as f:
            for n in range(256):
                f.write(f"20.{n}.0.0/16,{COUNTRIES[n % len(COUNTRIES)]},{1000 + n},x\n")
        ini = open(f"{self.dir}/node.ini").read().replace("[node]\n", f"[node]\ngeo = {self.dir}/geo.csv\n", 1)
        with open(f"{self.dir}/node.ini", "w") as f:
            f.write(ini)
        os.makedirs(f"{self.dir}/run", mode=0o700, exist_ok=True)
        self.ctx, self.poller = zmq.Context(), zmq.Poller()
        self.log = open(f"{self.dir}/log", "a")
        self.router = self.redis = None
        self.links = {}
        for role in ("tunnel", "gateway", "discovery", "ledger"):
            self.link(role)
        self.routes = {}  # number -> [relays], as built
        self.in_use, self.later = 0, []
        self.orders, self.states, self.dones, self.exits = [], [], {}, []
        self.wish = dict(on=False)
        self.settings = dict(pay=True, hop_interval_s=0)
        self.n_id = 0
        self.stats_at = 0

    # ---- processes ----

    def link(self, role):
        self.links[role] = Link(self, role)
        if self.links[role].pull is not None:
            self.poller.register(self.links[role].pull, zmq.POLLIN)

    def router_start(self):
        self.router = subprocess.Popen([f"{BIN}/mvpn-router", "--dir", self.dir], stderr=self.log)

    def router_kill(self):
        self.router.kill()
        self.router.wait()
        for link in self.links.values():
            link.connect()
        self.orders, self.states = [], []

    def redis_start(self):
        self.redis = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", f"{self.dir}/run/redis.sock", "--save", "",
             "--appendonly", "no", "--dir", self.dir], stdout=subprocess.DEVNULL)

    def redis_kill(self):
        self.redis.kill()
        self.redis.wait()

    def tunnel_restart(self):
        old = self.links["tunnel"]
        self.poller.unregister(old.pull)
        old.close()
        self.routes, self.in_use, self.later = {}, 0, []
        self.link("tunnel")

    def redis_cli(self, *words):
        p = subprocess.run(["redis-cli", "-s", f"{self.dir}/run/redis.sock", "--no-raw", *words],
                           capture_output=True, text=True)
        return p.stdout

    def ctl(self, *words, code=0):
        p = subprocess.Popen([f"{BIN}/routerctl", "--dir", self.dir, "--json", *words],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = p.communicate(timeout=30)
        assert p.returncode == code, f"{words}: {p.returncode} {err}"
        return json.loads(out) if code == 0 and out else err

    def end(self):
        for p in (self.router, self.redis):
            if p is not None and p.poll() is None:
                p.send_signal(signal.SIGCONT)
                p.terminate()
                p.wait(20)
        for link in self.links.values():
            link.close()
        self.ctx.destroy(linger=0)
        self.log.close()

    # ---- the others speak ----

    def snapshot(self, role):
        link = self.links[role]
        if role == "tunnel":
            for route, hops in self.routes.items():
                link.say(route_lives=dict(route=route, hops=self.hop_infos(route, hops), in_use=route == self.in_use))
            link.say(routes_complete=dict(n_routes=len(self.routes)))
        elif role == "discovery":
            for r in self.relays:
                link.say(relay_learned=dict(descriptor=r.descriptor()))
            link.say(directory_complete=dict(n_relays=len(self.relays)))
        elif role == "gateway":
            link.say(settings=self.settings)
            link.say(set_session=self.wish)

    def ask(self, **body):
        self.n_id += 1
        self.links["gateway"].say(id=self.n_id, **body)
        return self.n_id

    def want(self, **wish):
        self.wish = wish
        return self.ask(set_session=wish)

    def hop_infos(self, route, hops):
        return [dict(node_id=r.id, rtt_us=10000 * (k + 1), session=route % 1000000 * 4 + k, address=r.address())
                for k, r in enumerate(hops)]

    # ---- the tunnel ----

    def on_tunnel(self, m):
        kind = m.WhichOneof("body")
        order = getattr(m, kind)
        if kind == "hello":
            return
        self.orders.append((kind, order, time.monotonic()))
        due = time.monotonic() + 0.03
        if kind == "build_route":
            hops = [self.by_id[d[4:36]] for d in order.descriptors]
            if all(r.alive for r in hops):
                self.later.append((due, lambda: self.built(order.route, hops)))
        elif kind == "probe_route":
            self.later.append((due, lambda: self.probed(order.route)))
        elif kind == "measure_relay":
            r = self.by_id[order.descriptor[4:36]]
            self.later.append((due, lambda: self.links["tunnel"].say(
                relay_measured=dict(node_id=r.id, err=0 if r.alive else -7, rtt_us=10000 + 1000 * r.n))))
        elif kind == "use_route":
            self.in_use = order.route
        elif kind == "close_route" and order.drain_ms == 0:
            self.routes.pop(order.route, None)
            self.links["tunnel"].say(route_closed=dict(route=order.route))

    def built(self, route, hops):
        self.routes[route] = hops
        self.links["tunnel"].say(route_built=dict(route=route, hops=self.hop_infos(route, hops),
                                                  ip4=bytes([100, 64, 0, 2]), build_us=30000))

    def probed(self, route):
        ok = route in self.routes and all(r.alive for r in self.routes[route])
        self.links["tunnel"].say(route_probed=dict(route=route, ok=ok, rtt_us=40000))

    def stats(self):
        if time.monotonic() < self.stats_at:
            return
        self.stats_at = time.monotonic() + 1
        for route, hops in self.routes.items():
            self.links["tunnel"].say(route_stats=dict(route=route, hops=self.hop_infos(route, hops), rx_bytes=1000,
                                                      tx_bytes=100, in_use=route == self.in_use))

    # ---- turning ----

    def pump(self, wait_ms=5):
        for role, link in self.links.items():
            if not link.greeted and link.greet():
                self.snapshot(role)
        for sock, _ in self.poller.poll(wait_ms):
            role = next(k for k, link in self.links.items() if link.pull is sock)
            m = self.links[role].in_cls.FromString(sock.recv())
            if role == "tunnel":
                self.on_tunnel(m)
            elif m.WhichOneof("body") == "session_state":
                self.states.append(m.session_state)
            elif m.WhichOneof("body") == "done":
                self.dones[m.re] = m.done
            elif m.WhichOneof("body") == "exit_list":
                self.exits.append((m.re, m.exit_list))
        due = [f for t, f in self.later if t <= time.monotonic()]
        self.later = [(t, f) for t, f in self.later if t > time.monotonic()]
        for f in due:
            f()
        self.stats()

    def until(self, condition, what, patience=PATIENCE_S):
        end = time.monotonic() + patience
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < end, f"not within {patience} s: {what}; last state: {self.states[-1:]}"
            assert self.router.poll() is None, open(f"{self.dir}/log").read()[-3000:]
            self.pump()

    def phase(self):
        return self.states[-1].phase if self.states else None

    def on(self):
        return self.phase() == PHASE.PHASE_ON

    def ordered(self, kind):
        return [o for k, o, _ in self.orders if k == kind]

    def connect(self, **wish):
        self.want(on=True, **wish)
        self.until(self.on, "the session is on")

    def live(self):
        return self.routes[self.in_use]


@pytest.fixture
def world(tmp_path):
    w = World(tmp_path)
    w.redis_start()
    w.router_start()
    w.until(lambda: w.states, "the router speaks")
    yield w
    w.end()


def test_connect_shows_phases_route_and_reasons(world):
    w = world
    n = w.want(on=True, hops=3, exit_countries=["DE"])
    w.until(w.on, "on")
    assert w.dones[n].err == 0
    phases = [s.phase for s in w.states]
    assert PHASE.PHASE_CONNECTING in phases
    s = w.states[-1]
    assert len(s.hops) == 3 and s.hops[2].country == "DE" and len({h.asn for h in s.hops}) == 3
    assert [h.node_id for h in s.hops] == [r.id for r in w.live()]
    assert s.exit_address == w.live()[2].address() and s.ip4 == bytes([100, 64, 0, 2])
    assert "exit in DE as you asked" in s.reasons[0] and len(s.reasons) >= 2
    assert s.n_relays == len(w.relays) and s.n_exits == len([r for r in w.relays if r.exit and r.country == "DE"])
    assert 60 <= s.connect_ms < 5000
    # Once a second while on.
    n = len(w.states)
    w.until(lambda: len(w.states) >= n + 3, "it goes on telling")
    # A spare of other relays stands by, behind the same entry.
    spare = w.until(lambda: next((h for r, h in w.routes.items() if r != w.in_use), None), "a spare")
    assert spare[0] is w.live()[0] and spare[1] is not w.live()[1]
    n = w.want(on=False)
    w.until(lambda: w.phase() == PHASE.PHASE_OFF and not w.routes, "off, nothing left")
    assert w.ordered("use_route")[-1].route == 0


def test_refused_wishes_say_why(world):
    w = world
    for body, words in ((dict(set_session=dict(on=True, hops=7)), "1 to 3"),
                        (dict(set_session=dict(on=True, exit_countries=["se"])), "two capital letters"),
                        (dict(new_route={}), "off"),
                        (dict(settings=dict(hop_interval_s=10**9)), "30 days")):
        n = w.ask(**body)
        done = w.until(lambda n=n: w.dones.get(n), "an answer")
        assert done.err != 0 and words in done.why
    assert w.phase() == PHASE.PHASE_OFF


def test_deaths_are_answered_at_once(world):
    w = world
    w.connect(hops=3)
    w.until(lambda: len(w.routes) == 2, "a spare")
    # The middle: another way to the same exit, ordered at once.
    old, (guard, middle, exit_) = w.in_use, w.live()
    middle.alive = False
    w.orders, told = [], time.monotonic()
    w.links["tunnel"].say(route_dead=dict(route=old, hop=1))
    w.until(lambda: w.ordered("build_route"), "another way is ordered")
    took_build = time.monotonic() - told
    order = w.ordered("build_route")[0]
    assert order.exit_of == old
    ids = [d[4:36] for d in order.descriptors]
    assert ids[0] == guard.id and ids[1] != middle.id and ids[2] == exit_.id
    w.until(lambda: w.in_use == order.route and w.on() and old not in w.routes, "on by the other way")
    w.until(lambda: len(w.routes) == 2, "a spare again")
    # The exit: the spare takes over at once.
    spare = next(r for r in w.routes if r != w.in_use)
    w.live()[2].alive = False
    told = time.monotonic()
    w.links["tunnel"].say(route_dead=dict(route=w.in_use, hop=2))
    w.until(lambda: w.in_use == spare, "the spare is in use")
    took_spare = time.monotonic() - told
    print(f"order to go round {1000 * took_build:.0f} ms, spare in use {1000 * took_spare:.0f} ms after the news")
    assert took_build < 1 and took_spare < 1
    w.until(lambda: w.on() and "the exit stopped answering" in w.states[-1].reason, "said in words")


def test_kill_of_the_router_leaves_the_route_alone(world):
    w = world
    w.connect(hops=3)
    w.until(lambda: len(w.routes) == 2, "a spare")
    guards = open(f"{w.dir}/state/router/guards").read()
    for _ in range(5):
        live, routes = w.in_use, set(w.routes)
        w.router_kill()
        w.router_start()
        w.until(lambda: w.on() and len(w.states) >= 3, "on again, by what there was")
        w.until(lambda: w.ctl("status")["router"][0]["directory_complete"], "all is known again")
        assert w.in_use == live and set(w.routes) == routes
        assert not w.ordered("build_route") and not w.ordered("use_route") and not w.ordered("close_route")
        assert all(s.phase == PHASE.PHASE_ON for s in w.states)
    assert open(f"{w.dir}/state/router/guards").read() == guards


def test_without_gateway_a_restarted_router_keeps_and_repairs(world):
    w = world
    w.connect(hops=3)
    gateway = w.links.pop("gateway")
    w.poller.unregister(gateway.pull)
    gateway.close()
    w.router_kill()
    w.router_start()
    w.until(lambda: w.ordered("probe_route") or w.ctl("status")["router"][0]["phase"] == "on", "adopted")
    w.until(lambda: w.ctl("status")["router"][0]["directory_complete"], "the directory is known")
    old = w.in_use
    w.live()[1].alive = False
    w.links["tunnel"].say(route_dead=dict(route=old, hop=1))
    w.until(lambda: w.in_use not in (old, 0) and old not in w.routes, "repaired by itself")
    assert w.ctl("status")["router"][0]["gateway_spoke"] is False


def test_restarted_tunnel_gets_a_route_at_once(world):
    w = world
    w.connect(hops=3)
    w.until(lambda: len(w.routes) == 2, "a spare")
    w.orders, began = [], time.monotonic()
    w.tunnel_restart()
    w.until(lambda: w.in_use != 0 and w.on(), "a new route")
    print(f"a new route {time.monotonic() - began:.2f} s after the tunnel's restart")
    assert any(s.phase == PHASE.PHASE_RECONNECTING and "tunnel" in s.reason for s in w.states)


def test_restarts_in_every_order(world):
    w = world
    w.connect(hops=2)
    rng = random.Random(5)
    for _ in range(12):
        what = rng.randrange(4)
        if what == 0:
            w.tunnel_restart()
        elif what == 1:
            w.router_kill()
            w.router_start()
        elif what == 2:
            w.redis_kill()
            w.redis_start()
        else:  # discovery and gateway come back as other instances
            for role in ("discovery", "gateway"):
                w.links[role].instance, w.links[role].greeted = random.getrandbits(60), False
        for _ in range(rng.randrange(30)):
            w.pump()
    w.until(lambda: w.on() and w.in_use in w.routes and len(w.live()) == 2, "on in the end")


def rep_rows(w):
    return w.ctl("show", "reputation").get("reputation", [])


def test_reputation_outlives_router_and_redis(world):
    w = world
    w.connect(hops=3)
    w.until(lambda: w.ctl("status")["router"][0]["redis"] == "up" and rep_rows(w)
            and all(r["in_redis"] for r in rep_rows(w)), "all is written")
    before = {r["node"]: r["good"] for r in rep_rows(w)}
    assert len(before) >= 3
    # What stands in Redis names nobody and no moment.
    keys = w.redis_cli("KEYS", "*")
    dump = keys + "".join(w.redis_cli("HGETALL", r["key"]) for r in rep_rows(w))
    for r in w.relays:
        assert r.id.hex()[:8] not in dump and f"20.{r.n}." not in dump
    assert str(int(time.time()))[:7] not in dump
    assert str(int(time.time() // 86400)) in dump
    assert all(int(w.redis_cli("TTL", r["key"]).split()[-1]) > 86400 for r in rep_rows(w))
    # The router forgets; Redis does not.
    w.want(on=False)
    w.until(lambda: not w.routes, "off")
    w.router_kill()
    w.router_start()
    w.until(lambda: {r["node"] for r in rep_rows(w)} >= set(before), "read back")
    after = {r["node"]: r["good"] for r in rep_rows(w)}
    assert all(after[n] >= before[n] - 0.01 for n in before)
    # Redis forgets; the router does not.
    w.redis_kill()
    w.until(lambda: "away" in w.ctl("status")["router"][0]["redis"], "the loss is seen")
    assert len(rep_rows(w)) >= len(before)
    w.redis_start()
    w.until(lambda: rep_rows(w) and all(r["in_redis"] for r in rep_rows(w)), "written back")
    w.until(lambda: w.redis_cli("DBSIZE").strip().endswith(str(len(rep_rows(w)))), "every entry")


def test_a_stuck_redis_holds_nothing_up(world):
    w = world
    w.connect(hops=3)
    w.until(lambda: w.ctl("status")["router"][0]["redis"] == "up", "redis is up")
    w.redis.send_signal(signal.SIGSTOP)
    w.ask(new_route={})
    old = w.in_use
    w.until(lambda: w.in_use not in (0, old) and w.on(), "another route")
    w.until(lambda: "away" in w.ctl("status")["router"][0]["redis"], "it is given up")
    w.redis.send_signal(signal.SIGCONT)
    w.until(lambda: w.ctl("status")["router"][0]["redis"] == "up", "and taken back")


def counters(w):
    return {r["what"]: r["n"] for r in w.ctl("show", "counters")["counters"]}


def test_foreign_values_in_redis_are_refused(world):
    w = world
    w.until(lambda: w.ctl("status")["router"][0]["relays"] == len(w.relays), "the directory")
    keys = [r["key"] for r in w.ctl("show", "reputation", "--all")["reputation"]]
    w.router_kill()
    for i, key in enumerate(keys):
        w.redis_cli("DEL", key)
        if i % 4 == 0:
            w.redis_cli("SET", key, "x")
        else:
            w.redis_cli("HSET", key, "v", ["1", "99999999999", "-1"][i % 3], "d", "20000", "s", "nonsense" * (i * 50))
    w.router_start()
    w.connect(hops=3)
    w.until(lambda: counters(w)["redis values refused"] > 0, "refused and counted")
    # A hash of ours that holds nonsense is overwritten in time; the session does not care.
    assert w.on()


def test_guards_stay_and_a_damaged_file_is_put_aside(world):
    w = world
    w.connect(hops=3)
    w.until(lambda: os.path.exists(f"{w.dir}/state/router/guards")
            and "\nguard " in open(f"{w.dir}/state/router/guards").read(), "written down")
    guard = w.live()[0]
    assert guard.id.hex() in open(f"{w.dir}/state/router/guards").read()
    for _ in range(3):
        w.want(on=False)
        w.until(lambda: not w.routes, "off")
        w.router_kill()
        w.router_start()
        w.connect(hops=3)
        assert w.live()[0] is guard
    assert os.stat(f"{w.dir}/state/router/guards").st_mode & 0o777 == 0o600
    w.router_kill()
    with open(f"{w.dir}/state/router/guards", "w") as f:
        f.write("guard of another time\n")
    w.router_start()
    w.until(lambda: w.states, "it starts all the same")
    assert os.path.exists(f"{w.dir}/state/router/guards.bad")


def test_exits_in_pieces(tmp_path):
    w = World(tmp_path, n_relays=200, price=5)
    try:
        w.settings = dict(pay=False)
        w.router_start()
        w.until(lambda: w.states and w.ctl("status")["router"][0]["relays"] == 200, "the directory")
        w.exits = []
        n = w.ask(list_exits={})
        w.until(lambda: w.exits and not w.exits[-1][1].more, "the list")
        exits = [e for re, part in w.exits if re == n for e in part.exits]
        assert len(exits) == 100 and len({e.node_id for e in exits}) == 100
        assert all(e.usable == (e.price_gwei_per_gib == 0) for e in exits)
        assert {e.why_not for e in exits} == {"", "asks for payment, and payment is off"}
    finally:
        w.end()


def test_impossible_wishes_fail_in_words_and_recover(world):
    w = world
    w.until(lambda: w.ctl("status")["router"][0]["relays"] == len(w.relays), "the directory")
    w.want(on=True, hops=3, exit_countries=["FR"])
    w.until(lambda: w.phase() == PHASE.PHASE_FAILED, "failed")
    assert w.states[-1].reason == "no exit in FR is known"
    assert not w.routes
    w.connect(hops=3, exit_countries=["SE"])
    assert w.states[-1].hops[2].country == "SE"


def test_routerctl_shows_all(world):
    w = world
    w.connect(hops=3)
    w.until(lambda: len(w.routes) == 2, "a spare")
    assert w.ctl("status")["router"][0]["phase"] == "on"
    assert w.ctl("show", "session")["session"][0]["wanted_by"] == "gateway"
    assert {r["part"] for r in w.ctl("show", "routes")["routes"]} == {"live", "spare"}
    assert [h["role"] for h in w.ctl("show", "route")["hops"]] == ["entry", "middle", "exit"]
    assert len(w.ctl("show", "peers")["peers"]) == 24
    assert len(w.ctl("show", "peers", "--country", "SE")["peers"]) == len([r for r in w.relays if r.country == "SE"])
    assert len(w.ctl("show", "exits")["exits"]) == 12
    assert 1 <= len(w.ctl("show", "guards")["guards"]) <= 3
    assert any("exit in" in r["reason"] for r in w.ctl("show", "reasons")["reasons"])
    picks = w.ctl("pick", "--exit", "DE", "--hops", "3", "--n", "50")["picks"]
    assert len(picks) == 50 and all(p["route"].endswith("(DE)") for p in picks)
    assert w.ctl("pick", "--hops", "1")["picks"][0]["route"].count(">") == 0
    assert "no exit in FR" in w.ctl("pick", "--exit", "FR", code=1)
    assert "1 to 3" in w.ctl("pick", "--hops", "9", code=2)
    assert "no such route" in w.ctl("show", "route", "12345", code=1)
    n = len(w.orders)
    for _ in range(20):
        w.pump()
    assert not [o for k, o, _ in w.orders[n:] if k == "build_route"]


def test_a_large_directory(tmp_path):
    w = World(tmp_path, n_relays=3000)
    try:
        w.router_start()
        began = time.monotonic()
        w.until(lambda: w.states and w.ctl("status")["router"][0]["directory_complete"], "the directory")
        w.connect(hops=3)
        with open(f"/proc/{w.router.pid}/status") as f:
            rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
        print(f"3000 relays: on {time.monotonic() - began:.2f} s after the first word; {rss // 1024} MB")
        assert rss < 64 * 1024
        assert len(w.ctl("pick", "--n", "500")["picks"]) == 500
    finally:
        w.end()
