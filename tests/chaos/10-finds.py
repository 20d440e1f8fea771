# SPDX-License-Identifier: Apache-2.0
"""The checker itself: content where nothing is wrong, and each error that the proxy plants behind the agent's back is
found: replies exchanged, lost, doubled or of no known kind, commands run twice, lost or out of order."""

import harness
import rig
from harness import check

FOUND = {  # plant: what the checker must say, of everything that it may notice first
    "swap": ("want ", "an error that", "not RESP"), "drop": ("want ", "an error that", "no reply for"),
    "dup": ("want ", "an error that", "reply too many"), "word": ("an error that this request cannot have: NONSUCH",),
    "repeat": ("a length of", "want ", "executed twice"), "lose": ("a length of", "want ", "is not there"),
    "reorder": ("want log:", "behind a later one")}
IN_LISTS = {"repeat": ("was executed twice",), "lose": ("is not there",), "reorder": ("was executed behind a later one",)}


def found(plant, words, seed, redis, **options):
    # The agent drops a link with a reply too many, and lets a request without a reply run into its deadline:
    # neither may hide the rest from the checker.
    with redis.client() as c:
        c.cmd("FLUSHALL")
    with rig.Proxy(redis.sock, seed, name=f"proxy-{plant}") as proxy, \
            harness.Purserd(rig.agent(proxy.url, breaker__enabled="no"), name=plant) as p:
        p.allow(".")
        checker = rig.Checker(p.sock, redis.sock, seed, name=f"checker-{plant}", leave=0, depth=60, **options).start()
        try:
            checker.run(late=plant == "drop")
            proxy.set(plant=plant, plant_every=300)
            for _ in range(40):
                try:
                    checker.served(500, 3)
                except rig.Violation:
                    raise
                except harness.Failure:  # what was planted may leave a link without the reply that is waited for
                    proxy.cut()
                checker.quiet()
                checker.run(late=plant == "drop")
        except rig.Violation as e:
            check(any(w in str(e) for w in words), plant, "was found as:", str(e))
            check(proxy.state()["planted"] > 0, plant, "was found before it was planted:", str(e))
            print(f"{plant}: {e}", flush=True)
        else:
            raise harness.Failure(f"{plant}: planted {proxy.state()['planted']} times and not found")
        finally:
            checker.kill()


def main():
    seed = harness.seed()
    with harness.Redis(["--databases", "4"]) as redis:
        with rig.Proxy(redis.sock, seed) as proxy, harness.Purserd(rig.agent(proxy.url)) as p, \
                rig.Checker(p.sock, redis.sock, seed) as checker:
            check(checker.kinds >= rig.KINDS, "not served:", sorted(rig.KINDS - checker.kinds))
            checker.run()
            checker.served(10000)
            stats = checker.quiet()
            check(not stats["words"] and stats["checked"] > 10000, stats)
            state = proxy.state()
            # what somebody waited for who left has no reply
            check(0 <= state["commands"] - state["replies"] <= 64 and state["by_name"]["RPUSH"] >= stats["kinds"]["RPUSH"], state)
            print(f"plain: {stats}", flush=True)
        for plant, words in FOUND.items():
            found(plant, words, seed, redis)
        for plant, words in IN_LISTS.items():
            found(plant, words, seed, redis, blind=1)


if __name__ == "__main__":
    harness.run(main)
