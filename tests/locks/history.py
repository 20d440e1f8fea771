# SPDX-License-Identifier: Apache-2.0
"""What happened to locks, and whether it may have: the invariants of docs/locks.md over recorded histories.

An event is a dict with "what", "at" (CLOCK_MONOTONIC in seconds, of the whole host) and more:

    acquired  who lock fence sent at kind   sent: before the command left, at: when its reply was read
    release   who lock fence at own         at: before the command left.  own False: with a fence that was given back
                                            before, and result is what it was told
    lost      who lock fence at reason      at: the last moment at which it had not been told yet
    ended     who at                        it was killed, or its connection closed: before that was done; "name.*" ends all
                                            lives of name
    fenced    lock fence sent at before key of an accepted LOCK.FENCE SET ... GET: what the key held before
    refused   lock fence sent at            LOCK.FENCE answered LOCKLOST
    valid     lock fence until              an agent: a holder may rely on it until then
    gone      lock fence at                 an agent: a holder was told that it is lost
    loose     at                            from here on holds may overlap: the store failed over, or its clock was set forward

Each rule errs on the side of the locks: what it calls a violation is one.  check(events) returns what it found.
"""

MISSING = float("inf")


class Hold:
    """From the moment its holder knew until it let go, died, was told, or might not rely on it any more."""

    def __init__(self, e, end, why):
        self.who, self.lock, self.fence, self.kind = e["who"], e["lock"], e["fence"], e["kind"]
        self.start, self.end, self.why = e["at"], end, why

    def __repr__(self):
        return f"{self.who} held {self.lock} with fence {self.fence} from {self.start:.6f} to {self.end:.6f} ({self.why})"


def holds(events):
    """Every hold, and how it ended for certain."""
    ends, valid = {}, {}
    for e in events:
        key = (e.get("lock"), e.get("fence"))
        if e["what"] == "valid":
            valid[key] = max(valid.get(key, 0), e["until"])
        elif e["what"] in ("lost", "gone", "release") and e.get("own", True):
            ends[key] = min(ends.get(key, (MISSING, "")), (e["at"], e["what"]))
        elif e["what"] == "ended":
            for a in events:
                same = a["who"].split(".")[0] + ".*" == e["who"] or a["who"] == e["who"] if a["what"] == "acquired" else False
                if same and a["at"] <= e["at"]:
                    k = (a["lock"], a["fence"])
                    ends[k] = min(ends.get(k, (MISSING, "")), (e["at"], "ended"))
    out = []
    for e in events:
        if e["what"] == "acquired":
            key = (e["lock"], e["fence"])
            end = min(ends.get(key, (MISSING, "never")), (valid.get(key, MISSING), "valid until"))
            if end[0] > e["at"]:
                out.append(Hold(e, *end))
    return out


def overlaps(events):
    """Two that may not have it at once had it at once."""
    loose = min((e["at"] for e in events if e["what"] == "loose"), default=MISSING)
    found = []
    by_lock = {}
    for h in holds(events):
        if h.start < loose:
            by_lock.setdefault(h.lock, []).append(h)
    for list_ in by_lock.values():
        list_.sort(key=lambda h: h.start)
        for i, a in enumerate(list_):
            for b in list_[i + 1:]:
                if b.start >= min(a.end, loose):
                    if a.end <= b.start:
                        continue
                    break
                if not a.kind == b.kind == "read":
                    found.append(f"overlap: {a}; {b}")
    return found


def fences(events):
    """Fences of a name strictly increase: a later acquisition has a greater one, and none is given twice."""
    found = []
    by_lock = {}
    for e in events:
        if e["what"] == "acquired":
            by_lock.setdefault(e["lock"], []).append(e)
    for lock, list_ in by_lock.items():
        seen = {}
        for e in list_:
            if e["fence"] in seen:
                found.append(f"fence {e['fence']} of {lock} was given to {seen[e['fence']]} and to {e['who']}")
            seen[e["fence"]] = e["who"]
        list_.sort(key=lambda e: e["at"])
        best, earlier = 0, 0  # the greatest fence among those that were known before e was asked for
        for e in sorted(list_, key=lambda e: e["sent"]):
            while earlier < len(list_) and list_[earlier]["at"] < e["sent"]:
                best = max(best, list_[earlier]["fence"])
                earlier += 1
            if e["fence"] <= best:
                found.append(f"fence {e['fence']} of {lock}, asked for at {e['sent']:.6f}, is not above {best}, which was known by then")
    return found


def fenced(events):
    """Accepted writes come in the order of their fences, and each finds what an older fence, or its own, has left.  What a
    store forgets in a failover it forgets with all that belongs to it: across one nothing is said of who was first."""
    found = []
    by_lock = {}
    loose = [e["at"] for e in events if e["what"] == "loose"]
    for e in events:
        if e["what"] == "fenced":
            by_lock.setdefault(e["lock"], []).append(e)
            if e["before"] is not None and e["before"] > e["fence"]:
                found.append(f"a write to {e['lock']} with fence {e['fence']} replaced one with fence {e['before']}")
    for lock, list_ in by_lock.items():
        done, best, i = sorted(list_, key=lambda e: e["at"]), 0, 0
        for e in sorted(list_, key=lambda e: e["sent"]):
            while i < len(done) and done[i]["at"] < e["sent"]:
                best = max(best, done[i]["fence"])
                i += 1
            if any(t <= e["at"] for t in loose):
                break
            if e["fence"] < best:
                found.append(f"a write to {lock} with fence {e['fence']} was accepted after one with fence {best}")
    return found


def releases(events):
    """Only who holds a lock gives it back, and once."""
    loose = min((e["at"] for e in events if e["what"] == "loose"), default=MISSING)
    return [f"{e['who']} gave back {e['lock']} with fence {e['fence']}, which was given back before" for e in events
            if e["what"] == "release" and not e.get("own", True) and e["result"] == "released" and e["at"] < loose]


def check(events):
    return overlaps(events) + fences(events) + fenced(events) + releases(events)
