# SPDX-License-Identifier: Apache-2.0
"""What sessions do, as a dict and a clock.

A World is one history that fits all replies so far; there may be several, for what runs at the same time has no order, what
a client sent before it was killed may have run or not, and a step of the store takes place somewhere between two readings of
the clock.  apply() gives the worlds that a world becomes when an operation was answered so; none: the reply is wrong.
Times are ms; (lo, hi) where only bounds are known.
"""

import base64
import hashlib
import json

TOMB = 10000


def handle_of(sid):
    """What SESSION.LIST calls a session: the SHA-256 of its id."""
    return base64.urlsafe_b64encode(hashlib.sha256(sid).digest()).rstrip(b"=")


class Unknown:
    """In place of a reply: the client has died, and what it sent was run."""


class Session:
    __slots__ = ("user", "v", "data", "created", "seen", "idle", "abs", "exp")

    def __init__(self, **k):
        for name, value in k.items():
            setattr(self, name, value)

    def but(self, **k):
        s = Session(**{n: getattr(self, n) for n in Session.__slots__})
        for name, value in k.items():
            setattr(s, name, value)
        return s

    def key(self):
        return (self.user, self.v, json.dumps(self.data, sort_keys=True), self.idle, self.abs is None)

    def hull(self, other):
        """Both, where only bounds differ."""
        return self.but(**{n: wider(getattr(self, n), getattr(other, n)) for n in ("created", "seen", "abs", "exp")})

    def may_live(self, t):
        return t[0] < self.exp[1]

    def may_be_gone(self, t):
        return t[1] >= self.exp[0]

    def slid(self, at, ms=None):
        """Its end if it was used at that time."""
        end = at + (self.idle if ms is None else ms)
        return min(end, self.abs[1]) if self.abs else end

    def may_be_due(self, t):
        return (self.slid(t[1]) - self.exp[0]) * 10 > self.idle

    def may_not_be_due(self, t, slack):
        """The agent asks the store only for what its own idea of the clock takes for due."""
        return (self.slid(t[0] - slack) - self.exp[1]) * 10 <= self.idle


def wider(a, b):
    return a and (min(a[0], b[0]), max(a[1], b[1]))


def within(v, bounds):
    return bounds[0] <= v <= bounds[1]


