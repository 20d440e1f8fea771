# SPDX-License-Identifier: Apache-2.0
# Real clients, unchanged, on the agent's socket.

check_PROGRAMS += %D%/hiredis-client
%C%_hiredis_client_SOURCES = %D%/hiredis.c
%C%_hiredis_client_LDADD = $(HIREDIS_LIBS)

SCRIPT_TESTS += tests/integration/60-clients-python.py tests/integration/61-clients-npm.sh \
	tests/integration/62-clients-cli.py tests/integration/63-clients-hiredis.sh \
	tests/integration/64-clients-messages.py tests/integration/65-clients-jobs.py
EXTRA_DIST += %D%/package.json %D%/clients.mjs %D%/oidc.mjs %D%/celery_jobs.py %D%/sidekiq_jobs.rb
