# SPDX-License-Identifier: Apache-2.0
# Tests of the scripts in agent/feature/lua/, on a redis-server and on the memory plugin: see luatest.py.
# One test, one line:  SCRIPT_TESTS += %D%/10-name.py
SCRIPT_TESTS += %D%/05-luatest.py
SCRIPT_TESTS += %D%/10-sessions.py
SCRIPT_TESTS += %D%/20-cache-lease.py
SCRIPT_TESTS += %D%/30-cache-counter.py
SCRIPT_TESTS += %D%/30-locks.py
EXTRA_DIST += %D%/luatest.py
SCRIPT_TESTS += %D%/25-cache-values.py
SCRIPT_TESTS += %D%/60-streams.py