class World:
    def __init__(self, sessions=None, ghosts=(), tombs=None, dead=frozenset()):
        self.sessions = sessions or {}  # handle -> Session
        self.ghosts = ghosts            # sessions whose id nobody heard
        self.tombs = tombs or {}        # handle -> when it stops to say "rotated"
        self.dead = dead                # handles that nothing may be read by any more
        self.skip = 50                  # ms that the agent's clock may be behind

    def but(self, sessions=None, ghosts=None, tombs=None, dead=None):
        return World(self.sessions if sessions is None else sessions, self.ghosts if ghosts is None else ghosts,
                     self.tombs if tombs is None else tombs, self.dead if dead is None else dead)

    def key(self):
        """What it is, but for times: worlds with the same key become one (hull), so that their number stays small."""
        return (tuple(sorted((h, s.key()) for h, s in self.sessions.items())), tuple(sorted(g.key() for g in self.ghosts)),
                tuple(sorted(self.tombs)), self.dead)

    def hull(self, other):
        order = lambda g: g.key()
        return self.but(sessions={h: s.hull(other.sessions[h]) for h, s in self.sessions.items()},
                        ghosts=tuple(a.hull(b) for a, b in zip(sorted(self.ghosts, key=order), sorted(other.ghosts, key=order))),
                        tombs={h: wider(t, other.tombs[h]) for h, t in self.tombs.items()})

    def later(self, now):
        """The same at that time, without what nobody can reach any more."""
        over = [h for h, s in self.sessions.items() if s.exp[1] <= now]
        return self.without(*over).but(ghosts=tuple(g for g in self.ghosts if g.exp[1] > now),
                                       tombs={h: t for h, t in self.tombs.items() if t[1] > now})

    def put(self, h, s):
        return self.but(sessions={**self.sessions, h: s})

    def without(self, *handles):
        return self.but(sessions={h: s for h, s in self.sessions.items() if h not in handles}, dead=self.dead | set(handles))

    def of(self, user):
        return {h: s for h, s in self.sessions.items() if s.user == user}

    # ---- operations: each yields worlds ----

    def apply(self, op, t, reply):
        yield from getattr(self, op[0])(t, reply, *op[1:])

    def gone(self, h, t, text):
        """SESSIONGONE: what may have been said so."""
        s = self.sessions.get(h)
        if s is not None:
            if "rotated" not in text and s.may_be_gone(t):
                yield self.without(h)
            return
        tomb = self.tombs.get(h)
        if "rotated" in text:
            if tomb and t[0] <= tomb[1]:
                yield self
        elif not tomb or t[1] >= tomb[0]:
            yield self

    def create(self, t, reply, user, idle, end, data):
        data = {k: v for k, v in data.items() if v is not None}
        if reply is Unknown:
            made = lambda at: min(at + idle, at + end) if end else at + idle
            yield self.but(ghosts=self.ghosts + (Session(
                user=user, v=1, data=data, created=t, seen=t, idle=idle, abs=(t[0] + end, t[1] + end) if end else None,
                exp=(made(t[0]), made(t[1]))),))
            return
        at = reply["created"]
        s = Session(user=user, v=1, data=data, created=(at, at), seen=(at, at), idle=idle, abs=(at + end, at + end) if end else None,
                    exp=(0, 0))
        s.exp = (s.slid(at), s.slid(at))
        h = handle_of(reply["id"])
        if (within(at, t) and reply["expires"] == s.exp[0] and reply["absolute"] == (at + end if end else None) and
                reply["version"] == 1 and h not in self.sessions and h not in self.dead):
            yield self.put(h, s)

    def slides(self, h, s, t, exp, seen=None):
        """s was used and its end is said to be exp now."""
        if within(exp, s.exp) and (seen is None or within(seen, s.seen)) and s.may_not_be_due(t, self.skip):
            yield self.put(h, s.but(exp=(exp, exp), seen=s.seen if seen is None else (seen, seen)))
        if s.may_be_due(t) and (exp - s.exp[0]) * 10 > s.idle:
            if seen is not None:
                if within(seen, t) and s.slid(seen) == exp:
                    yield self.put(h, s.but(exp=(exp, exp), seen=(seen, seen)))
            elif s.slid(t[0]) <= exp <= s.slid(t[1]):
                yield self.put(h, s.but(exp=(exp, exp), seen=t))

    def used(self, h, s, t):
        """... and nobody heard how it ended."""
        yield self.put(h, s)
        if s.may_be_due(t):
            yield self.put(h, s.but(exp=(max(s.slid(t[0]), s.exp[0]), s.slid(t[1])), seen=t))

    def get(self, t, reply, h, touch):
        s = self.sessions.get(h)
        if reply is Unknown:
            if s is None or not s.may_live(t) or not touch:
                yield self
            else:
                yield from self.used(h, s, t)
        elif isinstance(reply, str):
            yield from self.gone(h, t, reply)
        elif (s is not None and s.may_live(t) and (reply["user"] or b"") == s.user and reply["version"] == s.v and
              json.loads(reply["data"]) == s.data and within(reply["created"], s.created) and reply["idle_ms"] == s.idle and
              (within(reply["absolute"], s.abs) if s.abs else reply["absolute"] is None)):
            if s.abs:
                s = s.but(abs=(reply["absolute"], reply["absolute"]))
            if touch:
                yield from self.slides(h, s, t, reply["expires"], reply["seen"])
            elif within(reply["expires"], s.exp) and within(reply["seen"], s.seen):
                yield self.put(h, s.but(exp=(reply["expires"],) * 2, seen=(reply["seen"],) * 2))

    def update(self, t, reply, h, fields, version):
        s = self.sessions.get(h)
        if reply is Unknown:
            yield self
            if s is None or not s.may_live(t) or (version and version != s.v):
                return
        elif isinstance(reply, str):
            if not reply.startswith("CONFLICT"):
                yield from self.gone(h, t, reply)
            elif s is not None and s.may_live(t) and version and version != s.v and f"version {s.v}:" in reply:
                yield self
            return
        elif s is None or not s.may_live(t) or (version and version != s.v) or reply["version"] != s.v + 1:
            return
        data = {k: v for k, v in {**s.data, **fields}.items() if v is not None}
        new = s.but(v=s.v + 1, data=data)
        yield from self.used(h, new, t) if reply is Unknown else self.slides(h, new, t, reply["expires"])

    def extend(self, t, reply, h, ms):
        s = self.sessions.get(h)
        if isinstance(reply, str):
            yield from self.gone(h, t, reply)
            return
        if reply is Unknown:
            yield self
        if s is None or not s.may_live(t):
            return
        lo, hi = s.slid(t[0], ms), s.slid(t[1], ms)
        if reply is Unknown:
            if hi > s.exp[0]:
                yield self.put(h, s.but(exp=(max(lo, s.exp[0]), max(hi, s.exp[1])), seen=(s.seen[0], t[1])))
            return
        exp = reply["expires"]
        if within(exp, s.exp) and lo <= s.exp[1]:
            yield self.put(h, s.but(exp=(exp, exp)))
        if lo <= exp <= hi and exp > s.exp[0]:
            yield self.put(h, s.but(exp=(exp, exp), seen=t))

    def rotate(self, t, reply, h, user):
        s = self.sessions.get(h)
        if isinstance(reply, str):
            yield from self.gone(h, t, reply)
            return
        if reply is Unknown:
            yield self
        if s is None or not s.may_live(t):
            return
        new = s if user is None else s.but(user=user)
        left = self.without(h).but(tombs={**self.tombs, h: (t[0] + TOMB, t[1] + TOMB)})
        if reply is Unknown:
            yield left.but(ghosts=left.ghosts + (new,))
            return
        k = handle_of(reply["id"])
        if (within(reply["expires"], s.exp) and reply["version"] == s.v and (reply["user"] or b"") == new.user and
                k not in self.sessions and k not in self.dead and
                (within(reply["absolute"], s.abs) if s.abs else reply["absolute"] is None)):
            yield left.put(k, new.but(exp=(reply["expires"],) * 2))

    def destroy(self, t, reply, h):
        s = self.sessions.get(h)
        if reply in (Unknown, 0) and (reply is Unknown or s is None or s.may_be_gone(t)):
            yield self if s is None or reply is Unknown else self.without(h)
        if s is not None and reply in (Unknown, 1) and s.may_live(t):
            yield self.without(h)

    def destroyuser(self, t, reply, user, but):
        mine = {h: s for h, s in self.of(user).items() if h != but}
        ghosts = [g for g in self.ghosts if g.user == user]
        every = list(mine.values()) + ghosts
        if reply is Unknown:
            yield self
        elif not (sum(not s.may_be_gone(t) for s in every) <= reply <= sum(s.may_live(t) for s in every)):
            return
        yield self.without(*mine).but(ghosts=tuple(g for g in self.ghosts if g.user != user))

    def list(self, t, reply, user):
        if reply is Unknown:
            yield self
            return
        shown = {e["handle"]: e for e in reply}
        if [e["expires"] for e in reply] != sorted((e["expires"] for e in reply), reverse=True) or len(shown) != len(reply):
            return
        world, strange = self, []
        for h, e in shown.items():
            s = self.sessions.get(h)
            if h in self.dead or (s is not None and (s.user != user or not fits(s, e, t))):
                return
            if s is None:
                strange.append((h, e))
            else:
                world = world.put(h, s.but(exp=(e["expires"],) * 2, seen=(e["seen"],) * 2))
        for h, s in self.of(user).items():
            if h not in shown:
                if not s.may_be_gone(t):
                    return
                world = world.without(h)
        yield from world.adopt(strange, user, t)

    def adopt(self, strange, user, t):
        """The handles that a list shows and nobody knows are those of ghosts."""
        if not strange:
            ghosts = tuple(g for g in self.ghosts if g.user != user)
            if all(g.may_be_gone(t) for g in self.ghosts if g.user == user):
                yield self.but(ghosts=ghosts)
            return
        (h, e), rest = strange[0], strange[1:]
        for i, g in enumerate(self.ghosts):
            if g.user == user and fits(g, e, t):
                known = g.but(exp=(e["expires"],) * 2, seen=(e["seen"],) * 2, created=(e["created"],) * 2,
                              abs=(e["absolute"],) * 2 if g.abs else None)
                yield from self.put(h, known).but(ghosts=self.ghosts[:i] + self.ghosts[i + 1:]).adopt(rest, user, t)

    def stats(self, t, reply):
        every = list(self.sessions.values()) + list(self.ghosts)
        if reply is Unknown or sum(not s.may_be_gone(t) for s in every) <= reply["live"] <= sum(s.may_live(t) for s in every):
            yield self

    def cleanup(self, _t, reply):
        if reply is Unknown or reply["left"] == 0:
            yield self


def fits(s, e, t):
    return (s.may_live(t) and e["version"] == s.v and within(e["created"], s.created) and within(e["seen"], s.seen) and
            within(e["expires"], s.exp) and (within(e["absolute"], s.abs) if s.abs else e["absolute"] is None))
