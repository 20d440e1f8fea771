# SPDX-License-Identifier: Apache-2.0
# Scripts that start a real purserd, one a line:  SCRIPT_TESTS += %D%/10-name.sh
# To become tests once purserd serves:
SCRIPT_TESTS += %D%/70-export.py %D%/71-telemetry.py
EXTRA_DIST += %D%/60-clients-python.py %D%/61-clients-npm.sh
EXTRA_DIST += tests/clients/package.json tests/clients/clients.mjs
SCRIPT_TESTS += %D%/05-config.py
SCRIPT_TESTS += %D%/30-http.py
SCRIPT_TESTS += %D%/45-ctl.sh
SCRIPT_TESTS += %D%/40-health.py
SCRIPT_TESTS += %D%/20-handshake.py %D%/22-projects.py
SCRIPT_TESTS += %D%/25-gone.py
SCRIPT_TESTS += %D%/50-redis.py %D%/52-pubsub.py %D%/53-monitor.py
SCRIPT_TESTS += %D%/52-large.py
SCRIPT_TESTS += %D%/24-order.py
SCRIPT_TESTS += %D%/25-queues.py
SCRIPT_TESTS += %D%/26-failure.py
SCRIPT_TESTS += %D%/27-reload.py
SCRIPT_TESTS += %D%/28-replies.py
SCRIPT_TESTS += %D%/21-limits.py %D%/29-many.py
EXTRA_DIST += tests/tagged.py
SCRIPT_TESTS += %D%/23-command-table.py %D%/26-types.py
SCRIPT_TESTS += %D%/52-tls.py %D%/53-tls-trouble.py %D%/54-credentials.py
EXTRA_DIST += tests/certificates.py
SCRIPT_TESTS += %D%/33-transactions.py
SCRIPT_TESTS += %D%/34-scripts.py
SCRIPT_TESTS += %D%/62-clients-transactions.py
SCRIPT_TESTS += %D%/53-fair.py
